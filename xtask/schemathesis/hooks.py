"""What no schema can say of a request, and what would only take time."""

import schemathesis

# The limits are bytes; a schema counts characters.
SIZES = {"worker_id": 100, "job_id": 100, "id": 100, "workflow_id": 100}
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


def cut_labels(value):
    labels = value.get("labels")
    if isinstance(labels, list):
        # In lower case, a letter may take three bytes instead of two.
        value["labels"] = [cut(label, LABEL * 2 // 3) for label in labels]


@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.body, (dict, list)):
        case.body = whole(case.body)
    if isinstance(case.body, dict) and isinstance(case.body.get("wait_secs"), int):
        # How a claim waits, shared/server/tests/waits.rs says.
        case.body["wait_secs"] = 0
    if not case.meta or not case.meta.generation.mode.is_positive:
        return
    # What a server gave is a cursor; nothing that anybody else makes up is.
    if case.query:
        case.query.pop("cursor", None)
    for values in [case.path_parameters, case.body]:
        if isinstance(values, dict):
            for name in SIZES.keys() & values.keys():
                values[name] = cut(values[name], SIZES[name])
    if isinstance(case.body, dict):
        cut_labels(case.body)
        if isinstance(case.body.get("next"), dict):
            cut_labels(case.body["next"])
