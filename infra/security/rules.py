"""Security rules for infra/template.yaml.

`problems` takes the template as cfn-lint decodes it, with RequireTls as it is by default, and returns the violations.
"""

# Calls whose partition keys AWS knows, so that a condition on the keys restricts the call. Other calls have no keys, and
# `ForAllValues` is true for an empty set: a role that may scan reads everything.
KEYED = {f"dynamodb:{name}" for name in (
    "GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem")}
# The partitions of the jobs table and of its index: shared/aws/src/keys.rs.
TABLE_KEYS = {"WF#*", "IDEM#*", "R#*", "GROUP#*", "POOL", "WORKER#*", "TOKEN", "AUDIT#*", "SCHEMA", "FORGE", "FORGE#*", "REPORT#*"}
INDEX_KEYS = {"OPEN#*", "WORKFLOWS", "WORKER#*", "READY#*", "FORGE-DUE#*"}
# Roles that may access tokens, secrets and the audit log.
MAKES_TOKENS = {"SubmitRole"}
WRITES_SCHEMA = {"SubmitRole"}
READS_TOKENS = {"SubmitRole", "ClaimRole", "CompleteRole", "QueryRole"}
READS_SECRETS = {"ClaimRole", "CompleteRole", "HookRole", "ForgeRole"}
# The secrets of links to forges that a role may read, and nothing else. The functions that give jobs their secrets may read all others.
LINK_SECRETS = {"HookRole": {"FORGE_WEBHOOK_*"}, "ForgeRole": {"FORGE_TOKEN_*", "FORGE_APP_KEY_*"}}
WRITES_LINKS = {"SubmitRole", "ForgeRole"}
# Roles that may invoke function forge, which has the credentials of forges.
ASKS_FORGE = ["SubmitRole", "ClaimRole", "CompleteRole", "ExpireRole"]
# Any other call on these partitions could change an audit record or create a token without one.
TOKEN_READS, TOKEN_WRITES = {"dynamodb:GetItem", "dynamodb:Query"}, {"dynamodb:PutItem", "dynamodb:DeleteItem"}
READS_AUDIT = {"QueryRole"}
WRITES_AUDIT = READS_TOKENS | {"ForgeRole"}
WRITES_LOGS = {"CompleteRole", "ExpireRole"}
READS = {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"}
# Milliseconds. URLs are made for 15 minutes: shared/aws/src/artifacts.rs.
OLDEST = 900_000
SECRETS = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/${AWS::StackName}/secrets/*"
CLOSED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
NOTHING = {"Ref": "AWS::NoValue"}


def problems(template):
    """Returns the violations, one sentence each."""
    resources = by_default(template["Resources"])
    found = list(_switch(template))
    found += _roles(resources)
    found += _forges(template, resources)
    found += _storage(resources)
    found += _plain_http(resources)
    found += _throttling(resources)
    found += _rates(template, resources)
    found += _events_of_objects(resources)
    found += _tags(template, resources)
    found += _loops(resources)
    found += _safe_by_default(template, resources)
    found += _open_to_all(template, resources)
    found += _lines_of_lambda(template["Globals"]["Function"], resources)
    return found


def by_default(value):
    """The value with plain HTTP refused, as without parameters, and with forges."""
    if isinstance(value, dict):
        if set(value) == {"Fn::If"} and value["Fn::If"][0] in ("TlsOnly", "UseForges"):
            return by_default(value["Fn::If"][1])
        return {key: by_default(each) for key, each in value.items()}
    if isinstance(value, list):
        return [by_default(each) for each in value if each != NOTHING]
    return value


def _switch(template):
    if template["Parameters"]["RequireTls"]["Default"] != "true":
        yield "RequireTls is not true by default"
    if template["Conditions"]["TlsOnly"] != {"Fn::Equals": [{"Ref": "RequireTls"}, "true"]}:
        yield "TlsOnly doesn't follow RequireTls"


def of_type(resources, kind):
    """Names and properties of the resources of a type."""
    return [(name, one.get("Properties", {})) for name, one in resources.items() if one["Type"] == kind]


def _list(value):
    return value if isinstance(value, list) else [value]


def _text(resource):
    """A resource of a statement, as text: what varies with the stack in braces."""
    if isinstance(resource, str):
        return resource
    if "Fn::GetAtt" in resource:
        return "${" + ".".join(_list(resource["Fn::GetAtt"])) + "}"
    if "Ref" in resource:
        return "${%s}" % resource["Ref"]
    return resource.get("Fn::Sub", str(resource))


def _roles(resources):
    roles = of_type(resources, "AWS::IAM::Role")
    used = [_text(one.get("Role", "")) for _, one in of_type(resources, "AWS::Serverless::Function")]
    if sorted(used) != sorted("${%s.Arn}" % name for name, _ in roles):
        yield f"each function must have a role of its own: {used}"
    for name, role in roles:
        for trusted in role["AssumeRolePolicyDocument"]["Statement"]:
            if trusted["Principal"] != {"Service": "lambda.amazonaws.com"}:
                yield f"{name} may be assumed by {trusted['Principal']}"
        if {"Ref": "TlsOnlyPolicy"} not in role.get("ManagedPolicyArns", []):
            yield f"{name} lacks TlsOnlyPolicy"
        for policy in role["Policies"]:
            yield from _statements(name, policy["PolicyDocument"])
            yield from _missing_objects(name, policy["PolicyDocument"]["Statement"])
    for name, policy in of_type(resources, "AWS::IAM::ManagedPolicy"):
        yield from _statements(name, policy["PolicyDocument"])


def _statements(role, document):
    for statement in document["Statement"]:
        if statement["Effect"] == "Deny":
            continue
        if "Action" not in statement or "Resource" not in statement:
            yield f"{role} allows all but something"
            continue
        actions = _list(statement["Action"])
        places = [_text(one) for one in _list(statement["Resource"])]
        yield from (f"{role} allows {action}" for action in actions if "*" in action)
        # None needs it: whatever the functions call knows the resource it is about.
        yield from (f"{role} allows {actions} on {place}" for place in places if place.endswith(":*") or place == "*")
        if any("JobsTable" in place and "/stream/" not in place and "StreamArn" not in place for place in places):
            yield from _keys(role, actions, places, statement.get("Condition", {}))
        elif any("LogsTable" in place for place in places):
            yield from (f"{role} may {action} the logs" for action in actions if action not in KEYED)
            yield from _log_writes(role, actions, statement.get("Condition", {}))
        if role not in READS_SECRETS and any(action.startswith(("ssm:", "secretsmanager:", "kms:")) for action in actions):
            yield f"{role} may {actions}"


def _forges(template, resources):
    """Only the functions of forges read the secrets of links, each its own, and only known functions ask for credentials."""
    if str(template["Parameters"]["Forges"]["Default"]) != "false":
        yield "Forges aren't off by default"
    start = SECRETS.removesuffix("*")
    for name, role in of_type(resources, "AWS::IAM::Role"):
        statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        reads = [one for one in statements if "ssm:GetParameters" in _list(one.get("Action", []))]
        places = {place.removeprefix(start) for one in reads if one["Effect"] == "Allow" for place in _places(one)}
        refused = {place.removeprefix(start) for one in reads if one["Effect"] == "Deny" for place in _places(one)}
        if name in LINK_SECRETS and places != LINK_SECRETS[name]:
            yield f"{name} may read the secrets {sorted(places)}"
        if name not in LINK_SECRETS and "*" in places and "FORGE_*" not in refused:
            yield f"{name} may read the secrets of links"
        for one in statements:
            keys = _list(one.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", []))
            if "FORGE" in keys and not set(_list(one["Action"])) <= READS and name not in WRITES_LINKS:
                yield f"{name} may change links"
    asked = [statement for kind in ("AWS::IAM::Role", "AWS::IAM::Policy") for _, one in of_type(resources, kind)
             for policy in one.get("Policies", [one]) for statement in policy["PolicyDocument"]["Statement"]
             if any(action.startswith("lambda:") for action in _list(statement.get("Action", [])))]
    policies = of_type(resources, "AWS::IAM::Policy")
    if len(asked) != 1 or [name for name, _ in policies] != ["AskForgePolicy"]:
        yield f"functions are invoked by {asked}"
    for _, policy in policies:
        yield from _statements("AskForgePolicy", policy["PolicyDocument"])
        if policy["Roles"] != [{"Ref": name} for name in ASKS_FORGE]:
            yield f"function forge is asked by {policy['Roles']}"


def _log_writes(role, actions, condition):
    """The roles that handle logs write them. Another may only say who reads one."""
    if role in WRITES_LOGS:
        return
    writes = [action for action in actions if action not in READS]
    keys = condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", [])
    if writes and (writes != ["dynamodb:PutItem"] or keys != ["READER#*"]):
        yield f"{role} may change logs: {writes}"


def _missing_objects(role, statements):
    """S3 answers 403 for a missing object to a role that may not list the bucket. Reading has no prefix, so a condition doesn't hold."""
    for statement in statements:
        if not {"s3:GetObject", "s3:HeadObject"} & set(_list(statement.get("Action", []))):
            continue
        for bucket in {place.split("/")[0] for place in _places(statement)}:
            lists = [one for one in statements if "s3:ListBucket" in _list(one.get("Action", [])) and "Condition" not in one]
            if not any(bucket in _places(one) for one in lists):
                yield f"{role} reads objects and can't tell a missing one from a forbidden one"


def _keys(role, actions, places, condition):
    yield from (f"{role} may {action} the jobs table" for action in actions if action not in KEYED)
    keys = set(_list(condition.get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", [])))
    if not keys:
        yield f"{role} may {actions} any key of the jobs table"
    known = INDEX_KEYS if all("/index/" in place for place in places) else TABLE_KEYS
    if keys - known:
        yield f"{role} may {actions} {sorted(keys - known)}, which nothing of ours is under"
    if "TOKEN" in keys and not set(actions) <= _on_tokens(role):
        yield f"{role} may {actions} tokens"
    if "SCHEMA" in keys and not set(actions) <= _on_schema(role):
        yield f"{role} may {actions} the schema"
    if "AUDIT#*" in keys and not set(actions) <= _on_audit(role):
        yield f"{role} may {actions} the record of who did what"


def _on_tokens(role):
    return (TOKEN_READS if role in READS_TOKENS else set()) | (TOKEN_WRITES if role in MAKES_TOKENS else set())


def _on_schema(role):
    """Every function reads it; one writes it, once."""
    return {"dynamodb:GetItem"} | ({"dynamodb:PutItem"} if role in WRITES_SCHEMA else set())


def _on_audit(role):
    """Every role that accepts tokens may add audit records, and so may the one that acts for links. None may change one."""
    return ({"dynamodb:PutItem"} if role in WRITES_AUDIT else set()) | (
        {"dynamodb:Query"} if role in READS_AUDIT else set())


def _storage(resources):
    # DynamoDB encrypts every table; there is no setting without.
    for name, queue in of_type(resources, "AWS::SQS::Queue"):
        if queue.get("SqsManagedSseEnabled") is not True and "KmsMasterKeyId" not in queue:
            yield f"queue {name} isn't encrypted"
    for name, bucket in of_type(resources, "AWS::S3::Bucket"):
        if not bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration"):
            yield f"bucket {name} isn't encrypted"
        block = bucket.get("PublicAccessBlockConfiguration", {})
        yield from (f"bucket {name} lacks {setting}" for setting in CLOSED if block.get(setting) is not True)
        policies = _policies(resources, "AWS::S3::BucketPolicy", "Bucket", name)
        if not any(_refuses(one, {"s3:*"}, [_objects(name)], _too_old) for one in policies):
            yield f"bucket {name} takes URLs signed long ago"


def _policies(resources, kind, field, name):
    found = of_type(resources, kind)
    return [one["PolicyDocument"] for _, one in found if {"Ref": name} in _list(one[field])]


def _refuses(document, actions, places, condition, everyone="*"):
    """Whether a statement refuses all these actions at all these places to everyone, on just this condition.

    In a policy of a role there is no principal: `everyone` is None.
    """
    return any(
        one["Effect"] == "Deny" and one.get("Principal") == everyone and condition(one.get("Condition", {}))
        and actions <= set(_list(one.get("Action", [])))
        and ("*" in _places(one) or set(places) <= _places(one))
        for one in document["Statement"])


def _places(statement):
    return {_text(one) for one in _list(statement.get("Resource", []))}


def _plain(condition):
    return condition == {"Bool": {"aws:SecureTransport": "false"}}


def _too_old(condition):
    """True if the condition is only a limit of the age, and the limit isn't too high."""
    age = condition.get("NumericGreaterThan", {}).get("s3:signatureAge")
    return condition == {"NumericGreaterThan": {"s3:signatureAge": age}} and str(age).isdigit() and int(age) <= OLDEST


def _arn(name):
    return "${%s.Arn}" % name


def _objects(name):
    return _arn(name) + "/*"


def _plain_http(resources):
    guarded = {
        "AWS::S3::Bucket": ("AWS::S3::BucketPolicy", "Bucket", "s3:*", lambda name: [_arn(name), _objects(name)]),
        "AWS::SQS::Queue": ("AWS::SQS::QueuePolicy", "Queues", "sqs:*", lambda name: [_arn(name)]),
        "AWS::SNS::Topic": ("AWS::SNS::TopicPolicy", "Topics", "sns:Publish", lambda name: ["${%s}" % name]),
    }
    for kind, (policy, field, action, places) in guarded.items():
        for name, _ in of_type(resources, kind):
            policies = _policies(resources, policy, field, name)
            if not any(_refuses(one, {action}, places(name), _plain) for one in policies):
                yield f"{name} answers plain HTTP"
    own = resources["TlsOnlyPolicy"]["Properties"]["PolicyDocument"]
    for name, table in of_type(resources, "AWS::DynamoDB::Table"):
        parts = [_arn(name), *([_arn(name) + "/index/*"] if "GlobalSecondaryIndexes" in table else [])]
        if not _refuses(own, {"dynamodb:*"}, parts, _plain, everyone=None):
            yield f"{name} answers functions that speak plain HTTP"
    if not _refuses(own, {"ssm:*"}, [SECRETS], _plain, everyone=None):
        yield "the secrets are sent to functions that speak plain HTTP"


def _loops(resources):
    """Lambda stops a function that sends to the queue which calls it, after 16 invocations, unless it says `Allow`."""
    for name, function in of_type(resources, "AWS::Serverless::Function"):
        events = [one["Properties"] for one in function.get("Events", {}).values() if one["Type"] == "SQS"]
        sent = _places_of(resources, function, "sqs:SendMessage")
        if any(_text(event["Queue"]) in sent for event in events) and function.get("RecursiveLoop") != "Allow":
            yield f"{name} sends to the queue that calls it: Lambda stops it after 16 invocations"


def _safe_by_default(template, resources):
    """What would fail in a new account, or cost money, is off unless a parameter says otherwise."""
    defaults = {name: str(one.get("Default")) for name, one in template["Parameters"].items()}
    for name in ("EngineConcurrency", "RequestConcurrency", "WarmWriteUnits", "MonthlyBudget"):
        if defaults[name] != "0":
            yield f"{name} isn't off by default"
    for name, one in resources.items():
        if one["Type"] == "AWS::DynamoDB::Table" and one.get("DeletionPolicy") != "RetainExceptOnCreate":
            yield f"{name} is deleted with the stack, or stays after a first deployment that failed"
        if one["Type"] == "AWS::IAM::Role" and "PermissionsBoundary" not in one["Properties"]:
            yield f"{name} has no permissions boundary"


# The functions that workers may call past the gateway. They serve no other routes than workers'.
WITH_URLS = {"ClaimFunction", "CompleteFunction"}


def _open_to_all(template, resources):
    """Everyone may call the two functions for workers by their URLs, and only if the stack was asked for them."""
    if template["Conditions"]["UseFunctionUrls"] != {"Fn::Equals": [{"Ref": "Gateway"}, "url"]}:
        yield "UseFunctionUrls doesn't follow Gateway"
    for name, url in of_type(resources, "AWS::Lambda::Url"):
        function = _text(url["TargetFunctionArn"]).removeprefix("${").removesuffix(".Arn}")
        if function not in WITH_URLS or resources[name].get("Condition") != "UseFunctionUrls":
            yield f"{name} opens {function}"
    for name, one in of_type(resources, "AWS::Lambda::Permission"):
        if one["Principal"] in ("apigateway.amazonaws.com", "events.amazonaws.com"):
            continue
        by_url = {"lambda:InvokeFunctionUrl": one.get("FunctionUrlAuthType") == "NONE",
                  "lambda:InvokeFunction": one.get("InvokedViaFunctionUrl") is True}
        is_asked_for = resources[name].get("Condition") == "UseFunctionUrls"
        if not (is_asked_for and one["FunctionName"].get("Ref") in WITH_URLS and by_url.get(one["Action"])):
            yield f"{name} lets {one['Principal']} call a function"


def _lines_of_lambda(common, resources):
    """Lambda writes three lines for each invocation, unless its own level is WARN or higher. A level needs the format JSON."""
    for name, function in of_type(resources, "AWS::Serverless::Function"):
        logging = {**common.get("LoggingConfig", {}), **function.get("LoggingConfig", {})}
        if logging.get("LogFormat") != "JSON" or logging.get("SystemLogLevel") != "WARN":
            yield f"{name} pays for Lambda's own lines in the log"


def _places_of(resources, function, action):
    """Where the role of the function allows the action."""
    role = _text(function["Role"]).removeprefix("${").removesuffix(".Arn}")
    statements = [one for policy in resources[role]["Properties"]["Policies"] for one in policy["PolicyDocument"]["Statement"]]
    return {place for one in statements if action in _list(one.get("Action", [])) for place in _places(one)}


def _throttling(resources):
    limits = ("ThrottlingRateLimit", "ThrottlingBurstLimit")
    for name, _ in of_type(resources, "AWS::ApiGatewayV2::Api"):
        stages = [one for _, one in of_type(resources, "AWS::ApiGatewayV2::Stage") if one["ApiId"] == {"Ref": name}]
        if not stages or any(limit not in one.get("DefaultRouteSettings", {}) for one in stages for limit in limits):
            yield f"{name} isn't throttled"
    for name, api in of_type(resources, "AWS::Serverless::Api"):
        all_of_it = [one for one in api.get("MethodSettings", []) if (one["ResourcePath"], one["HttpMethod"]) == ("/*", "*")]
        if not any(all(limit in one for limit in limits) for one in all_of_it):
            yield f"{name} isn't throttled"


# The parameter that limits a route, by the integration that answers it.
RATES = {"SubmitIntegration": "SubmitRateLimit", "HookIntegration": "HookRateLimit", "CompleteIntegration": "ReportRateLimit", "QueryIntegration": "ReadRateLimit"}
RATES_OF_ROUTES = {"POST /api/jobs/claim": "ClaimRateLimit", "POST /api/jobs/{lease_id}/logs": "LogRateLimit"}


def _rates(template, resources):
    """Heartbeats and reports have a higher rate than what may wait, and no kind of route uses up that of another."""
    defaults = {name: int(template["Parameters"][name]["Default"]) for name in {*RATES.values(), *RATES_OF_ROUTES.values()}}
    others = {name: rate for name, rate in defaults.items() if name != "ReportRateLimit"}
    if defaults["ReportRateLimit"] <= max(others.values()):
        yield "reports have no higher rate than other requests"
    stage = resources.get("HttpApiStage", {})
    in_http = stage.get("Properties", {}).get("RouteSettings", {})
    rest = resources["RestApi"]["Properties"].get("MethodSettings", [])
    in_rest = {(one["ResourcePath"], one["HttpMethod"]): one for one in rest}
    for name, route in of_type(resources, "AWS::ApiGatewayV2::Route"):
        key, integration = route["RouteKey"], _text(route["Target"]).removeprefix("integrations/").strip("${}")
        rate = RATES_OF_ROUTES.get(key, RATES.get(integration))
        if rate is None or key == "$default":
            continue
        method, path = key.split()
        # At one place of a path the REST API has one variable.
        path = path.replace("{lease_id}", "{id}").replace("{workflow_id}", "{id}")
        # CloudFormation writes the root as it is.
        escaped = path if path == "/" else "/" + path.replace("/", "~1")
        of_rest = in_rest.get((escaped, method), {})
        for where, settings in (("HttpApi", in_http.get(key, {})), ("RestApi", of_rest)):
            if any(settings.get(limit) != {"Ref": rate} for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit")):
                yield f"{key} is not limited by {rate} in {where}"
        if name not in _list(stage.get("DependsOn", [])):
            yield f"HttpApiStage has settings of {key}, and doesn't wait for {name}"


def _events_of_objects(resources):
    """EventBridge is paid for each object of a bucket, so only the bucket of failed batches has it, and that bucket must."""
    told = {name for name, one in of_type(resources, "AWS::S3::Bucket")
            if one.get("NotificationConfiguration", {}).get("EventBridgeConfiguration", {}).get("EventBridgeEnabled")}
    heard = [one["EventPattern"]["detail"]["bucket"]["name"] for _, one in of_type(resources, "AWS::Events::Rule")
             if one.get("EventPattern", {}).get("source") == ["aws.s3"]]
    for name in told:
        written = [place for _, role in of_type(resources, "AWS::IAM::Role") for policy in role["Policies"]
                   for one in policy["PolicyDocument"]["Statement"] if "s3:PutObject" in _list(one.get("Action", []))
                   for place in _places(one) if place.startswith("${%s.Arn}" % name)]
        yield from (f"each object of {place} costs an event" for place in written if not place.endswith("/aws/lambda/*"))
    for name, function in of_type(resources, "AWS::Serverless::Function"):
        for event in function.get("Events", {}).values():
            failed = event["Properties"].get("DestinationConfig", {}).get("OnFailure")
            if failed is None:
                continue
            bucket = _text(failed["Destination"]).removeprefix("${").removesuffix(".Arn}")
            if bucket not in told or [{"Ref": bucket}] not in heard:
                yield f"{name} gives up batches and nobody is told"


def _tags(template, resources):
    """Queues that a function makes carry the stack's name as a tag, or their cost can't be told from others'."""
    variables = template["Globals"]["Function"]["Environment"]["Variables"]
    for name, role in of_type(resources, "AWS::IAM::Role"):
        statements = [one for policy in role["Policies"] for one in policy["PolicyDocument"]["Statement"]]
        made, tagged = (
            {place for one in statements if action in _list(one.get("Action", [])) for place in _places(one)}
            for action in ("sqs:CreateQueue", "sqs:TagQueue"))
        if made != tagged or (made and variables.get("WFG_STACK") != {"Ref": "AWS::StackName"}):
            yield f"{name} can't tag the queues that it makes"
