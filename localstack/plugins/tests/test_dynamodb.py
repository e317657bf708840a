"""Tests the guarantees of DynamoDB that moto alone doesn't give."""

import threading
import time
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import support
from localstack.aws.api import CommonServiceException
from localstack.aws.forwarder import create_aws_request_context
from moto.dynamodb.models.table import get_filter_expression

from host_mode import dynamodb

_KEY = {"pk": {"S": "one"}}


class DynamoDb(unittest.TestCase):
    """Calls the services' handlers as LocalStack's gateway does, without starting it."""

    @classmethod
    def setUpClass(cls) -> None:
        plugins = (dynamodb.dynamodb_moto, dynamodb.dynamodbstreams_moto)
        services = [plugin.factory().create_service() for plugin in plugins]
        cls.operations = {service.name(): service.skeleton.dispatch_table for service in services}

    def setUp(self) -> None:
        self.table = f"table-{uuid.uuid4()}"
        created = self.call(
            "dynamodb",
            "CreateTable",
            TableName=self.table,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream = created["TableDescription"]["LatestStreamArn"]

    def call(self, service: str, operation: str, **parameters: Any) -> Any:
        context = create_aws_request_context(service, operation, parameters=parameters)
        context.account_id = "000000000000"
        return self.operations[service][operation](context, parameters)

    def take(self, owner: int) -> bool:
        """Writes the item unless there's one; says whether it did."""
        try:
            self.call(
                "dynamodb",
                "PutItem",
                TableName=self.table,
                Item={**_KEY, "owner": {"N": str(owner)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except CommonServiceException as refusal:
            self.assertEqual(refusal.code, "ConditionalCheckFailedException")
            return False
        return True

    def test_of_fifty_concurrent_conditional_writes_exactly_one_wins(self) -> None:
        # Between moto's reading of the item and its writing: without the lock nearly all would win.
        def slowly(*args: Any) -> Any:
            time.sleep(0.002)
            return get_filter_expression(*args)

        self.enterContext(mock.patch("moto.dynamodb.models.table.get_filter_expression", slowly))
        together = threading.Barrier(50)

        def contend(owner: int) -> bool:
            together.wait()
            return self.take(owner)

        with ThreadPoolExecutor(50) as pool:
            winners = [owner for owner, won in enumerate(pool.map(contend, range(50))) if won]
        self.assertEqual(len(winners), 1, winners)
        item = self.call("dynamodb", "GetItem", TableName=self.table, Key=_KEY)["Item"]
        self.assertEqual(item["owner"], {"N": str(winners[0])})

    def test_requests_of_both_services_are_served_one_at_a_time(self) -> None:
        inside, most = 0, 0

        def handler() -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.001)
            inside -= 1

        guarded = [dynamodb.serialized(handler), dynamodb.serialized(handler)]
        with ThreadPoolExecutor(20) as pool:
            list(pool.map(lambda number: guarded[number % 2](), range(100)))
        self.assertEqual(most, 1)

    def test_stream_records_have_only_the_images_that_exist(self) -> None:
        self.take(1)
        self.call("dynamodb", "PutItem", TableName=self.table, Item={**_KEY, "owner": {"N": "2"}})
        self.call("dynamodb", "DeleteItem", TableName=self.table, Key=_KEY)
        one, two = ({**_KEY, "owner": {"N": number}} for number in "12")
        records = [(record["eventName"], _images(record)) for record in self.records()]
        self.assertEqual(
            records,
            [
                ("INSERT", {"NewImage": one}),
                ("MODIFY", {"OldImage": one, "NewImage": two}),
                ("REMOVE", {"OldImage": two}),
            ],
        )

    def test_an_update_that_creates_an_item_writes_one_record(self) -> None:
        self.update("SET #owner = :one")
        self.assertEqual(
            [(record["eventName"], _images(record)) for record in self.records()],
            [("INSERT", {"NewImage": {**_KEY, "owner": {"N": "1"}}})],
        )

    def test_a_write_that_changes_nothing_writes_no_record(self) -> None:
        self.take(1)
        self.update("SET #owner = :one")
        self.call("dynamodb", "PutItem", TableName=self.table, Item={**_KEY, "owner": {"N": "1"}})
        self.assertEqual([record["eventName"] for record in self.records()], ["INSERT"])

    def test_a_cancelled_transaction_leaves_no_trace(self) -> None:
        self.take(1)
        other = {"pk": {"S": "other"}}
        put = {"Put": {"TableName": self.table, "Item": other}}
        change = {"Update": self.change("SET #owner = #owner + :one")}
        refused = {"pk": {"S": "refused"}}
        check = {"TableName": self.table, "Key": refused, "ConditionExpression": "attribute_exists(pk)"}
        with self.assertRaises(CommonServiceException) as raised:
            self.transact(put, change, {"ConditionCheck": check})
        self.assertEqual(raised.exception.code, "TransactionCanceledException")
        items = self.call("dynamodb", "Scan", TableName=self.table)["Items"]
        self.assertEqual(items, [{**_KEY, "owner": {"N": "1"}}])
        self.assertEqual([record["eventName"] for record in self.records()], ["INSERT"])

    def test_who_reads_a_stream_still_does_after_a_cancelled_transaction(self) -> None:
        iterator = self.iterator("LATEST")
        self.take(1)
        missing = {"pk": {"S": "missing"}}
        check = {"TableName": self.table, "Key": missing, "ConditionExpression": "attribute_exists(pk)"}
        with self.assertRaises(CommonServiceException):
            self.transact({"ConditionCheck": check})
        self.transact({"Put": {"TableName": self.table, "Item": {"pk": {"S": "after"}}}})
        records = self.call("dynamodbstreams", "GetRecords", ShardIterator=iterator)["Records"]
        keys = [record["dynamodb"]["Keys"]["pk"]["S"] for record in records]
        self.assertEqual(keys, ["one", "after"])

    def change(self, expression: str) -> dict[str, Any]:
        """The parameters of an update of `owner`, with 1 as `:one`."""
        return {
            "TableName": self.table,
            "Key": _KEY,
            "UpdateExpression": expression,
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }

    def update(self, expression: str) -> None:
        """Updates `owner`."""
        self.call("dynamodb", "UpdateItem", **self.change(expression))

    def transact(self, *actions: dict[str, Any]) -> None:
        """Runs a transaction."""
        self.call("dynamodb", "TransactWriteItems", TransactItems=list(actions))

    def records(self) -> list[Any]:
        """All records of the table's stream."""
        iterator = self.iterator("TRIM_HORIZON")
        return self.call("dynamodbstreams", "GetRecords", ShardIterator=iterator)["Records"]

    def iterator(self, kind: str) -> str:
        """A place in the table's stream."""
        described = self.call("dynamodbstreams", "DescribeStream", StreamArn=self.stream)
        (shard,) = described["StreamDescription"]["Shards"]
        return self.call(
            "dynamodbstreams",
            "GetShardIterator",
            StreamArn=self.stream,
            ShardId=shard["ShardId"],
            ShardIteratorType=kind,
        )["ShardIterator"]


def _images(record: Any) -> dict[str, Any]:
    return {name: image for name, image in record["dynamodb"].items() if name.endswith("Image")}


if __name__ == "__main__":
    unittest.main()
