"""What no schema can say of a request, and what would only take time."""

from urllib.parse import quote, unquote

import schemathesis

# The limits are bytes; a schema counts characters.
ID = 100
LABEL = 64


def whole(value):
    """5.0 is an integer for a schema. Programs write 5, and nothing else is taken."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return value


def cut(text, size):
    return text.encode()[:size].decode(errors="ignore") if isinstance(text, str) else text


def cut_claim(claim):
    if "worker_id" in claim:
        claim["worker_id"] = cut(claim["worker_id"], ID)
    if isinstance(claim.get("labels"), list):
        # In lower case, a letter may take three bytes instead of two.
        claim["labels"] = [cut(label, LABEL * 2 // 3) for label in claim["labels"]]


def waits(seconds):
    return type(seconds) is int and 0 < seconds < 2**32


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, (dict, list)):
        case.body = whole(case.body)
    if isinstance(case.body, dict) and waits(case.body.get("wait_secs")):
        # How a claim waits, shared/server/tests/server/waits.rs says.
        case.body["wait_secs"] = 0
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    # What a server gave is a cursor; nothing that anybody else makes up is.
    if case.query:
        case.query.pop("cursor", None)
    for name, text in (case.path_parameters or {}).items():
        # They are encoded already. A lease may be longer, and is never cut where it was given by the server.
        if name != "lease_id":
            case.path_parameters[name] = quote(cut(unquote(text), ID), safe="")
    if isinstance(case.body, dict):
        for claim in [case.body, case.body.get("next")]:
            if isinstance(claim, dict):
                cut_claim(claim)
