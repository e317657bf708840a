"""Tests the decisions of what MiniStack is taught."""

import unittest

from missing import bucket_of
from recursion import LIMIT, invocations, is_dropped, longest_chain, one_more
from routes import unknown_routes
from run import common_parameter, leading_keys
from tagging import tagged_queue
from urls import local_address


def key_name(table, index):
    return "index_pk" if index else "pk"


def keys(**call):
    return leading_keys({"TableName": "jobs", **call}, key_name)


def item(pk):
    return {"pk": {"S": pk}, "sk": {"S": "x"}}


class LeadingKeys(unittest.TestCase):
    def test_a_single_item_has_its_own(self):
        self.assertEqual(keys(Key=item("R#1")), ["R#1"])
        self.assertEqual(keys(Item=item("TOKEN")), ["TOKEN"])

    def test_a_query_has_the_one_it_asks_for_by_name_or_placeholder(self):
        values = {":pk": {"S": "POOL"}, ":to": {"S": "z"}}
        self.assertEqual(keys(KeyConditionExpression="pk = :pk", ExpressionAttributeValues=values), ["POOL"])
        call = {"KeyConditionExpression": "#sk <= :to AND #pk=:pk", "ExpressionAttributeValues": values}
        self.assertEqual(keys(**call, ExpressionAttributeNames={"#pk": "pk", "#sk": "sk"}), ["POOL"])
        names = {"#pk": "index_pk", "#sk": "index_sk"}
        self.assertEqual(keys(**call, IndexName="index", ExpressionAttributeNames=names), ["POOL"])

    def test_a_query_whose_key_is_not_found_has_one_that_nothing_allows(self):
        values = {":pk": {"S": "POOL"}}
        self.assertEqual(keys(KeyConditionExpression="other = :pk", ExpressionAttributeValues=values), [""])

    def test_batches_and_transactions_have_all_of_theirs(self):
        read = {"jobs": {"Keys": [item("a"), item("b")]}}
        write = {"jobs": [{"PutRequest": {"Item": item("c")}}, {"DeleteRequest": {"Key": item("d")}}]}
        self.assertEqual(leading_keys({"RequestItems": read}, key_name), ["a", "b"])
        self.assertEqual(leading_keys({"RequestItems": write}, key_name), ["c", "d"])
        put, delete = {"TableName": "jobs", "Item": item("e")}, {"TableName": "jobs", "Key": item("f")}
        transaction = {"TransactItems": [{"Put": put}, {"Delete": delete}]}
        self.assertEqual(leading_keys(transaction, key_name), ["e", "f"])

    def test_a_scan_has_none(self):
        self.assertEqual(keys(), [])


class FunctionUrls(unittest.TestCase):
    def test_a_url_is_served_under_a_path_of_the_emulator(self):
        found = local_address("https://abc123.lambda-url.us-east-1.on.aws/", "http://127.0.0.1:4566")
        self.assertEqual(found, "http://127.0.0.1:4566/_aws/lambda-url/abc123/")


class Parameters(unittest.TestCase):
    def test_one_outside_a_folder_takes_the_others_out_of_it_too(self):
        self.assertEqual(common_parameter(["/s/secrets/a", "/s/secrets/b"]), "/s/secrets/")
        self.assertEqual(common_parameter(["/s/secrets/a", "/s/other"]), "/s/")
        self.assertEqual(common_parameter(["top"]), "/top")


class Recursion(unittest.TestCase):
    def chain(self, function, length):
        trace = ""
        for _ in range(length):
            trace = one_more(trace, function)
        return trace

    def test_each_invocation_of_a_chain_counts_for_its_own_function(self):
        trace = one_more(one_more(one_more("", "a"), "b"), "a")
        self.assertEqual([invocations(trace, name) for name in ("a", "b", "c")], [2, 1, 0])

    def test_the_seventeenth_invocation_is_dropped_unless_the_function_allows_loops(self):
        self.assertFalse(is_dropped(self.chain("a", LIMIT - 1), "a", "Terminate"))
        full = self.chain("a", LIMIT)
        self.assertTrue(is_dropped(full, "a", None))
        self.assertFalse(is_dropped(full, "a", "Allow"))
        self.assertFalse(is_dropped(full, "b", None))

    def test_a_batch_belongs_to_its_longest_chain(self):
        messages = [{"sys": {"AWSTraceHeader": self.chain("a", length)}} for length in (1, 3, 2)] + [{}]
        self.assertEqual(invocations(longest_chain(messages, "a"), "a"), 3)
        self.assertEqual(longest_chain([], "a"), "")


class Missing(unittest.TestCase):
    def test_only_a_request_for_an_object_has_a_bucket_to_list(self):
        self.assertEqual(bucket_of("/bucket/a/key"), "bucket")
        self.assertIsNone(bucket_of("/bucket"))
        self.assertIsNone(bucket_of("/"))


class Tagging(unittest.TestCase):
    def test_only_a_new_queue_with_tags_needs_the_right_to_tag(self):
        self.assertEqual(tagged_queue("AmazonSQS.CreateQueue", b'{"QueueName": "q", "tags": {"a": "b"}}'), "q")
        self.assertIsNone(tagged_queue("AmazonSQS.CreateQueue", b'{"QueueName": "q"}'))
        self.assertIsNone(tagged_queue("AmazonSQS.GetQueueUrl", b'{"QueueName": "q", "tags": {"a": "b"}}'))


class Routes(unittest.TestCase):
    def test_settings_of_a_route_that_is_not_there_are_found(self):
        routes = [{"routeKey": "GET /a"}]
        self.assertEqual(unknown_routes({"GET /a": {}, "POST /a": {}}, routes), ["POST /a"])
        self.assertEqual(unknown_routes(None, routes), [])


if __name__ == "__main__":
    unittest.main()
