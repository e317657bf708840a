//! The store on AWS does what every store must.
//!
//! It runs where `WFG_TEST_AWS` is set, to anything, against whatever the usual variables of the AWS libraries name:
//! `AWS_ENDPOINT_URL` (an emulator's address), `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`. It makes
//! tables, a bucket and queues of its own and removes them; a deployed stack is left alone.

use std::sync::Arc;
use std::time::Duration;

use aws::{Aws, Config};
use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TableStatus,
};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier};
use engine::ids;

/// Index partitions of a ready list: those of an emulator, and the default.
const READY_SHARDS: [u32; 2] = [1, 4];

/// Tables, a bucket and queues that only this test knows.
struct Own {
    tables: aws_sdk_dynamodb::Client,
    objects: aws_sdk_s3::Client,
    queues: aws_sdk_sqs::Client,
    region: String,
    name: String,
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
    async fn new() -> Self {
        let shared = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
        let path_style = shared.endpoint_url().is_some();
        let s3 = aws_sdk_s3::config::Builder::from(&shared).force_path_style(path_style).build();
        let mut random = 0_u64;
        for byte in &ids::random()[..8] {
            random = random << 8 | u64::from(*byte);
        }
        let own = Self {
            tables: aws_sdk_dynamodb::Client::new(&shared),
            objects: aws_sdk_s3::Client::from_conf(s3),
            queues: aws_sdk_sqs::Client::new(&shared),
            region: shared.region().expect("AWS_REGION is set").to_string(),
            name: format!("conformance-{random:016x}"),
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

    async fn store(&self, ready_shards: u32) -> Aws {
        let walks = self.queues.create_queue().queue_name(format!("{}-walks", self.name));
        let walks_queue = walks.send().await.expect("the queue").queue_url.expect("its URL");
        Aws::new(Config {
            jobs_table: self.jobs(),
            logs_table: self.logs(),
            bucket: self.name.clone(),
            walks_queue,
            queue_prefix: format!("{}-pool-", self.name),
            ready_shards,
        })
        .await
    }

    async fn remove(self) {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_on_aws_does_what_every_store_must() {
    if std::env::var_os("WFG_TEST_AWS").is_none() {
        eprintln!("skipped: WFG_TEST_AWS isn't set; the first lines of shared/aws/tests/ports.rs say how to run it");
        return;
    }
    let own = Own::new().await;
    let mut failed = Vec::new();
    for shards in READY_SHARDS {
        eprintln!("with ready lists in {shards} parts:");
        failed.extend(conformance::failures(Arc::new(own.store(shards).await)).await);
    }
    own.remove().await;
    assert!(failed.is_empty(), "{failed:#?}");
}
