"""Lambda's recursive loop detection for messages of queues, which MiniStack has for direct invocations only.

AWS counts in the header `X-Amzn-Trace-Id` how often a chain of requests invoked a function. A function that receives from a queue and sends to
the same queue is such a chain. After 16 invocations Lambda makes no more: the messages go to the dead-letter queue, unless the function's
property `RecursiveLoop` is `Allow`.
"""

import contextvars
import hashlib
import re
import time

# Invocations of one function in one chain. AWS says "approximately 16".
LIMIT = 16

_LINEAGE = re.compile(r"Lineage=1:([0-9a-f]{8}):(\d+)")
# The trace header of the call that is handled, or of the invocation that is made.
_trace = contextvars.ContextVar("trace", default="")


def invocations(trace, function):
    """How often the chain with this trace header invoked the function."""
    return sum(int(count) for name, count in _LINEAGE.findall(trace or "") if name == _hash(function))


def one_more(trace, function):
    """The trace header of an invocation of the function in this chain."""
    others = [f"Lineage=1:{name}:{count}" for name, count in _LINEAGE.findall(trace or "") if name != _hash(function)]
    own = f"Lineage=1:{_hash(function)}:{invocations(trace, function) + 1}"
    return ";".join(["Root=1-00000000-000000000000000000000000", *others, own])


def longest_chain(messages, function):
    """The trace header of the message whose chain invoked the function most often."""
    traces = [(message.get("sys") or {}).get("AWSTraceHeader", "") for message in messages]
    return max(traces, key=lambda trace: invocations(trace, function), default="")


def is_dropped(trace, function, setting):
    """Whether AWS doesn't make the next invocation of this chain; `setting` is the function's RecursiveLoop."""
    return setting != "Allow" and invocations(trace, function) >= LIMIT


def _hash(function):
    return hashlib.sha256(function.encode()).hexdigest()[:8]


def teach():
    """Puts the detection into MiniStack."""
    from ministack.services import lambda_svc, sqs

    _carry_traces(lambda_svc, sqs)
    _stop_loops(lambda_svc, sqs)
    _read_setting(lambda_svc)


def _carry_traces(lambda_svc, sqs):
    handle, attributes, trace_of = sqs.handle_request, sqs._build_send_sys_attrs, lambda_svc._xray_trace_id_for_invocation

    async def handle_with_trace(method, path, headers, body, query_params):
        token = _trace.set(headers.get("x-amzn-trace-id", ""))
        try:
            return await handle(method, path, headers, body, query_params)
        finally:
            _trace.reset(token)

    def attributes_with_trace(now, given):
        trace = _trace.get()
        return {**({"AWSTraceHeader": trace} if trace else {}), **attributes(now, given)}

    sqs.handle_request = handle_with_trace
    sqs._build_send_sys_attrs = attributes_with_trace
    lambda_svc._xray_trace_id_for_invocation = lambda config, inbound=None: trace_of(config, inbound or _trace.get() or None)


def _stop_loops(lambda_svc, sqs):
    run = lambda_svc._run_sqs_batch

    def run_unless_loop(esm, function, event, batch, queue_url, queue_name):
        name = esm["FunctionName"]
        trace = longest_chain(batch, name)
        if is_dropped(trace, name, function.get("recursive_loop")):
            lambda_svc.logger.warning("recursive loop: %s isn't invoked for %d messages of %s", name, len(batch), queue_name)
            _give_up(sqs, queue_url, batch)
            return
        token = _trace.set(one_more(trace, name))
        try:
            run(esm, function, event, batch, queue_url, queue_name)
        finally:
            _trace.reset(token)

    lambda_svc._run_sqs_batch = run_unless_loop


def _give_up(sqs, queue_url, batch):
    """Moves messages to the dead-letter queue at once, as if they had been received too often."""
    handles = {message["receipt_handle"] for message in batch}
    with sqs._queues_lock:
        queue = sqs._get_q(queue_url)
        for message in queue["messages"]:
            if message.get("receipt_handle") in handles:
                message.update(receive_count=2**31, visible_at=time.time() - 1)
        sqs._dlq_sweep(queue)


def _read_setting(lambda_svc):
    """MiniStack's CloudFormation ignores the property `RecursiveLoop`."""
    from ministack.services.cloudformation import provisioners

    handler = provisioners._RESOURCE_HANDLERS["AWS::Lambda::Function"]
    create, update = handler["create"], handler["update"]

    def keep(name, properties):
        lambda_svc._functions[name]["recursive_loop"] = properties.get("RecursiveLoop", "Terminate")

    def create_with_setting(logical_id, properties, stack_name):
        made = create(logical_id, properties, stack_name)
        keep(made[0], properties)
        return made

    def update_with_setting(physical_id, old, new, *more, **named):
        made = update(physical_id, old, new, *more, **named)
        keep(new.get("FunctionName", physical_id), new)
        return made

    handler.update(create=create_with_setting, update=update_with_setting)
