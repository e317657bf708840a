//! Tables, a bucket and queues that only one test knows, on whatever the settings of the AWS libraries name.

use std::time::Duration;

use aws::Config;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier};
use engine::ids;

/// Tables, a bucket and queues that only this test knows.
pub struct Own {
    tables: aws_sdk_dynamodb::Client,
    objects: aws_sdk_s3::Client,
    queues: aws_sdk_sqs::Client,
    region: String,
    name: String,
    batches_queue: String,
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("it is whole")
}

fn keys(partition: &str, sort: &str) -> Vec<KeySchemaElement> {
    vec![key(partition, KeyType::Hash), key(sort, KeyType::Range)]
}

fn text(name: &str) -> AttributeDefinition {
    let definition = AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S);
    definition.build().expect("it is whole")
}

impl Own {
    /// Made, and ready to be used. Their names begin with `purpose`.
    pub async fn new(settings: &SdkConfig, purpose: &str) -> Self {
        let path_style = settings.endpoint_url().is_some();
        let s3 = aws_sdk_s3::config::Builder::from(settings).force_path_style(path_style).build();
        let queues = aws_sdk_sqs::Client::new(settings);
        let name = format!("{purpose}-{:016x}", u128::from_be_bytes(ids::random()) >> 64);
        let batches = queues.create_queue().queue_name(format!("{name}-batches")).send().await.expect("the queue");
        let own = Self {
            tables: aws_sdk_dynamodb::Client::new(settings),
            objects: aws_sdk_s3::Client::from_conf(s3),
            queues,
            region: settings.region().expect("AWS_REGION is set").to_string(),
            name,
            batches_queue: batches.queue_url.expect("its URL"),
        };
        own.make().await;
        own
    }

    fn jobs(&self) -> String {
        format!("{}-jobs", self.name)
    }

    fn logs(&self) -> String {
        format!("{}-logs", self.name)
    }

    async fn make(&self) {
        let index = GlobalSecondaryIndex::builder()
            .index_name("index")
            .set_key_schema(Some(keys("index_pk", "index_sk")))
            .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
        let table = |name| {
            let call = self.tables.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
            let call = call.set_key_schema(Some(keys("pk", "sk")));
            call.attribute_definitions(text("pk")).attribute_definitions(text("sk"))
        };
        let jobs = table(self.jobs())
            .attribute_definitions(text("index_pk"))
            .attribute_definitions(text("index_sk"))
            .global_secondary_indexes(index.build().expect("it is whole"));
        jobs.send().await.expect("the table of jobs");
        table(self.logs()).send().await.expect("the table of logs");
        for table in [self.jobs(), self.logs()] {
            self.is_active(&table).await;
        }
        // The first region is the only one that must not be named.
        let place = (self.region != "us-east-1").then(|| {
            let constraint = BucketLocationConstraint::from(self.region.as_str());
            CreateBucketConfiguration::builder().location_constraint(constraint).build()
        });
        let bucket = self.objects.create_bucket().bucket(&self.name).set_create_bucket_configuration(place);
        bucket.send().await.expect("the bucket");
    }

    async fn is_active(&self, table: &str) {
        for _ in 0..300 {
            let answer = self.tables.describe_table().table_name(table).send().await.expect("the table is there");
            if answer.table.and_then(|table| table.table_status) == Some(TableStatus::Active) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("table {table} is not active after a minute");
    }

    /// Their names.
    pub fn config(&self, ready_shards: u32) -> Config {
        Config {
            jobs_table: self.jobs(),
            logs_table: self.logs(),
            bucket: self.name.clone(),
            batches_queue: self.batches_queue.clone(),
            queue_prefix: format!("{}-pool-", self.name),
            stack: Some(self.name.clone()),
            require_tls: false,
            ready_shards,
            ..Config::default()
        }
    }

    /// Removes all of it.
    pub async fn remove(self) {
        for table in [self.jobs(), self.logs()] {
            self.tables.delete_table().table_name(table).send().await.expect("a table of its own");
        }
        let mut queues = self.queues.list_queues().queue_name_prefix(&self.name).into_paginator().items().send();
        while let Some(queue) = queues.next().await {
            let queue = queue.expect("queues are listed");
            self.queues.delete_queue().queue_url(queue).send().await.expect("a queue of its own");
        }
        loop {
            let found = self.objects.list_objects_v2().bucket(&self.name).send().await.expect("the bucket is there");
            let names = found.contents().iter().filter_map(|object| object.key());
            let ids: Vec<_> = names.filter_map(|name| ObjectIdentifier::builder().key(name).build().ok()).collect();
            if ids.is_empty() {
                break;
            }
            let delete = Delete::builder().set_objects(Some(ids)).quiet(true).build().expect("it is whole");
            self.objects.delete_objects().bucket(&self.name).delete(delete).send().await.expect("objects of its own");
        }
        self.objects.delete_bucket().bucket(&self.name).send().await.expect("a bucket of its own");
    }
}
