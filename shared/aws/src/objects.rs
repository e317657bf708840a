//! Reads and writes objects of the bucket.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use engine::ports::{StoreError, Stored};

use crate::error::unavailable;

/// A try that isn't answered in this time is given up. Objects are larger than items.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);

/// A bucket.
pub(crate) struct Objects {
    client: Client,
    bucket: String,
}

impl Objects {
    pub(crate) fn new(settings: &SdkConfig, bucket: String) -> Self {
        // An emulator has one host for all buckets.
        let config = Builder::from(settings).force_path_style(settings.endpoint_url().is_some());
        let timeouts = settings.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
        let config = config.timeout_config(timeouts.operation_attempt_timeout(ATTEMPT_TIME).build()).build();
        Self { client: Client::from_conf(config), bucket }
    }

    pub(crate) async fn put(&self, key: &str, body: Vec<u8>, kind: &str) -> Stored<()> {
        let call = self.client.put_object().bucket(&self.bucket).key(key).content_type(kind).body(body.into());
        call.send().await.map_err(|error| unavailable(&error))?;
        Ok(())
    }

    pub(crate) async fn get(&self, key: &str) -> Stored<Option<Vec<u8>>> {
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => {
                let body = answer.body.collect().await.map_err(|error| unavailable(&error))?;
                Ok(Some(body.to_vec()))
            }
            Err(error) if matches!(error.as_service_error(), Some(GetObjectError::NoSuchKey(_))) => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// Copies an object. Returns false if it doesn't exist.
    pub(crate) async fn copy(&self, from: &str, to: &str) -> Stored<bool> {
        let source = format!("{}/{from}", self.bucket);
        let call = self.client.copy_object().bucket(&self.bucket).copy_source(source).key(to);
        match call.send().await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(false),
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// A URL from which anyone may GET the object, for as long as `valid`.
    pub(crate) async fn presign(&self, key: &str, valid: Duration) -> Stored<String> {
        let config = PresigningConfig::expires_in(valid).map_err(|error| unavailable(&error))?;
        let call = self.client.get_object().bucket(&self.bucket).key(key).presigned(config).await;
        Ok(call.map_err(|error| unavailable(&error))?.uri().to_owned())
    }

    /// Deletes up to 1,000 objects with this prefix. Returns true if there were any.
    pub(crate) async fn delete_some(&self, prefix: &str) -> Stored<bool> {
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let found = call.send().await.map_err(|error| unavailable(&error))?;
        let keys = found.contents().iter().filter_map(|object| object.key());
        let ids: Vec<ObjectIdentifier> =
            keys.filter_map(|key| ObjectIdentifier::builder().key(key).build().ok()).collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let delete =
            Delete::builder().set_objects(Some(ids)).quiet(true).build().map_err(|error| unavailable(&error))?;
        let call = self.client.delete_objects().bucket(&self.bucket).delete(delete);
        let answer = call.send().await.map_err(|error| unavailable(&error))?;
        match answer.errors() {
            [] => Ok(true),
            [error, ..] => {
                let (key, reason) = (error.key().unwrap_or_default(), error.message().or(error.code()));
                let text = format!("object {key} can't be deleted: {}", reason.unwrap_or("no reason given"));
                Err(StoreError::Unavailable(text))
            }
        }
    }
}
