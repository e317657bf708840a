"""The right that a tagged queue needs.

A call of CreateQueue with tags needs `sqs:TagQueue` beside `sqs:CreateQueue`. MiniStack asks for `sqs:CreateQueue` only.
"""

import json


def tagged_queue(target, body):
    """The name of the queue that the call creates with tags; None for any other call."""
    if target.rsplit(".", 1)[-1] != "CreateQueue":
        return None
    try:
        call = json.loads(body or b"{}")
    except ValueError:
        return None
    return call.get("QueueName") if call.get("tags") or call.get("Tags") else None


def teach():
    """Puts the right into MiniStack."""
    from ministack.app import AUTH
    from ministack.core.iam_evaluator import enforce
    from ministack.core.responses import get_account_id
    from ministack.core.router import extract_access_key_id, extract_region
    from ministack.services import sqs

    if not AUTH:
        return
    handle = sqs.handle_request

    async def handle_like_sqs(method, path, headers, body, query_params):
        name = tagged_queue(headers.get("x-amz-target", ""), body)
        if name:
            region = extract_region(headers, query_params)
            arn = f"arn:aws:sqs:{region}:{get_account_id()}:{name}"
            if enforce(extract_access_key_id(headers, query_params), "sqs:TagQueue", "sqs", region, resource_arn=arn):
                return sqs._json_err_resp("AccessDenied", f"not authorized to perform sqs:TagQueue on {arn}", 403)
        return await handle(method, path, headers, body, query_params)

    sqs.handle_request = handle_like_sqs
