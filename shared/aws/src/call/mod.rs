//! Signed calls of services that this project has no client library of. Answers become JSON, whatever the service writes.

mod xml;

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use fetch::{FetchError, Http, Method, Request as HttpRequest, StatusCode};
use serde_json::{Value, json};

use crate::error::with_causes;
use crate::stack::StackError;

/// A call that fails for a passing reason is tried this often.
const TRIES: u32 = 5;
/// The time for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(20);
/// The time for an upload: 6 MB at 200 kbit/s take four minutes.
const UPLOAD_TIME: Duration = Duration::from_mins(10);
/// Codes by which a service says that it doesn't know the call. AWS knows them all, an emulator may not.
const UNKNOWN: [&str; 5] =
    ["UnknownOperation", "InvalidAction", "NotImplemented", "UnsupportedOperation", "UnknownAction"];
/// Emulators say so of a call that they don't know. On AWS it passes.
const INTERNAL: &str = "InternalFailure";
const DENIED: [&str; 4] = ["AccessDenied", "UnauthorizedOperation", "AuthorizationError", "NotAuthorized"];
const THROTTLED: [&str; 4] = ["Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown"];

/// Why a call gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The caller lacks a right.
    #[error("{call} is refused: {text}")]
    Denied { call: String, text: String },
    /// There is no such thing. Carries the code.
    #[error("{call}: {code}")]
    Absent { call: String, code: String },
    /// The service doesn't serve the call.
    #[error("{call} isn't served here: {text}")]
    NotServed { call: String, text: String },
    /// Anything else.
    #[error("{call}: {text}")]
    Failed { call: String, text: String },
}

impl From<CallError> for StackError {
    fn from(error: CallError) -> Self {
        Self::Failed { what: "a call of AWS failed".to_owned(), reason: error.to_string() }
    }
}

/// Makes calls with one identity.
#[derive(Clone)]
pub(crate) struct Caller {
    http: Http,
    credentials: Credentials,
    pub region: String,
    endpoint: Option<String>,
}

/// A request before it is signed.
struct Request<'a> {
    /// The name for texts.
    call: String,
    service: &'a str,
    method: Method,
    /// Path and query, encoded.
    path: &'a str,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// An upload is signed without its content, of which a header has the checksum.
    uploads: bool,
}

impl<'a> Request<'a> {
    fn new(call: &str, service: &'a str, method: Method, path: &'a str) -> Self {
        Self { call: call.to_owned(), service, method, path, headers: Vec::new(), body: Bytes::new(), uploads: false }
    }

    fn with(self, headers: Vec<(&'static str, String)>, body: impl Into<Bytes>) -> Self {
        Self { headers, body: body.into(), ..self }
    }
}

impl Caller {
    /// The caller that the settings name.
    pub(crate) async fn new(http: Http, settings: &SdkConfig, region: String) -> Result<Self, StackError> {
        let provider = settings.credentials_provider();
        let provider =
            provider.ok_or(StackError::Failed { what: "no credentials".into(), reason: "set AWS_PROFILE".into() })?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| StackError::failed("finding credentials", &error))?;
        Ok(Self { http, credentials, region, endpoint: settings.endpoint_url().map(str::to_owned) })
    }

    /// The same with other credentials.
    pub(crate) fn with(&self, credentials: Credentials) -> Self {
        Self { credentials, ..self.clone() }
    }

    /// A call of the JSON protocol, such as `DynamoDB_20120810.DescribeTable`.
    pub(crate) async fn json(&self, service: &str, target: &str, body: &Value) -> Result<Value, CallError> {
        let version = if matches!(service, "events" | "logs" | "ssm") { "1.1" } else { "1.0" };
        let headers =
            vec![("content-type", format!("application/x-amz-json-{version}")), ("x-amz-target", target.to_owned())];
        let call = target.split('.').next_back().unwrap_or(target);
        let call = format!("{service}:{call}");
        let request = Request::new(&call, service, Method::POST, "/").with(headers, body.to_string());
        parsed(&call, &self.send(request).await?)
    }

    /// A call of a REST protocol with JSON answers.
    pub(crate) async fn get(&self, call: &str, path: &str) -> Result<Value, CallError> {
        let service = call.split(':').next().unwrap_or_default();
        parsed(call, &self.send(Request::new(call, service, Method::GET, path)).await?)
    }

    /// A call of the query protocol. The answer is what its `...Result` has.
    pub(crate) async fn query(
        &self,
        call: &str,
        version: &str,
        parameters: &[(impl AsRef<str>, impl AsRef<str>)],
    ) -> Result<Value, CallError> {
        let (service, action) = call.split_once(':').unwrap_or_default();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).append_pair("Version", version).extend_pairs(parameters);
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        let request = Request::new(call, service, Method::POST, "/").with(headers, form.finish());
        let answer = xml::read(&self.send(request).await?);
        Ok(answer[format!("{action}Result")].clone())
    }

    /// A setting of a bucket, such as `lifecycle`.
    pub(crate) async fn bucket(&self, call: &str, bucket: &str, setting: &str) -> Result<Value, CallError> {
        let path = format!("/{bucket}?{setting}=");
        Ok(xml::read(&self.send(Request::new(call, "s3", Method::GET, &path)).await?))
    }

    /// A call on an object or a bucket. The answer isn't read.
    pub(crate) async fn object(
        &self,
        call: &str,
        method: Method,
        path: &str,
        headers: Vec<(&'static str, String)>,
    ) -> Result<(), CallError> {
        self.send(Request::new(call, "s3", method, path).with(headers, Bytes::new())).await.map(drop)
    }

    /// Makes a bucket or an object with this content.
    pub(crate) async fn put(
        &self,
        call: &str,
        path: &str,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    ) -> Result<(), CallError> {
        let request = Request { uploads: true, ..Request::new(call, "s3", Method::PUT, path).with(headers, body) };
        self.send(request).await.map(drop)
    }

    /// Where a service answers.
    pub(crate) fn base(&self, service: &str) -> String {
        if let Some(endpoint) = &self.endpoint {
            return endpoint.trim_end_matches('/').to_owned();
        }
        let suffix = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("https://{service}.{}.{suffix}", self.region)
    }

    /// Sends a request, again after a passing failure. Returns the body of a good answer.
    async fn send(&self, request: Request<'_>) -> Result<String, CallError> {
        let mut pause = Duration::from_millis(200);
        let mut tries = 1;
        loop {
            let outcome = self.try_to_send(&request).await;
            match outcome {
                Ok((status, body)) if status.is_success() => return Ok(body),
                Ok((status, body)) if tries == TRIES || !is_passing(status, &body) => {
                    return Err(refusal(request.call, status, &body));
                }
                Err(error) if tries == TRIES => {
                    return Err(CallError::Failed { call: request.call, text: with_causes(&error) });
                }
                _ => {}
            }
            tries += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn try_to_send(&self, request: &Request<'_>) -> Result<(StatusCode, String), FetchError> {
        let url = format!("{}{}", self.base(request.service), request.path);
        let headers = request.headers.iter().map(|(name, value)| (*name, value.clone()));
        let mut builder = HttpRequest::builder().method(request.method.clone()).uri(&url);
        for (name, value) in headers.chain(self.sign(request, &url)) {
            builder = builder.header(name, value);
        }
        let sent = builder.body(request.body.clone()).map_err(|error| FetchError::Unsendable(error.into()))?;
        let limit = if request.uploads { UPLOAD_TIME } else { ANSWER_TIME };
        let (head, body) = self.http.send(sent, limit).await?.into_parts();
        let code = head.headers.get("x-amzn-errortype").and_then(|code| code.to_str().ok()).map(str::to_owned);
        let body = String::from_utf8_lossy(&body).into_owned();
        // Lambda and API Gateway name the error in a header.
        let named = code.map(|code| json!({ "__type": code, "message": body }).to_string());
        Ok((head.status, named.unwrap_or(body)))
    }

    /// The headers of the signature.
    fn sign(&self, request: &Request<'_>, url: &str) -> Vec<(&'static str, String)> {
        let identity = self.credentials.clone().into();
        let mut settings = SigningSettings::default();
        if request.service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(request.service)
            .time(SystemTime::now())
            .settings(settings)
            .build();
        let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str()));
        let body = if request.uploads { SignableBody::UnsignedPayload } else { SignableBody::Bytes(&request.body) };
        let signable = SignableRequest::new(request.method.as_str(), url, headers, body);
        let (Ok(parameters), Ok(signable)) = (parameters, signable) else { return Vec::new() };
        let Ok(signed) = sign(signable, &parameters.into()) else { return Vec::new() };
        let (headers, _) = signed.into_parts().0.into_parts();
        headers.iter().map(|header| (header.name(), header.value().to_owned())).collect()
    }
}

fn parsed(call: &str, answer: &str) -> Result<Value, CallError> {
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    let failed = |error: serde_json::Error| CallError::Failed { call: call.to_owned(), text: error.to_string() };
    serde_json::from_str(answer).map_err(failed)
}

fn is_passing(status: StatusCode, body: &str) -> bool {
    let unknown = UNKNOWN.iter().any(|code| body.contains(code)) || status == StatusCode::NOT_IMPLEMENTED;
    (status.is_server_error() && !unknown) || THROTTLED.iter().any(|code| body.contains(code))
}

/// The error of an answer, by its code.
fn refusal(call: String, status: StatusCode, body: &str) -> CallError {
    let json: Value = serde_json::from_str(body).unwrap_or_default();
    let tree = if json.is_null() { xml::read(body) } else { Value::Null };
    let first = |values: [&Value; 5]| values.into_iter().find_map(Value::as_str).unwrap_or_default().to_owned();
    let error = if tree["Error"].is_null() { &tree } else { &tree["Error"] };
    let code = first([&json["__type"], &json["code"], &json["Code"], &error["Code"], &error["Error"]["Code"]]);
    let text = first([&json["message"], &json["Message"], &error["Message"], &error["Error"]["Message"], &Value::Null]);
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
    let text = if text.is_empty() { format!("{status} {body}") } else { format!("{code}: {text}") };
    let is = |codes: &[&str]| codes.iter().any(|one| code.starts_with(one));
    if status == StatusCode::NOT_IMPLEMENTED || is(&UNKNOWN) || is(&[INTERNAL]) {
        CallError::NotServed { call, text }
    } else if is(&DENIED) || status == StatusCode::FORBIDDEN {
        CallError::Denied { call, text }
    } else if status == StatusCode::NOT_FOUND
        || code.contains("NotFound")
        || code.contains("NonExistent")
        || code.contains("DoesNotExist")
    {
        CallError::Absent { call, code }
    } else {
        CallError::Failed { call, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> String {
        let status = StatusCode::from_u16(status).expect("a status");
        format!("{:?}", refusal("lambda:X".to_owned(), status, body)).split(' ').next().unwrap_or_default().to_owned()
    }

    #[test]
    fn errors_of_every_protocol_are_told_apart() {
        let denied = r#"{"__type":"com.amazonaws.dynamodb.v20120810#AccessDeniedException","message":"no"}"#;
        assert_eq!(kind(400, denied), "Denied");
        assert_eq!(kind(404, r#"{"__type":"ResourceNotFoundException:http://x","message":"no"}"#), "Absent");
        assert_eq!(kind(404, "<Error><Code>NoSuchLifecycleConfiguration</Code></Error>"), "Absent");
        assert_eq!(
            kind(400, "<ErrorResponse><Error><Code>InvalidAction</Code><Message>x</Message></Error></ErrorResponse>"),
            "NotServed"
        );
        assert_eq!(kind(501, ""), "NotServed");
        assert_eq!(kind(400, r#"{"__type":"ValidationException","message":"no"}"#), "Failed");
    }

    #[test]
    fn a_failure_inside_aws_is_tried_again_and_an_unknown_call_is_not() {
        let failed = "<ErrorResponse><Error><Code>InternalFailure</Code></Error></ErrorResponse>";
        assert!(is_passing(StatusCode::INTERNAL_SERVER_ERROR, failed));
        assert!(!is_passing(StatusCode::NOT_IMPLEMENTED, failed));
        assert!(!is_passing(StatusCode::INTERNAL_SERVER_ERROR, "<Error><Code>UnknownOperation</Code></Error>"));
    }
}
