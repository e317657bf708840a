//! The bucket for packages: one for each account and region.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fetch::Method;

use super::package::File;
use crate::call::{CallError, Caller};
use crate::stack::StackError;

/// The bucket. Anyone can guess its name, so each call says which account must own it.
pub(crate) struct Bucket<'a> {
    caller: &'a Caller,
    account: String,
    pub name: String,
}

impl<'a> Bucket<'a> {
    /// The bucket of the caller's account and region. Makes it if it isn't there, and returns whether it did.
    pub(crate) async fn open(caller: &'a Caller) -> Result<(Self, bool), StackError> {
        let none: [(&str, &str); 0] = [];
        let identity = caller.query("sts:GetCallerIdentity", "2011-06-15", &none).await?;
        let account = identity["Account"].as_str().unwrap_or_default().to_owned();
        let name = format!("workflow-graph-packages-{account}-{}", caller.region);
        let bucket = Self { caller, account, name };
        let path = format!("/{}", bucket.name);
        match caller.object("s3:HeadBucket", Method::HEAD, &path, bucket.owner()).await {
            Ok(()) => Ok((bucket, false)),
            Err(CallError::Absent { .. }) => {
                caller.put("s3:CreateBucket", &path, Vec::new(), place(&caller.region)).await?;
                Ok((bucket, true))
            }
            Err(CallError::Denied { .. }) => Err(StackError::Failed {
                what: format!("the bucket {} can't be used", bucket.name),
                reason: "it belongs to another account, or you lack s3:ListBucket on it".to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Uploads a file unless it is there. Returns whether it wasn't.
    pub(crate) async fn put(&self, file: File) -> Result<bool, StackError> {
        let path = format!("/{}/{}", self.name, file.key);
        if self.caller.object("s3:HeadObject", Method::HEAD, &path, self.owner()).await.is_ok() {
            return Ok(false);
        }
        let mut headers = self.owner();
        // S3 refuses a content that doesn't have this checksum.
        headers.push(("x-amz-checksum-sha256", BASE64_STANDARD.encode(&file.checksum)));
        self.caller.put("s3:PutObject", &path, headers, file.content).await?;
        Ok(true)
    }

    /// The address of a key.
    pub(crate) fn url(&self, key: &str) -> String {
        format!("{}/{}/{key}", self.caller.base("s3"), self.name)
    }

    fn owner(&self) -> Vec<(&'static str, String)> {
        vec![("x-amz-expected-bucket-owner", self.account.clone())]
    }
}

/// The body that makes a bucket in a region. The oldest region is the default and must not be named.
fn place(region: &str) -> Bytes {
    if region == "us-east-1" {
        return Bytes::new();
    }
    let space = "http://s3.amazonaws.com/doc/2006-03-01/";
    let place = format!("<LocationConstraint>{region}</LocationConstraint>");
    format!("<CreateBucketConfiguration xmlns=\"{space}\">{place}</CreateBucketConfiguration>").into()
}
