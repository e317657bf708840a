//! Reading a request's body, and never keeping more of it than is allowed.

use std::time::Duration;

use api::error::ApiError;
use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, header};
use protocol::limits;
use tokio::time::timeout;

/// How much of a body that is too large is read and thrown away, and for how long: a client that is still sending when
/// the connection is closed may not see why.
const THROWN_AWAY: usize = 64 * 1024 * 1024;
const THROWING: Duration = Duration::from_secs(5);

/// The whole body, or that it is too large.
pub async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let declared = declared(headers);
    let mut chunks = body.into_data_stream();
    if let Some(size) = declared.filter(|size| *size > limits::REQUEST_BODY as u64) {
        // Who asks first whether to send is told before it has.
        if !headers.contains_key(header::EXPECT) {
            throw_away(chunks).await;
        }
        return Err(ApiError::body_too_large(Some(size)));
    }
    let mut all = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::bad_request("incomplete_body", format!("the body ended before it was complete: {error}"))
        })?;
        if all.len() + chunk.len() > limits::REQUEST_BODY {
            throw_away(chunks).await;
            return Err(ApiError::body_too_large(None));
        }
        all.extend_from_slice(&chunk);
    }
    Ok(all.freeze())
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn throw_away(mut chunks: BodyDataStream) {
    let all = async {
        let mut size = 0;
        while let Some(Ok(chunk)) = chunks.next().await {
            size += chunk.len();
            if size > THROWN_AWAY {
                return;
            }
        }
    };
    // Whether it was all of it makes no difference to the answer.
    let _ = timeout(THROWING, all).await;
}
