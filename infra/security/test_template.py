"""Tests that the template satisfies every rule, and that each rule detects a template that breaks it.

Run by `cargo xtask test`, in the environment with cfn-lint: `python -m unittest discover -s infra/security`.
"""

import copy
import pathlib
import unittest

import cfnlint.decode

from rules import problems

TEMPLATE, ERRORS = cfnlint.decode.decode(str(pathlib.Path(__file__).parent.parent / "template.yaml"))


def statements(template, role):
    return template["Resources"][role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]


def properties(template, name):
    return template["Resources"][name]["Properties"]


def allow(template, role, action, resource, **more):
    statements(template, role).append({"Effect": "Allow", "Action": action, "Resource": resource, **more})


def on_keys(*keys):
    return {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": list(keys)}}


def denial(template, policy, action, key="aws:SecureTransport"):
    """The statement of a policy that refuses this action on a condition with this key."""
    for one in properties(template, policy)["PolicyDocument"]["Statement"]:
        one = one["Fn::If"][1] if "Fn::If" in one else one
        asked = [name for test in one.get("Condition", {}).values() for name in test]
        if one["Effect"] == "Deny" and action in one["Action"] and key in asked:
            return one
    raise KeyError(policy)


JOBS = {"Fn::GetAtt": ["JobsTable", "Arn"]}
# What makes a refusal of plain HTTP one of something else.
WEAKER = [
    {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
    {"Condition": {"Bool": {"aws:SecureTransport": "false"}, "StringEquals": {"aws:PrincipalTag/a": "b"}}},
    {"Condition": {"BoolIfExists": {"aws:SecureTransport": "false"}}},
    {"Principal": {"AWS": "123456789012"}},
    {"Effect": "Allow"},
]


class Template(unittest.TestCase):
    def test_it_keeps_every_rule(self):
        self.assertEqual(ERRORS, [])
        self.assertEqual(problems(TEMPLATE), [])

    def breaks(self, said, change):
        template = copy.deepcopy(TEMPLATE)
        change(template)
        found = problems(template)
        self.assertTrue(any(said in one for one in found), f"{said!r} is not said: {found}")

    def test_an_action_or_a_resource_that_is_a_wildcard_is_found(self):
        bucket = {"Fn::Sub": "${ArtifactsBucket.Arn}/defs/*"}
        self.breaks("QueryRole allows s3:*", lambda t: allow(t, "QueryRole", "s3:*", bucket))
        self.breaks("QueryRole allows ['s3:GetObject'] on *", lambda t: allow(t, "QueryRole", "s3:GetObject", "*"))
        queues = {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:*"}
        self.breaks("QueryRole allows ['sqs:SendMessage'] on arn", lambda t: allow(t, "QueryRole", "sqs:SendMessage", queues))
        denial = {"Effect": "Allow", "NotAction": "iam:*", "Resource": JOBS}
        self.breaks("allows all but", lambda t: statements(t, "ClaimRole").append(denial))

    def test_a_scan_or_a_call_without_keys_is_found(self):
        scan = lambda t: allow(t, "QueryRole", "dynamodb:Scan", JOBS, Condition=on_keys("R#*"))
        self.breaks("QueryRole may dynamodb:Scan the jobs table", scan)
        self.breaks("any key of the jobs table", lambda t: allow(t, "QueryRole", "dynamodb:GetItem", JOBS))
        index = {"Fn::Sub": "${JobsTable.Arn}/index/index"}
        self.breaks("any key of the jobs table", lambda t: allow(t, "QueryRole", "dynamodb:Query", index))
        every = lambda t: allow(t, "QueryRole", "dynamodb:GetItem", JOBS, Condition=on_keys("*"))
        self.breaks("['*'], which nothing of ours is under", every)
        logs = {"Fn::GetAtt": ["LogsTable", "Arn"]}
        self.breaks("may dynamodb:Scan the logs", lambda t: allow(t, "QueryRole", "dynamodb:Scan", logs))
        self.breaks("QueryRole may change logs", lambda t: allow(t, "QueryRole", "dynamodb:PutItem", logs))
        deletes = lambda t: allow(t, "QueryRole", "dynamodb:DeleteItem", logs, Condition=on_keys("READER#*"))
        self.breaks("QueryRole may change logs", deletes)

    def test_tokens_records_and_secrets_in_the_wrong_hands_are_found(self):
        reads = lambda t: allow(t, "ExpireRole", "dynamodb:GetItem", JOBS, Condition=on_keys("TOKEN"))
        self.breaks("ExpireRole may ['dynamodb:GetItem'] tokens", reads)
        writes = lambda t: allow(t, "ClaimRole", "dynamodb:PutItem", JOBS, Condition=on_keys("TOKEN"))
        self.breaks("ClaimRole may ['dynamodb:PutItem'] tokens", writes)
        audit = lambda t: allow(t, "ScheduleRole", "dynamodb:PutItem", JOBS, Condition=on_keys("AUDIT#*"))
        self.breaks("ScheduleRole may ['dynamodb:PutItem'] the record", audit)
        secret = {"Fn::Sub": "arn:aws:ssm:${AWS::Region}:${AWS::AccountId}:parameter/${AWS::StackName}/secrets/*"}
        self.breaks("QueryRole may ['ssm:GetParameters']", lambda t: allow(t, "QueryRole", "ssm:GetParameters", secret))

    def test_secrets_of_links_and_forges_in_the_wrong_hands_are_found(self):
        every = {"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/${AWS::StackName}/secrets/*"}
        for role in ("HookRole", "ForgeRole"):
            self.breaks(f"{role} may read the secrets", lambda t: allow(t, role, "ssm:GetParameters", every))

        def trusts(template):
            kept = [one for one in statements(template, "ClaimRole") if one["Effect"] != "Deny"]
            properties(template, "ClaimRole")["Policies"][0]["PolicyDocument"]["Statement"] = kept

        self.breaks("ClaimRole may read the secrets of links", trusts)
        links = lambda t: allow(t, "HookRole", "dynamodb:PutItem", JOBS, Condition=on_keys("FORGE"))
        self.breaks("HookRole may change links", links)
        self.breaks("function forge is asked by", lambda t: properties(t, "AskForgePolicy")["Roles"].append({"Ref": "HookRole"}))
        forge = {"Fn::GetAtt": ["ForgeFunction", "Arn"]}
        self.breaks("functions are invoked by", lambda t: allow(t, "QueryRole", "lambda:InvokeFunction", forge))
        self.breaks("Forges aren't off", lambda t: t["Parameters"]["Forges"].update(Default="true"))

    def test_a_record_that_can_be_changed_or_a_token_that_can_be_made_is_found(self):
        for role in ("SubmitRole", "ClaimRole", "CompleteRole", "QueryRole"):
            for call in ("UpdateItem", "DeleteItem", "BatchWriteItem", "GetItem"):
                change = lambda t: allow(t, role, f"dynamodb:{call}", JOBS, Condition=on_keys("R#*", "AUDIT#*"))
                self.breaks(f"{role} may ['dynamodb:{call}'] the record", change)
            if role != "QueryRole":
                reads = lambda t: allow(t, role, "dynamodb:Query", JOBS, Condition=on_keys("AUDIT#*"))
                self.breaks(f"{role} may ['dynamodb:Query'] the record", reads)
            for call in ("UpdateItem", "BatchWriteItem") + (("PutItem", "DeleteItem") if role != "SubmitRole" else ()):
                change = lambda t: allow(t, role, f"dynamodb:{call}", JOBS, Condition=on_keys("R#*", "TOKEN"))
                self.breaks(f"{role} may ['dynamodb:{call}'] tokens", change)

    def test_schema_that_other_functions_may_write_is_found(self):
        for role, call in (("ClaimRole", "PutItem"), ("SubmitRole", "UpdateItem"), ("ExpireRole", "DeleteItem")):
            change = lambda t: allow(t, role, f"dynamodb:{call}", JOBS, Condition=on_keys("SCHEMA"))
            self.breaks(f"{role} may ['dynamodb:{call}'] the schema", change)

    def test_a_role_that_others_may_assume_or_share_is_found(self):
        def opened(template):
            document = properties(template, "QueryRole")["AssumeRolePolicyDocument"]
            document["Statement"][0]["Principal"] = {"AWS": "*"}

        self.breaks("QueryRole may be assumed by", opened)
        shared = lambda t: properties(t, "QueryFunction").update(Role={"Fn::GetAtt": ["SubmitRole", "Arn"]})
        self.breaks("a role of its own", shared)

    def test_what_is_not_encrypted_is_found(self):
        for name, setting in (("BatchesQueue", "SqsManagedSseEnabled"), ("StreamDeadQueue", "SqsManagedSseEnabled"),
                              ("ArtifactsBucket", "BucketEncryption")):
            self.breaks(f"{name} isn't encrypted", lambda t: properties(t, name).pop(setting))

    def test_an_open_bucket_is_found(self):
        self.breaks("lacks BlockPublicAcls", lambda t: properties(t, "ArtifactsBucket").pop("PublicAccessBlockConfiguration"))
        half = lambda t: properties(t, "ArtifactsBucket")["PublicAccessBlockConfiguration"].update(BlockPublicPolicy=False)
        self.breaks("lacks BlockPublicPolicy", half)
        old = lambda t: properties(t, "ArtifactsBucketPolicy")["PolicyDocument"]["Statement"].pop(0)
        self.breaks("takes URLs signed long ago", old)

    def test_urls_for_longer_are_found(self):
        year, both = {"s3:signatureAge": "31536000000"}, {"s3:signatureAge": "900000", "s3:max-keys": "1"}
        objects = {"Fn::Sub": "${ArtifactsBucket.Arn}/defs/*"}
        for change in ({"Condition": {"NumericGreaterThan": year}}, {"Condition": {"NumericGreaterThan": both}},
                       {"Condition": {"NumericLessThan": {"s3:signatureAge": "900000"}}}, {"Principal": {"AWS": "1"}},
                       {"Effect": "Allow"}, {"Action": "s3:GetObject"}, {"Resource": objects}):
            weaker = lambda t: denial(t, "ArtifactsBucketPolicy", "s3:*", "s3:signatureAge").update(change)
            self.breaks("takes URLs signed long ago", weaker)

    def test_what_answers_plain_http_is_found(self):
        self.breaks("ArtifactsBucket answers", lambda t: t["Resources"].pop("ArtifactsBucketPolicy"))
        self.breaks("BatchesQueue answers", lambda t: properties(t, "QueuePolicy")["Queues"].pop(0))
        self.breaks("Alarms answers", lambda t: properties(t, "AlarmsPolicy")["PolicyDocument"]["Statement"].pop())
        self.breaks("ClaimRole lacks TlsOnlyPolicy", lambda t: properties(t, "ClaimRole").pop("ManagedPolicyArns"))
        own = ["JobsTable answers functions", "JobsTable answers functions", "LogsTable answers functions", "the secrets are"]
        for place, said in enumerate(own):
            less = lambda t: denial(t, "TlsOnlyPolicy", "ssm:*")["Resource"].pop(place)
            self.breaks(said, less)
        self.breaks("not true by default", lambda t: t["Parameters"]["RequireTls"].update(Default="false"))

    def test_a_refusal_of_plain_http_that_is_none_is_found(self):
        one = {"ArtifactsBucketPolicy": ("ArtifactsBucket answers", "s3:*", "s3:GetObject"),
               "QueuePolicy": ("BatchesQueue answers", "sqs:*", "sqs:SendMessage"),
               "StreamDeadQueuePolicy": ("StreamDeadQueue answers", "sqs:*", "sqs:SendMessage"),
               "AlarmsPolicy": ("Alarms answers", "sns:Publish", "sns:Subscribe")}
        for policy, (said, all_of_it, less) in one.items():
            for change in WEAKER + [{"Action": less}, {"Resource": JOBS}]:
                self.breaks(said, lambda t: denial(t, policy, all_of_it).update(change))
        for place in (0, 1):
            part = lambda t: denial(t, "ArtifactsBucketPolicy", "s3:*")["Resource"].pop(place)
            self.breaks("ArtifactsBucket answers", part)

    def test_a_refusal_of_plain_http_to_functions_that_is_none_is_found(self):
        one = {"JobsTable answers": "dynamodb:*", "LogsTable answers": "dynamodb:*", "the secrets are": "ssm:*"}
        for said, action in one.items():
            for change in WEAKER:
                self.breaks(said, lambda t: denial(t, "TlsOnlyPolicy", action).update(change))
            self.breaks(said, lambda t: denial(t, "TlsOnlyPolicy", action)["Action"].remove(action))

    def test_a_function_that_everyone_may_call_is_found(self):
        self.breaks("QueryUrl opens QueryFunction", lambda t: t["Resources"].update(QueryUrl={
            **t["Resources"]["ClaimUrl"], "Properties": {"TargetFunctionArn": {"Fn::GetAtt": ["QueryFunction", "Arn"]}, "AuthType": "NONE"}}))
        self.breaks("ClaimUrl opens ClaimFunction", lambda t: t["Resources"]["ClaimUrl"].pop("Condition"))
        for name, change in {
            "ClaimByUrlPermission": lambda one: one["Properties"].pop("InvokedViaFunctionUrl"),
            "CompleteByUrlPermission": lambda one: one.pop("Condition"),
            "ClaimUrlPermission": lambda one: one["Properties"].update(FunctionName={"Ref": "SubmitFunction"}),
            "QueryPermission": lambda one: one["Properties"].update(Principal="*"),
        }.items():
            self.breaks(f"{name} lets * call a function", lambda t: change(t["Resources"][name]))
        always = lambda t: t["Conditions"].update(UseFunctionUrls={"Fn::Equals": ["a", "a"]})
        self.breaks("UseFunctionUrls doesn't follow Gateway", always)

    def test_a_loop_that_lambda_would_stop_is_found(self):
        self.breaks("ExpireFunction sends to the queue", lambda t: properties(t, "ExpireFunction").pop("RecursiveLoop"))
        ended = lambda t: properties(t, "ExpireFunction").update(RecursiveLoop="Terminate")
        self.breaks("ExpireFunction sends to the queue", ended)

    def test_a_role_to_which_a_missing_object_is_forbidden_is_found(self):
        def forget(template, role):
            lists = next(one for one in statements(template, role) if one.get("Action") == "s3:ListBucket")
            statements(template, role).remove(lists)

        def narrow(template, role):
            lists = next(one for one in statements(template, role) if one.get("Action") == "s3:ListBucket")
            lists["Condition"] = {"StringLike": {"s3:prefix": ["logs/*"]}}

        for role in ("SubmitRole", "ClaimRole", "CompleteRole", "QueryRole", "ScheduleRole", "ExpireRole"):
            for change in (forget, narrow):
                self.breaks(f"{role} reads objects", lambda t: change(t, role))

    def test_what_is_not_off_by_default_is_found(self):
        self.breaks("EngineConcurrency isn't off", lambda t: t["Parameters"]["EngineConcurrency"].update(Default=10))
        for policy in ("Retain", "Delete"):
            self.breaks("JobsTable is deleted", lambda t: t["Resources"]["JobsTable"].update(DeletionPolicy=policy))
        self.breaks("ClaimRole has no permissions", lambda t: properties(t, "ClaimRole").pop("PermissionsBoundary"))

    def test_a_function_that_logs_each_invocation_is_found(self):
        for change in ({"SystemLogLevel": "INFO"}, {"LogFormat": "Text"}):
            self.breaks("ClaimFunction pays", lambda t: t["Globals"]["Function"]["LoggingConfig"].update(change))
            self.breaks("ClaimFunction pays", lambda t: properties(t, "ClaimFunction")["LoggingConfig"].update(change))

    def test_an_api_without_throttling_is_found(self):
        self.breaks("HttpApi isn't throttled", lambda t: properties(t, "HttpApiStage").pop("DefaultRouteSettings"))
        self.breaks("HttpApi isn't throttled", lambda t: t["Resources"].pop("HttpApiStage"))
        self.breaks("RestApi isn't throttled", lambda t: properties(t, "RestApi").pop("MethodSettings"))
        one = lambda t: properties(t, "RestApi")["MethodSettings"][0].update(ResourcePath="/api")
        self.breaks("RestApi isn't throttled", one)

    def test_a_route_without_the_rate_of_its_kind_is_found(self):
        heartbeat, method = "POST /api/jobs/{lease_id}/heartbeat", ("/~1api~1jobs~1{id}~1heartbeat", "POST")
        said = f"{heartbeat} is not limited by ReportRateLimit in"
        self.breaks(f"{said} HttpApi", lambda t: properties(t, "HttpApiStage")["RouteSettings"].pop(heartbeat))
        other = {"ThrottlingRateLimit": {"Ref": "ApiRateLimit"}}
        self.breaks(f"{said} HttpApi", lambda t: properties(t, "HttpApiStage")["RouteSettings"][heartbeat].update(other))

        def in_rest(template):
            settings = properties(template, "RestApi")["MethodSettings"]
            return next(one for one in settings if (one["ResourcePath"], one["HttpMethod"]) == method)

        self.breaks(f"{said} RestApi", lambda t: in_rest(t).update(other))
        self.breaks(f"{said} RestApi", lambda t: in_rest(t).update(ResourcePath="/api/jobs/{id}/heartbeat"))
        for key, rate in (("POST /api/jobs/claim", "Claim"), ("POST /api/jobs/{lease_id}/logs", "Log"),
                          ("POST /api/workflows", "Submit"), ("GET /api/workflows", "Read")):
            none = lambda t: properties(t, "HttpApiStage")["RouteSettings"].pop(key)
            self.breaks(f"{key} is not limited by {rate}RateLimit in HttpApi", none)
        early = lambda t: t["Resources"]["HttpApiStage"]["DependsOn"].remove("HeartbeatRoute")
        self.breaks("doesn't wait for HeartbeatRoute", early)
        equal = lambda t: t["Parameters"]["ReportRateLimit"].update(Default=2000)
        self.breaks("reports have no higher rate", equal)

    def test_events_of_every_object_and_batches_given_up_in_silence_are_found(self):
        told = {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
        every = lambda t: properties(t, "ArtifactsBucket").update(NotificationConfiguration=told)
        self.breaks("each object of ${ArtifactsBucket.Arn}/outputs/* costs an event", every)
        self.breaks("gives up batches", lambda t: properties(t, "StreamDeadBucket").pop("NotificationConfiguration"))
        other = {"Fn::GetAtt": ["ArtifactsBucket", "Arn"]}
        stream = lambda t: properties(t, "ScheduleFunction")["Events"]["Stream"]["Properties"]["DestinationConfig"]
        self.breaks("gives up batches", lambda t: stream(t)["OnFailure"].update(Destination=other))
        rule = lambda t: properties(t, "StreamDeadRule")["EventPattern"]["detail"]["bucket"]
        self.breaks("gives up batches", lambda t: rule(t).update(name=[{"Ref": "ArtifactsBucket"}]))

    def test_queues_that_are_made_without_a_tag_are_found(self):
        def forget(template):
            makes = next(one for one in statements(template, "ClaimRole") if "sqs:CreateQueue" in one["Action"])
            makes["Action"].remove("sqs:TagQueue")

        self.breaks("ClaimRole can't tag", forget)
        self.breaks("ClaimRole can't tag", lambda t: t["Globals"]["Function"]["Environment"]["Variables"].pop("WFG_STACK"))
        queues = {"Fn::Sub": "arn:${AWS::Partition}:sqs:${AWS::Region}:${AWS::AccountId}:${AWS::StackName}-pool-*"}
        self.breaks("QueryRole can't tag", lambda t: allow(t, "QueryRole", "sqs:TagQueue", queues))


if __name__ == "__main__":
    unittest.main()
