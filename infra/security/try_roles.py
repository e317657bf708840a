"""Makes calls to AWS with each function's role. The calls that the function needs are allowed; others are refused.

Needs a deployed stack where IAM is enforced and the credentials may assume the roles: MiniStack with `AUTH=true`, which
`cargo xtask test` starts. `WFG_TEST_AWS` is its address, `WFG_TEST_STACK` the stack. AWS itself would let only Lambda
assume these roles.
"""

import os
import sys
import uuid

import boto3
from botocore.exceptions import ClientError

REFUSED = {"AccessDenied", "AccessDeniedException"}
ABSENT = {"NoSuchKey", "ConditionalCheckFailedException"}
# No stored item has these names.
MARK = f"try-{uuid.uuid4().hex}"
RUN, WORKFLOW, KEY = f"R#{MARK}", f"WF#{MARK}", f"IDEM##{MARK}"
# The functions run at the same time, and an invalid pool or token item would stop them. So every write requires an item
# that doesn't exist. AWS checks the caller's permission before this condition.
IF_THERE = {"ConditionExpression": "attribute_exists(pk)"}

# Each may list the bucket: to others S3 says 403 of a missing object.
ALLOWED = {
    "submit": [("list", ""), ("get", "SCHEMA"), ("get", RUN), ("get", KEY), ("get", "TOKEN"), ("batch_get", RUN), ("query", RUN), ("query", "TOKEN"),
               ("index", "WORKER#a"), ("batch_get", "WORKER#a"), ("batch_get", "POOL"), ("update", WORKFLOW), ("batch_put", RUN), ("commit", WORKFLOW, RUN, KEY), ("update", "POOL"), ("update", RUN),
               ("put", "SCHEMA"), ("put", "TOKEN"), ("delete", "TOKEN"), ("put", "AUDIT#f"), ("put_object", "defs"), ("get_object", "outputs"),
               ("send", "batches")],
    "claim": [("list", ""), ("get", "SCHEMA"), ("get", RUN), ("get", "WORKER#a"), ("get", "TOKEN"), ("query", "POOL"), ("index", "READY#x#0"), ("index", "WORKER#a"), ("batch_get", "WORKER#a"),
              ("batch_get", RUN), ("batch_get", "POOL"), ("update", RUN), ("update", "POOL"), ("put", "WORKER#a"), ("delete", "WORKER#a"),
              ("put", "AUDIT#f"), ("get_object", "outputs"), ("put_object", "upstream"), ("create_queue", "pool"),
              ("send", "batches"), ("secrets", "secrets")],
    "complete": [("list", ""), ("get", "SCHEMA"), ("get", RUN), ("get", "TOKEN"), ("update", RUN), ("put", RUN), ("put", "WORKER#a"), ("put", "AUDIT#f"),
                 ("query", "POOL"), ("index", "WORKER#a"), ("batch_get", "WORKER#a"), ("batch_get", "POOL"), ("update", "POOL"), ("put_log",), ("query_logs",), ("put_object", "logs"), ("put_object", "outputs"),
                 ("put_object", "upstream"), ("get_object", "defs"), ("send", "batches"), ("send", "pool"),
                 ("secrets", "secrets")],
    "query": [("list", ""), ("get", "SCHEMA"), ("get", WORKFLOW), ("get", RUN), ("query", RUN), ("query", "TOKEN"), ("query", "AUDIT#f"), ("index", "WORKER#a"), ("batch_get", "WORKER#a"),
              ("index", "WORKFLOWS"), ("batch_get", WORKFLOW), ("put", "AUDIT#f"), ("query_logs",), ("get_object", "logs")],
    "schedule": [("list", ""), ("get", "SCHEMA"), ("get", RUN), ("batch_get", "POOL"), ("update", "POOL"), ("update", RUN), ("update", WORKFLOW), ("query", RUN), ("query", "POOL"), ("get_object", "defs"),
                 ("put_object", "aws/lambda"), ("send", "batches"), ("send", "pool")],
    "expire": [("get", "SCHEMA"), ("get", RUN), ("batch_get", "POOL"), ("update", "POOL"), ("update", RUN), ("update", WORKFLOW), ("query", RUN), ("index", "OPEN#0"), ("batch_put", RUN),
               ("query_logs",), ("list", ""), ("list", "upstream/"), ("delete_object", "upstream"), ("delete_object", "logs"),
               ("send", "pool"), ("receive", "batches")],
}

FORBIDDEN = {
    "submit": [("scan",), ("update", "SCHEMA"), ("delete", "SCHEMA"), ("create_queue", "pool"), ("send", "pool"), ("put_log",), ("query_logs",), ("get_object", "logs"),
               ("delete_object", "defs"), ("query", "AUDIT#f"), ("delete", "AUDIT#f"), ("update", "AUDIT#f"), ("update", "TOKEN"),
               ("put", "WORKER#a"), ("index", "WORKFLOWS"), ("index", "OPEN#0"), ("secrets", "secrets")],
    "claim": [("scan",), ("put", "SCHEMA"), ("delete", "AUDIT#f"), ("update", "AUDIT#f"), ("get", WORKFLOW), ("delete", RUN), ("delete", WORKFLOW),
              ("put", "TOKEN"), ("delete", "TOKEN"), ("query", "TOKEN"), ("query", RUN), ("index", "WORKFLOWS"),
              ("get_object", "logs"), ("put_object", "outputs"), ("create_queue", "other"), ("delete_queue", "pool"),
              ("send", "pool"), ("secrets", "elsewhere"), ("secrets", "both")],
    "complete": [("scan",), ("put", "SCHEMA"), ("delete", "AUDIT#f"), ("update", "AUDIT#f"), ("get", WORKFLOW), ("put", "TOKEN"), ("query", "TOKEN"),
                 ("delete", RUN), ("get_object", "logs"), ("delete_object", "outputs"), ("receive", "pool"),
                 ("secrets", "elsewhere")],
    "query": [("scan",), ("put", "SCHEMA"), ("delete", "AUDIT#f"), ("update", "AUDIT#f"), ("update", "TOKEN"), ("put", RUN), ("update", RUN),
              ("delete", WORKFLOW), ("put", "TOKEN"), ("delete", "TOKEN"), ("batch_put", RUN), ("put_log",),
              ("index", "OPEN#0"), ("put_object", "logs"), ("send", "batches"), ("secrets", "secrets")],
    "schedule": [("scan",), ("put", "SCHEMA"), ("put", "TOKEN"), ("get", "TOKEN"), ("put", "AUDIT#f"), ("put", RUN), ("delete", RUN),
                 ("get_object", "outputs"), ("put_object", "outputs"), ("get_object", "aws/lambda"), ("receive", "batches"), ("index", "OPEN#0"), ("secrets", "secrets")],
    "expire": [("scan",), ("put", "SCHEMA"), ("get", "TOKEN"), ("query", "TOKEN"), ("query", "AUDIT#f"), ("put", "TOKEN"), ("batch_put", "TOKEN"), ("batch_put", "POOL"),
               ("delete", WORKFLOW), ("get_object", "outputs"), ("put_log",),
               ("secrets", "secrets")],
}


def item(pk):
    return {"pk": {"S": pk}, "sk": {"S": MARK}}


class Caller:
    """Calls AWS with some credentials.

    What calls leave behind is removed by `clean`, but for one message in the dead queue of the stream: an object under
    `aws/lambda/` is taken for a batch that was given up, and `wfg redrive` says that it is gone.
    """

    def __init__(self, stack, session):
        self.stack = stack
        self.dynamodb, self.s3, self.sqs, self.ssm = (
            session.client(name, endpoint_url=os.environ["WFG_TEST_AWS"]) for name in ("dynamodb", "s3", "sqs", "ssm"))

    def get(self, pk):
        self.dynamodb.get_item(TableName=self.stack["JobsTable"], Key=item(pk))

    def batch_get(self, pk):
        # Two partitions, or two items of a partition that is the only one of its kind.
        second = item(f"{pk}#1") if "#" in pk else {**item(pk), "sk": {"S": f"{MARK}-1"}}
        self.dynamodb.batch_get_item(RequestItems={self.stack["JobsTable"]: {"Keys": [item(pk), second]}})

    def query(self, pk, table="JobsTable", key="pk", **more):
        name, value = {"#pk": key}, {":pk": {"S": pk}}
        self.dynamodb.query(TableName=self.stack[table], KeyConditionExpression="#pk = :pk", Limit=1,
                            ExpressionAttributeNames=name, ExpressionAttributeValues=value, **more)

    def index(self, pk):
        self.query(pk, key="index_pk", IndexName="index")

    def scan(self):
        self.dynamodb.scan(TableName=self.stack["JobsTable"], Limit=1)

    def put(self, pk):
        self.dynamodb.put_item(TableName=self.stack["JobsTable"], Item=item(pk), **IF_THERE)

    def batch_put(self, pk):
        self.dynamodb.batch_write_item(RequestItems={self.stack["JobsTable"]: [{"PutRequest": {"Item": item(pk)}}]})

    def commit(self, *pks):
        puts = [{"Put": {"TableName": self.stack["JobsTable"], "Item": item(pk)}} for pk in pks]
        self.dynamodb.transact_write_items(TransactItems=puts)

    def update(self, pk):
        self.dynamodb.update_item(TableName=self.stack["JobsTable"], Key=item(pk), UpdateExpression="SET tried = :yes",
                                  ExpressionAttributeValues={":yes": {"BOOL": True}}, **IF_THERE)

    def delete(self, pk):
        self.dynamodb.delete_item(TableName=self.stack["JobsTable"], Key=item(pk), **IF_THERE)

    def put_log(self):
        self.dynamodb.put_item(TableName=self.stack["LogsTable"], Item=item(f"{MARK}#0#0"))

    def query_logs(self):
        self.query(f"{MARK}#0#0", table="LogsTable")

    def _bucket(self, folder):
        return self.stack["StreamDeadBucket" if folder == "aws/lambda" else "ArtifactsBucket"]

    def put_object(self, folder):
        self.s3.put_object(Bucket=self._bucket(folder), Key=f"{folder}/{MARK}", Body=b"")

    def get_object(self, folder):
        self.s3.get_object(Bucket=self._bucket(folder), Key=f"{folder}/{MARK}")

    def delete_object(self, folder):
        self.s3.delete_object(Bucket=self._bucket(folder), Key=f"{folder}/{MARK}")

    def list(self, prefix):
        self.s3.list_objects_v2(Bucket=self.stack["ArtifactsBucket"], Prefix=prefix, MaxKeys=1)

    def _queue(self, kind):
        return {"batches": self.stack["BatchesQueueUrl"], "pool": self.stack["Pool"]}[kind]

    def create_queue(self, kind):
        name = {"pool": f"{self.stack['PoolQueuePrefix']}{MARK}", "other": MARK}[kind]
        self.sqs.create_queue(QueueName=name, tags={"workflow-graph:stack": self.stack["name"]})

    def delete_queue(self, kind):
        self.sqs.delete_queue(QueueUrl=self._queue(kind))

    def send(self, kind):
        # The run doesn't exist, so the message has no effect.
        self.sqs.send_message(QueueUrl=self._queue(kind), MessageBody='{"timer":"%s"}' % MARK)

    def receive(self, kind):
        self.sqs.receive_message(QueueUrl=self._queue(kind), VisibilityTimeout=0, WaitTimeSeconds=0)

    def secrets(self, kind):
        own, other = f"/{self.stack['name']}/secrets/", f"/{self.stack['name']}/other/"
        names = {"secrets": [own + "a", own + "b"], "elsewhere": [other + "a"], "both": [own + "a", other + "a"]}[kind]
        self.ssm.get_parameters(Names=names, WithDecryption=True)

    def clean(self):
        # TOKEN and POOL too: a batch has no conditions, and a role that must not write them may be able to.
        for pk in (RUN, WORKFLOW, KEY, "TOKEN", "POOL"):
            self.dynamodb.delete_item(TableName=self.stack["JobsTable"], Key=item(pk))
        self.dynamodb.delete_item(TableName=self.stack["LogsTable"], Key=item(f"{MARK}#0#0"))
        for folder in ("defs", "outputs", "upstream", "logs", "aws/lambda"):
            self.delete_object(folder)
        self.delete_queue("pool")


def refused(caller, call):
    """Why a call was refused, or nothing. That there is no such object or item isn't a refusal."""
    try:
        getattr(caller, call[0])(*call[1:])
    except ClientError as error:
        if error.response["Error"]["Code"] in REFUSED:
            return error.response["Error"]["Message"]
        if error.response["Error"]["Code"] not in ABSENT:
            raise
    return None


def stack(session, name):
    client = session.client("cloudformation", endpoint_url=os.environ["WFG_TEST_AWS"])
    outputs = client.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    return {"name": name, **{one["OutputKey"]: one["OutputValue"] for one in outputs}}


def as_function(session, own, function):
    """A caller with the role that the function has."""
    clients = {name: session.client(name, endpoint_url=os.environ["WFG_TEST_AWS"]) for name in ("lambda", "sts")}
    role = clients["lambda"].get_function_configuration(FunctionName=own[f"{function.capitalize()}Function"])["Role"]
    taken = clients["sts"].assume_role(RoleArn=role, RoleSessionName="try")["Credentials"]
    keys = (taken[name] for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
    return Caller(own, boto3.Session(*keys, region_name="us-east-1"))


def main():
    session = boto3.Session("test", "test", region_name="us-east-1")
    own = stack(session, os.environ["WFG_TEST_STACK"])
    root = Caller(own, session)
    root.create_queue("pool")
    own["Pool"] = root.sqs.get_queue_url(QueueName=f"{own['PoolQueuePrefix']}{MARK}")["QueueUrl"]
    wrong = []
    try:
        for function in ALLOWED:
            caller = as_function(session, own, function)
            denials = [(call, refused(caller, call)) for call in ALLOWED[function]]
            wrong += [f"{function} is refused {call}: {why}" for call, why in denials if why]
            passed = [call for call in FORBIDDEN[function] if not refused(caller, call)]
            wrong += [f"{function} is allowed {call}" for call in passed]
            allowed, kept_out = sum(not why for _, why in denials), len(FORBIDDEN[function]) - len(passed)
            print(f"{function}: {allowed} of {len(denials)} calls that it needs are allowed, "
                  f"{kept_out} of {len(FORBIDDEN[function])} others refused")
    finally:
        root.clean()
    sys.exit("\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
