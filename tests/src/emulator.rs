//! Calls to the AWS emulator under test: events that only AWS sends, and records that only the table shows.

use std::env;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::eventually;

/// The emulator under test. It doesn't check signatures.
pub struct Emulator {
    endpoint: String,
    expire: String,
    schedule: String,
    table: String,
    bucket: String,
    stack: String,
}

/// An item of the table, as `DynamoDB` writes it.
pub type Item = Value;

impl Emulator {
    pub(crate) fn from_env() -> Option<Self> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = set("WFG_TEST_AWS")?.trim_end_matches('/').to_owned();
        let must = |name: &str| set(name).unwrap_or_else(|| panic!("WFG_TEST_AWS is set, so {name} must be too"));
        Some(Self {
            endpoint,
            expire: must("WFG_TEST_EXPIRE_FUNCTION"),
            schedule: must("WFG_TEST_SCHEDULE_FUNCTION"),
            table: must("WFG_TEST_JOBS_TABLE"),
            bucket: must("WFG_TEST_STREAM_DEAD_BUCKET"),
            stack: must("WFG_TEST_STACK"),
        })
    }

    /// Sends the event of the schedule now, and ignores the result.
    pub(crate) async fn sweep_if_it_can(&self, http: &reqwest::Client) {
        let _ = self.invocation(http, &self.expire, &minute()).send().await;
    }

    /// Sends the event of the schedule now.
    pub(crate) async fn sweep(&self, http: &reqwest::Client) {
        self.invoke(http, &self.expire, &minute()).await;
    }

    /// Invokes the function of the stream with this batch.
    pub async fn stream(&self, http: &reqwest::Client, batch: &Value) -> Value {
        self.invoke(http, &self.schedule, batch).await
    }

    fn invocation(&self, http: &reqwest::Client, function: &str, event: &Value) -> reqwest::RequestBuilder {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.endpoint);
        http.post(url).header("authorization", authorization("lambda")).body(event.to_string())
    }

    /// Invokes a function with an event and returns its answer.
    ///
    /// # Panics
    /// If the function fails.
    pub async fn invoke(&self, http: &reqwest::Client, function: &str, event: &Value) -> Value {
        let response = self.invocation(http, function, event).send().await.expect("the emulator answers");
        let (status, failed) = (response.status(), response.headers().contains_key("x-amz-function-error"));
        let body = response.text().await.expect("a body");
        assert!(status.is_success() && !failed, "{function}: {status} {body}");
        serde_json::from_str(&body).unwrap_or_default()
    }

    /// The names of the stack's functions.
    ///
    /// # Panics
    /// If there are none.
    pub async fn functions(&self, http: &reqwest::Client) -> Vec<String> {
        let list = self.lambda(http.get(format!("{}/2015-03-31/functions/", self.endpoint))).await;
        let names = list["Functions"].as_array().into_iter().flatten().filter_map(|one| one["FunctionName"].as_str());
        let own: Vec<String> = names.filter(|name| self.owns(name)).map(str::to_owned).collect();
        assert!(!own.is_empty(), "no function of {}: {list}", self.stack);
        own
    }

    /// Whether the stack has a function of this name.
    pub(crate) fn owns(&self, function: &str) -> bool {
        function.strip_prefix(&self.stack).is_some_and(|rest| rest.starts_with('-'))
    }

    /// The environment variables of a function.
    pub async fn variables(&self, http: &reqwest::Client, function: &str) -> Value {
        let configuration = self.lambda(http.get(self.configuration(function))).await;
        configuration["Environment"]["Variables"].clone()
    }

    /// The memory of a function, in MB.
    ///
    /// # Panics
    /// If the emulator doesn't say.
    pub async fn memory_mb(&self, http: &reqwest::Client, function: &str) -> f64 {
        let configuration = self.lambda(http.get(self.configuration(function))).await;
        configuration["MemorySize"].as_f64().unwrap_or_else(|| panic!("no memory: {configuration}"))
    }

    /// The bucket of failed stream batches.
    #[must_use]
    pub fn stream_dead_bucket(&self) -> &str {
        &self.bucket
    }

    /// The notifications of the bucket of failed stream batches, as XML.
    ///
    /// # Panics
    /// If the emulator doesn't answer.
    pub async fn bucket_notifications(&self, http: &reqwest::Client) -> String {
        let request = http.get(format!("{}/{}?notification", self.endpoint, self.bucket));
        let answer = request.header("authorization", authorization("s3")).send().await.expect("the emulator answers");
        answer.text().await.expect("a body")
    }

    /// Sets the environment variables of a function.
    pub async fn set_variables(&self, http: &reqwest::Client, function: &str, variables: &Value) {
        let body = json!({ "Environment": { "Variables": variables } });
        self.lambda(http.put(self.configuration(function)).body(body.to_string())).await;
    }

    /// Waits until a function uses its latest configuration.
    pub async fn until_updated(&self, http: &reqwest::Client, function: &str) {
        eventually("the function is configured", async || {
            let configuration = self.lambda(http.get(self.configuration(function))).await;
            (configuration["LastUpdateStatus"] != "InProgress").then_some(())
        })
        .await;
    }

    fn configuration(&self, function: &str) -> String {
        format!("{}/2015-03-31/functions/{function}/configuration", self.endpoint)
    }

    /// A call of the API of Lambda, or of another service that has paths.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn lambda(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.header("authorization", authorization("lambda")).send().await;
        let answer = answer.expect("the emulator answers");
        let (status, body) = (answer.status(), answer.text().await.expect("a body"));
        assert!(status.is_success(), "{status}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    /// The items of a workflow's current run: its control item, then its jobs.
    ///
    /// # Panics
    /// If the table doesn't have them.
    pub async fn items(&self, http: &reqwest::Client, workflow: &str) -> Vec<Item> {
        let meta = self.query(http, &format!("WF#{workflow}")).await;
        let run = meta[0]["run"]["S"].as_str().unwrap_or_else(|| panic!("no run key in {meta:?}")).to_owned();
        let mut items = self.query(http, &format!("R#{run}")).await;
        items.retain(|item| item["sk"]["S"] == "CTL");
        let jobs = self.query(http, &format!("R#{run}#0")).await;
        items.extend(jobs.into_iter().filter(|item| item["sk"]["S"].as_str().is_some_and(|sk| sk.starts_with("JOB#"))));
        assert!(items.len() > 1, "{items:?}");
        items
    }

    /// All records of a workflow and its current run in the table of jobs, as far as the run has less than 256 jobs.
    ///
    /// # Panics
    /// If the table doesn't have them.
    pub async fn records(&self, http: &reqwest::Client, workflow: &str) -> Vec<Item> {
        let mut records = self.query(http, &format!("WF#{workflow}")).await;
        let run = records[0]["run"]["S"].as_str().unwrap_or_else(|| panic!("no run key in {records:?}")).to_owned();
        for partition in [format!("R#{run}"), format!("R#{run}#0")] {
            records.extend(self.query(http, &partition).await);
        }
        records
    }

    /// Writes records that [`Self::records`] returned, to expire in a day.
    ///
    /// # Panics
    /// If the emulator refuses one.
    pub async fn put_records(&self, http: &reqwest::Client, records: &[Item]) {
        const DAY: u64 = 86_400;
        let now = UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs();
        for record in records {
            let mut record = record.clone();
            record["expires_on"] = json!({ "N": (now + DAY).to_string() });
            let put = json!({ "TableName": self.table, "Item": record });
            let answer = self.call(http, "dynamodb", "DynamoDB_20120810.PutItem", &put).await;
            assert!(answer["__type"].is_null(), "{answer}");
        }
    }

    /// The item that says which versions may use the stack's records.
    ///
    /// # Panics
    /// If nothing was submitted yet.
    pub async fn schema(&self, http: &reqwest::Client) -> Item {
        self.query(http, "SCHEMA").await.pop().expect("a submission writes the schema")
    }

    /// Replaces that item, and starts every function anew, so that it reads it.
    ///
    /// # Panics
    /// If the emulator refuses it.
    pub async fn put_schema(&self, http: &reqwest::Client, item: &Item) {
        let put = json!({ "TableName": self.table, "Item": item });
        let answer = self.call(http, "dynamodb", "DynamoDB_20120810.PutItem", &put).await;
        assert!(answer["__type"].is_null(), "{answer}");
        for function in self.functions(http).await {
            let mut variables = self.variables(http, &function).await;
            variables["WFG_TEST_STARTED_FOR"] = json!(item.to_string());
            self.set_variables(http, &function, &variables).await;
            self.until_updated(http, &function).await;
        }
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The name of the table of jobs.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The name of the function that the stream invokes.
    #[must_use]
    pub fn schedule(&self) -> &str {
        &self.schedule
    }

    /// The name of the function that the queue and the sweep invoke.
    #[must_use]
    pub fn expire(&self) -> &str {
        &self.expire
    }

    /// The name of the function that asks forges.
    #[must_use]
    pub fn forge(&self) -> String {
        format!("{}-forge", self.stack)
    }

    /// The stack's name.
    #[must_use]
    pub fn stack(&self) -> &str {
        &self.stack
    }

    /// Creates or replaces a secret of the stack.
    ///
    /// # Panics
    /// If the emulator refuses it.
    pub async fn put_secret(&self, http: &reqwest::Client, name: &str, value: &str) {
        let input = json!({
            "Name": format!("/{}/secrets/{name}", self.stack),
            "Value": value,
            "Type": "SecureString",
            "Overwrite": true,
        });
        let answer = self.call(http, "ssm", "AmazonSSM.PutParameter", &input).await;
        assert!(answer["Version"].is_number(), "{answer}");
    }

    /// Puts an object into the stack's bucket of failed stream batches.
    pub async fn put_object(&self, http: &reqwest::Client, key: &str, body: &Value) {
        self.object(http.put(self.object_url(key)).body(body.to_string())).await;
    }

    /// Deletes an object of this bucket.
    pub async fn delete_object(&self, http: &reqwest::Client, key: &str) {
        self.object(http.delete(self.object_url(key))).await;
    }

    fn object_url(&self, key: &str) -> String {
        format!("{}/{}/{key}", self.endpoint, self.bucket)
    }

    async fn object(&self, request: reqwest::RequestBuilder) {
        let answer = request.header("authorization", authorization("s3")).send().await.expect("the emulator answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// Removes a job from its pool's ready list and sets it to waiting without needs, which the engine never does. Only another
    /// batch task over the run's roots finds it.
    ///
    /// # Panics
    /// If it isn't ready.
    pub async fn forget_job(&self, http: &reqwest::Client, job: &Item) {
        let update = json!({
            "TableName": self.table,
            "Key": { "pk": job["pk"], "sk": job["sk"] },
            "UpdateExpression": "SET #status = :waiting REMOVE index_pk, index_sk, ready_at",
            "ConditionExpression": "#status = :ready",
            "ExpressionAttributeNames": { "#status": "status" },
            "ExpressionAttributeValues": { ":waiting": { "S": "waiting" }, ":ready": { "S": "ready" } }
        });
        let answer = self.call(http, "dynamodb", "DynamoDB_20120810.UpdateItem", &update).await;
        assert!(answer["__type"].is_null(), "{answer}");
    }

    /// The URL of a queue, by its name.
    ///
    /// # Panics
    /// If there is none.
    pub async fn queue(&self, http: &reqwest::Client, name: &str) -> String {
        let answer = self.call(http, "sqs", "AmazonSQS.GetQueueUrl", &json!({ "QueueName": name })).await;
        answer["QueueUrl"].as_str().unwrap_or_else(|| panic!("no queue {name}: {answer}")).to_owned()
    }

    /// Receives a message from the queue, waiting up to 20 s. Returns its body.
    pub async fn receive(&self, http: &reqwest::Client, queue: &str) -> Option<String> {
        self.receive_within(http, queue, 20).await
    }

    /// Receives a message if the queue has one. Returns its body.
    pub async fn receive_at_once(&self, http: &reqwest::Client, queue: &str) -> Option<String> {
        self.receive_within(http, queue, 0).await
    }

    async fn receive_within(&self, http: &reqwest::Client, queue: &str, secs: u8) -> Option<String> {
        let receive = json!({ "QueueUrl": queue, "WaitTimeSeconds": secs, "MaxNumberOfMessages": 1 });
        let answer = self.call(http, "sqs", "AmazonSQS.ReceiveMessage", &receive).await;
        let message = &answer["Messages"][0];
        let body = message["Body"].as_str()?.to_owned();
        let delete = json!({ "QueueUrl": queue, "ReceiptHandle": message["ReceiptHandle"] });
        self.call(http, "sqs", "AmazonSQS.DeleteMessage", &delete).await;
        Some(body)
    }

    /// Sends a message to the queue.
    pub async fn send(&self, http: &reqwest::Client, queue: &str, body: &str) {
        let send = json!({ "QueueUrl": queue, "MessageBody": body });
        self.call(http, "sqs", "AmazonSQS.SendMessage", &send).await;
    }

    /// Sends a message to the queue of batch tasks as the end of a chain that has invoked its function `invocations` times.
    ///
    /// Lambda keeps this count in the trace header; on `MiniStack` `localstack/ministack/recursion.py` does.
    ///
    /// # Panics
    /// If the emulator refuses the message.
    pub async fn send_in_chain(&self, http: &reqwest::Client, body: &str, invocations: u32) {
        let queue = self.queue(http, &format!("{}-batches", self.stack)).await;
        let hash =
            Sha256::digest(&self.expire).iter().take(4).fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"));
        let trace = format!("Root=1-5759e988-bd862e3fe1be46a994272793;Lineage=1:{hash}:{invocations}");
        let send = json!({ "QueueUrl": queue, "MessageBody": body });
        let request = self.request(http, "sqs", "AmazonSQS.SendMessage", &send).header("x-amzn-trace-id", trace);
        let answer = request.send().await.expect("the emulator answers");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// The number of messages in the queue, including received ones that were not deleted.
    ///
    /// # Panics
    /// If there is no such queue.
    pub async fn messages(&self, http: &reqwest::Client, queue: &str) -> u64 {
        let about = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        let ask = json!({ "QueueUrl": queue, "AttributeNames": about });
        let answer = self.call(http, "sqs", "AmazonSQS.GetQueueAttributes", &ask).await;
        let count = |name: &str| answer["Attributes"][name].as_str()?.parse::<u64>().ok();
        about.iter().map(|name| count(name).unwrap_or_else(|| panic!("no {name}: {answer}"))).sum()
    }

    /// Deletes the queue.
    pub async fn delete_queue(&self, http: &reqwest::Client, queue: &str) {
        self.call(http, "sqs", "AmazonSQS.DeleteQueue", &json!({ "QueueUrl": queue })).await;
    }

    async fn query(&self, http: &reqwest::Client, pk: &str) -> Vec<Item> {
        let query = json!({
            "TableName": self.table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": { ":pk": { "S": pk } },
            "ConsistentRead": true
        });
        let answer = self.call(http, "dynamodb", "DynamoDB_20120810.Query", &query).await;
        answer["Items"].as_array().unwrap_or_else(|| panic!("no items: {answer}")).clone()
    }

    /// Sends a request to the emulator's API of Lambda.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn put_lambda(&self, http: &reqwest::Client, path: &str, body: &Value) {
        self.lambda(http.put(format!("{}{path}", self.endpoint)).body(body.to_string())).await;
    }

    /// Changes a setting of the bucket of failed stream batches, such as `publicAccessBlock`; without a body, removes it.
    pub async fn set_bucket(&self, http: &reqwest::Client, setting: &str, body: Option<&str>) {
        let url = format!("{}/{}?{setting}=", self.endpoint, self.bucket);
        let request = body.map_or_else(|| http.delete(&url), |body| http.put(&url).body(body.to_owned()));
        self.object(request).await;
    }

    /// A call of AWS's JSON protocol.
    ///
    /// # Panics
    /// If the answer isn't JSON.
    pub async fn call(&self, http: &reqwest::Client, service: &str, target: &str, input: &Value) -> Value {
        let request = self.request(http, service, target, input);
        let answer = request.send().await.expect("the emulator answers").text().await.expect("a body");
        if answer.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{target}: {error}: {answer}"))
    }

    fn request(&self, http: &reqwest::Client, service: &str, target: &str, input: &Value) -> reqwest::RequestBuilder {
        http.post(format!("{}/", self.endpoint))
            .header("authorization", authorization(service))
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target)
            .body(input.to_string())
    }
}

fn minute() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-01-01T00:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:events:us-east-1:000000000000:rule/sweep"],
        "detail": {}
    })
}

fn authorization(service: &str) -> String {
    let scope = format!("test/20260101/us-east-1/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=x")
}

/// The batch that the stream would deliver for these items: an opened run, ended jobs.
#[must_use]
pub fn stream_event(items: &[Item]) -> Value {
    let record = |(n, item): (usize, &Item)| {
        let mut change = json!({
            "ApproximateCreationDateTime": 1_767_225_600,
            "Keys": { "pk": item["pk"], "sk": item["sk"] },
            "NewImage": item,
            "SequenceNumber": format!("{:021}", n + 1),
            "SizeBytes": item.to_string().len(),
            "StreamViewType": "NEW_AND_OLD_IMAGES"
        });
        let control = item["sk"]["S"] == "CTL";
        if !control {
            let mut old = item.clone();
            old["status"] = json!({ "S": "ready" });
            change["OldImage"] = old;
        }
        json!({
            "eventID": format!("{n:032x}"),
            "eventName": if control { "INSERT" } else { "MODIFY" },
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/jobs/stream/2026-01-01T00:00:00.000",
            "dynamodb": change
        })
    };
    json!({ "Records": items.iter().enumerate().map(record).collect::<Vec<_>>() })
}
