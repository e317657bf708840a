//! `wfg check` on targets that have a stack.

use harness::{Cloud, Emulator};
use serde_json::{Value, json};

/// What an emulator doesn't keep of the template.
const MINISTACK: [&str; 2] = ["*.LifecycleConfiguration", "*.EventInvokeConfig"];
const LOCALSTACK: [&str; 4] =
    ["*.LifecycleConfiguration", "*.RetentionInDays", "ExpireFunction.RecursiveLoop", "RestApiStage.MethodSettings"];
const CLOSED: &str = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>\
    <IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy>\
    <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";

fn is_localstack() -> bool {
    std::env::var("WFG_TEST_EMULATOR").is_ok_and(|name| name == "localstack")
}

fn arguments(stack: &str) -> Vec<&str> {
    let known = if is_localstack() { &LOCALSTACK[..] } else { &MINISTACK };
    let ignored = known.iter().flat_map(|known| ["--ignore", known]);
    ["check", "--stack", stack].into_iter().chain(ignored).collect()
}

/// Changes one setting of each kind of resource, or changes them back.
async fn change(cloud: &Cloud, emulator: &Emulator, back: bool) {
    let (http, stack) = (&cloud.http, emulator.stack());
    let call = async |service: &str, target: &str, input: Value| {
        let answer = emulator.call(http, service, target, &input).await;
        assert!(answer["__type"].is_null(), "{target}: {answer}");
        answer
    };
    let expiry = json!({ "AttributeName": "expires_on", "Enabled": back });
    let expiry = json!({ "TableName": emulator.table(), "TimeToLiveSpecification": expiry });
    call("dynamodb", "DynamoDB_20120810.UpdateTimeToLive", expiry).await;
    let queue = emulator.queue(http, &format!("{stack}-batches")).await;
    let visibility = json!({ "VisibilityTimeout": if back { "360" } else { "60" } });
    call("sqs", "AmazonSQS.SetQueueAttributes", json!({ "QueueUrl": queue, "Attributes": visibility })).await;
    let prefix = json!({ "AlarmNamePrefix": format!("{stack}-SweepAlarm") });
    let alarm = call("monitoring", "GraniteServiceVersion20100801.DescribeAlarms", prefix).await;
    let alarm = json!({ "AlarmNames": [alarm["MetricAlarms"][0]["AlarmName"]] });
    let action = if back { "Enable" } else { "Disable" };
    call("monitoring", &format!("GraniteServiceVersion20100801.{action}AlarmActions"), alarm).await;
    let memory = json!({ "MemorySize": if back { 256 } else { 128 } });
    emulator.put_lambda(http, &format!("/2015-03-31/functions/{stack}-query/configuration"), &memory).await;
    emulator.until_updated(http, &format!("{stack}-query")).await;
    let rule = call("events", "AWSEvents.ListRules", json!({ "NamePrefix": format!("{stack}-SweepRule") })).await;
    let rule = json!({ "Name": rule["Rules"][0]["Name"] });
    call("events", &format!("AWSEvents.{action}Rule"), rule).await;
    emulator.set_bucket(http, "publicAccessBlock", back.then_some(CLOSED)).await;
    if !is_localstack() {
        let recursion = json!({ "RecursiveLoop": if back { "Allow" } else { "Terminate" } });
        emulator.put_lambda(http, &format!("/2024-08-31/functions/{stack}-expire/recursion-config"), &recursion).await;
    }
}

#[tokio::test]
async fn good_stack_passes_and_each_change_is_named() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    let stack = emulator.stack();
    let good = emulator.wfg(&arguments(stack)).await;
    assert_eq!(good.code, Some(0), "{good:#?}");
    let last = good.out.lines().last().expect("a summary");
    assert!(last.starts_with(&format!("{stack}: ")) && last.ends_with("as the template says, 0 differences"), "{last}");
    // What isn't served or read is said.
    let roles = if is_localstack() { 6 } else { 8 };
    assert!(good.out.contains(&format!("not checked: {roles} of type AWS::IAM::Role: ")), "{}", good.out);

    change(&cloud, emulator, false).await;
    let changed = emulator.wfg(&arguments(stack)).await;
    change(&cloud, emulator, true).await;
    assert_eq!(changed.code, Some(1), "{changed:#?}");
    let mut expected = vec![
        "JobsTable: TimeToLiveSpecification.Enabled: expected true, found false",
        "BatchesQueue: VisibilityTimeout: expected 360, found 60",
        "SweepAlarm: ActionsEnabled: expected true, found false",
        "SweepRule: State: expected ENABLED, found DISABLED",
        "QueryFunction: MemorySize: expected 256, found 128",
    ];
    if !is_localstack() {
        expected.push("ExpireFunction: RecursiveLoop: expected Allow, found Terminate");
    }
    for line in expected {
        assert!(changed.out.lines().any(|found| found == line), "{line:?} isn't in\n{}", changed.out);
    }
    let bucket = "\nStreamDeadBucket: PublicAccessBlockConfiguration";
    assert!(format!("\n{}", changed.out).contains(bucket), "{}", changed.out);

    let good = emulator.wfg(&arguments(stack)).await;
    assert_eq!(good.code, Some(0), "{good:#?}");
}

#[tokio::test]
async fn unknown_stack_is_refused_with_its_region() {
    let cloud = Cloud::connect();
    let Some(emulator) = cloud.emulator() else { return };
    for command in
        [&["check", "--stack", "nowhere"][..], &["token", "create", "x", "--scopes", "read", "--stack", "nowhere"]]
    {
        let said = emulator.wfg(command).await;
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""));
        let expected =
            "error: there is no stack nowhere in us-east-1; check the stack's name, the region and the account";
        assert_eq!(said.err.trim_end().trim_end_matches('.'), expected);
    }
}
