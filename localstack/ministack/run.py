"""Runs MiniStack with what AWS does and MiniStack doesn't.

- `dynamodb:LeadingKeys`: without it, a condition on partition keys with `ForAllValues` holds for every call.
- The parameters of `ssm:GetParameters`: MiniStack takes the call for one on all parameters, and refuses it to every
  role that may read only some.
- The recursive loop detection for queues (recursion.py), and S3's answer for a missing object (missing.py).
- The right to tag a new queue (tagging.py), and the check of a stage's route settings (routes.py).
- The addresses of function URLs on this machine (urls.py).
"""

import json
import os.path
import re

import missing
import recursion
import routes
import tagging
import urls

_NAME = re.compile(r"([#\w.-]+)\s*=\s*(:[\w.-]+)")


def leading_keys(call, key_name):
    """The values of the partition keys in a call's input; `key_name(table, index)` is what a table calls that key.

    Those of a batch or a transaction all together: more than AWS asks of each item, never less.
    """
    table, index = call.get("TableName"), call.get("IndexName")
    if "KeyConditionExpression" in call:
        return [_queried_key(call, key_name(table, index))]
    if "TransactItems" in call:
        parts = [part for item in call["TransactItems"] for part in item.values()]
        return [_value(_key_of(part), key_name(part["TableName"], None)) for part in parts]
    if "RequestItems" in call:
        batches = call["RequestItems"].items()
        return [_value(key, key_name(name, None)) for name, batch in batches for key in _batch_keys(batch)]
    if "Key" in call or "Item" in call:
        return [_value(_key_of(call), key_name(table, None))]
    return []


def _key_of(part):
    return part.get("Key") or part.get("Item") or {}


def _batch_keys(batch):
    if isinstance(batch, dict):
        return batch.get("Keys", [])
    return [_key_of(request) for write in batch for request in write.values()]


def _value(key, name):
    # An empty text, which no pattern allows, where the call has no key: DynamoDB refuses such a call in any case.
    return str(next(iter(key.get(name, {}).values()), ""))


def _queried_key(call, name):
    names, values = call.get("ExpressionAttributeNames", {}), call.get("ExpressionAttributeValues", {})
    for left, right in _NAME.findall(call["KeyConditionExpression"]):
        if names.get(left, left) == name:
            return _value(values, right)
    return ""


def common_parameter(names):
    """What the names of parameters begin with, all of them: allowed by a pattern that ends in `*` if each name is."""
    return os.path.commonprefix([name if name.startswith("/") else f"/{name}" for name in names])


def _input(body):
    try:
        call = json.loads(body or b"{}")
    except ValueError:
        return {}
    return call if isinstance(call, dict) else {}


def _key_name(table, index):
    from ministack.services import dynamodb

    found = dynamodb._tables.get(str(table).rsplit("/", 1)[-1]) or {}
    indexes = found.get("GlobalSecondaryIndexes") or []
    schema = next((one["KeySchema"] for one in indexes if one["IndexName"] == index), found.get("KeySchema", []))
    return next((key["AttributeName"] for key in schema if key["KeyType"] == "HASH"), None)


def teach():
    """Puts the additions to IAM into MiniStack."""
    from ministack.core import iam_actions

    service_context, resource_arn = iam_actions.dynamodb_service_context, iam_actions.extract_resource_arn

    def context_with_keys(body):
        context, keys = service_context(body), leading_keys(_input(body), _key_name)
        return {**context, "dynamodb:LeadingKeys": keys} if keys else context

    def arn_with_parameters(service, method, path, headers, body, query, region, account):
        names = _input(body).get("Names") if service == "ssm" else None
        if names:
            return f"arn:aws:ssm:{region}:{account}:parameter{common_parameter(names)}"
        return resource_arn(service, method, path, headers, body, query, region, account)

    iam_actions.dynamodb_service_context = context_with_keys
    iam_actions.extract_resource_arn = arn_with_parameters


if __name__ == "__main__":
    from ministack.app import main

    for addition in (teach, recursion.teach, missing.teach, tagging.teach, routes.teach, urls.teach):
        addition()
    main()
