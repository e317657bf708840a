"""DynamoDB and its streams for LocalStack, served by moto.

LocalStack depends on moto already. Its own providers run DynamoDB Local, a Java program under its
vendor's terms. This file and `moto_patches` fix the errors of moto that affect conditional writes and
streams.
"""

import threading
from collections.abc import Callable
from typing import Any

from localstack.aws.api.dynamodb import DynamodbApi
from localstack.aws.api.dynamodbstreams import DynamodbstreamsApi
from localstack.services.moto import MotoFallbackDispatcher
from localstack.services.plugins import Service, aws_provider

from host_mode import moto_patches

Handler = Callable[..., Any]

# One for both services: a stream is read from the very list that a write appends to.
_one_at_a_time = threading.Lock()


class _DynamoDb(DynamodbApi):
    """Implements nothing, so that every operation falls through to moto."""


class _DynamoDbStreams(DynamodbstreamsApi):
    """Implements nothing, so that every operation falls through to moto."""


def serialized(handler: Handler) -> Handler:
    """moto checks a condition and writes without a lock: two writers could both pass the check."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with _one_at_a_time:
            return handler(*args, **kwargs)

    return call


def without_empty_images(handler: Handler) -> Handler:
    """moto gives an INSERT an empty `OldImage` and a REMOVE an empty `NewImage`; DynamoDB gives none."""

    def call(*args: Any, **kwargs: Any) -> Any:
        response = handler(*args, **kwargs)
        for record in response.get("Records", []):
            change = record["dynamodb"]
            for image in ("OldImage", "NewImage"):
                if not change.get(image):
                    change.pop(image, None)
        return response

    return call


def _operations(provider: object) -> dict[str, Handler]:
    moto_patches.apply()
    handlers = MotoFallbackDispatcher(provider)
    operations = {name: serialized(handler) for name, handler in handlers.items()}
    if "GetRecords" in operations:
        operations["GetRecords"] = without_empty_images(operations["GetRecords"])
    return operations


@aws_provider(api="dynamodb", name="moto")
def dynamodb_moto() -> Service:
    """Chosen by `PROVIDER_OVERRIDE_DYNAMODB=moto`."""
    return Service.for_provider(_DynamoDb(), dispatch_table_factory=_operations)


@aws_provider(api="dynamodbstreams", name="moto")
def dynamodbstreams_moto() -> Service:
    """Chosen by `PROVIDER_OVERRIDE_DYNAMODBSTREAMS=moto`."""
    return Service.for_provider(_DynamoDbStreams(), dispatch_table_factory=_operations)
