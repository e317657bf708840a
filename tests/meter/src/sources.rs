//! The event sources of the functions: the stream of the table, the queue of batch tasks and timers, and the schedule.
//!
//! On the emulator they are turned off, and the meter delivers what they would deliver. So the size of each batch and the time of
//! each delivery are stated, and the counts of two measurements are equal.

use harness::{Cloud, Emulator};
use serde_json::{Value, json};

/// The event sources, turned off.
pub struct Sources {
    http: reqwest::Client,
    emulator: &'static Emulator,
    /// The patterns of the stream's records that invoke the function `schedule`.
    filters: Vec<Value>,
    /// The same of the function `forge`.
    forge_filters: Vec<Value>,
    iterator: String,
}

/// Records of the stream, by the function that they invoke. A record may invoke both.
#[derive(Default)]
pub struct Records {
    /// For the function `schedule`.
    pub schedule: Vec<Value>,
    /// For the function `forge`.
    pub forge: Vec<Value>,
}

impl Sources {
    /// Turns the event sources of the stack off. The stream is read from here on.
    ///
    /// # Panics
    /// If the stack has other event sources than the template's, or the emulator refuses a call.
    pub async fn turn_off(cloud: &Cloud, emulator: &'static Emulator) -> Self {
        let http = cloud.http.clone();
        let mappings = format!("{}/2015-03-31/event-source-mappings/", emulator.endpoint());
        let list = emulator.lambda(http.get(&mappings)).await;
        let all = list["EventSourceMappings"].as_array().into_iter().flatten();
        let of = |function: &str| all.clone().find(|one| function_of(one) == function);
        let (mut filters, mut forge_filters) = (Vec::new(), Vec::new());
        let forge = emulator.forge();
        for function in [emulator.schedule(), emulator.expire(), &forge] {
            let mapping = of(function).unwrap_or_else(|| panic!("no event source of {function}: {list}"));
            let id = mapping["UUID"].as_str().expect("an id");
            let off = json!({ "Enabled": false }).to_string();
            emulator.lambda(http.put(format!("{mappings}{id}")).body(off)).await;
            let patterns = mapping["FilterCriteria"]["Filters"].as_array().into_iter().flatten();
            let patterns = patterns.map(|one| pattern(one["Pattern"].as_str().expect("a pattern")));
            if function == forge { forge_filters.extend(patterns) } else { filters.extend(patterns) }
        }
        assert!(!filters.is_empty() && !forge_filters.is_empty(), "the stream has no filter: {list}");
        let rules =
            emulator.call(&http, "events", "AWSEvents.ListRules", &json!({ "NamePrefix": emulator.stack() })).await;
        for rule in
            rules["Rules"].as_array().into_iter().flatten().filter(|rule| rule["ScheduleExpression"].is_string())
        {
            emulator.call(&http, "events", "AWSEvents.DisableRule", &json!({ "Name": rule["Name"] })).await;
        }
        let iterator = latest(emulator, &http).await;
        Self { http, emulator, filters, forge_filters, iterator }
    }

    /// The records of the stream since the last call that invoke a function.
    ///
    /// # Panics
    /// If the emulator refuses to read the stream.
    pub async fn records(&mut self) -> Records {
        let mut records = Records::default();
        loop {
            let input = json!({ "ShardIterator": self.iterator });
            let page = self.emulator.call(&self.http, "dynamodb", "DynamoDBStreams_20120810.GetRecords", &input).await;
            let found = page["Records"].as_array().unwrap_or_else(|| panic!("no records: {page}"));
            page["NextShardIterator"].as_str().expect("an open shard").clone_into(&mut self.iterator);
            if found.is_empty() {
                return records;
            }
            let wanted = |filters: &[Value]| -> Vec<Value> {
                found.iter().filter(|record| filters.iter().any(|filter| matches(filter, record))).cloned().collect()
            };
            records.schedule.extend(wanted(&self.filters));
            records.forge.extend(wanted(&self.forge_filters));
        }
    }

    /// Invokes the function `schedule` with these records.
    ///
    /// # Panics
    /// If it can't handle one of them.
    pub async fn deliver_records(&self, records: &[Value]) {
        let answer = self.emulator.invoke(&self.http, self.emulator.schedule(), &json!({ "Records": records })).await;
        assert!(answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty), "{answer}");
    }

    /// Invokes the function `forge` with these records.
    ///
    /// # Panics
    /// If it can't handle one of them.
    pub async fn deliver_to_forge(&self, records: &[Value]) {
        let answer = self.emulator.invoke(&self.http, &self.emulator.forge(), &json!({ "Records": records })).await;
        assert!(answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty), "{answer}");
    }

    /// Invokes the function `expire` with a message of the queue.
    ///
    /// # Panics
    /// If it can't handle it.
    pub async fn deliver_message(&self, body: &str) {
        let record = json!({
            "messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78",
            "receiptHandle": "MessageReceiptHandle",
            "body": body,
            "attributes": { "ApproximateReceiveCount": "1" },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": format!("arn:aws:sqs:us-east-1:000000000000:{}-batches", self.emulator.stack()),
            "awsRegion": "us-east-1"
        });
        let answer = self.emulator.invoke(&self.http, self.emulator.expire(), &json!({ "Records": [record] })).await;
        assert!(answer["batchItemFailures"].as_array().is_none_or(Vec::is_empty), "{answer}");
    }

    /// Invokes the function `expire` as the schedule does every minute.
    pub async fn sweep(&self) {
        self.emulator.invoke(&self.http, self.emulator.expire(), &json!({ "source": "aws.events" })).await;
    }
}

/// An iterator that begins after the newest record of the table's stream.
async fn latest(emulator: &Emulator, http: &reqwest::Client) -> String {
    let call = async |action: &str, input: Value| {
        emulator.call(http, "dynamodb", &format!("DynamoDBStreams_20120810.{action}"), &input).await
    };
    let list = call("ListStreams", json!({ "TableName": emulator.table() })).await;
    let arn = &list["Streams"][0]["StreamArn"];
    let about = call("DescribeStream", json!({ "StreamArn": arn })).await;
    let shard = &about["StreamDescription"]["Shards"][0]["ShardId"];
    let input = json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "LATEST" });
    let answer = call("GetShardIterator", input).await;
    answer["ShardIterator"].as_str().unwrap_or_else(|| panic!("no iterator: {answer} {about}")).to_owned()
}

fn function_of(mapping: &Value) -> &str {
    mapping["FunctionArn"].as_str().and_then(|arn| arn.rsplit(':').next()).unwrap_or_default()
}

/// A pattern of the template, whose comment may precede it.
fn pattern(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// True if the value has everything that the pattern has: objects recursively, lists as alternatives. An alternative may be a prefix,
/// or say that there is a value.
fn matches(pattern: &Value, value: &Value) -> bool {
    let is = |alternative: &Value| match (alternative["prefix"].as_str(), value.as_str()) {
        (Some(prefix), text) => text.is_some_and(|text| text.starts_with(prefix)),
        (None, _) => alternative == value || (alternative["exists"] == true && !value.is_null()),
    };
    match pattern {
        Value::Object(fields) => fields.iter().all(|(name, pattern)| matches(pattern, &value[name])),
        Value::Array(alternatives) => alternatives.iter().any(is),
        other => other == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_matches_a_pattern_if_each_field_has_one_of_the_values() {
        let pattern =
            json!({ "eventName": ["MODIFY"], "dynamodb": { "NewImage": { "status": { "S": ["ended", "gone"] } } } });
        let record = |name: &str, status: &str| json!({ "eventName": name, "dynamodb": { "NewImage": { "status": { "S": status }, "other": { "N": "1" } } } });
        assert!(matches(&pattern, &record("MODIFY", "ended")));
        assert!(!matches(&pattern, &record("MODIFY", "ready")));
        assert!(!matches(&pattern, &record("INSERT", "ended")));
        assert!(!matches(&pattern, &json!({ "eventName": "MODIFY" })));
        let of_forge = json!({ "pk": [{ "prefix": "FORGE#" }], "commit": [{ "exists": true }] });
        assert!(matches(&of_forge, &json!({ "pk": "FORGE#acme", "commit": "4c1f" })));
        assert!(!matches(&of_forge, &json!({ "pk": "FORGE", "commit": "4c1f" })));
        assert!(!matches(&of_forge, &json!({ "pk": "FORGE#acme" })));
    }
}
