//! Reads a request's body within its limit.

use std::time::Duration;

use api::error::ApiError;
use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, StatusCode, header};
use protocol::limits;
use tokio::time::timeout;

use crate::capacity::Held;

/// How much of a body that is too large is read and thrown away, and for how long: a client that is still sending when
/// the connection is closed may not see why.
const THROWN_AWAY: usize = 64 * 1024 * 1024;
const THROWING: Duration = Duration::from_secs(5);

/// The whole body, or that it is too large or takes too long.
pub async fn read(headers: &HeaderMap, body: Body, held: &mut Held<'_>) -> Result<Bytes, ApiError> {
    within(limits::BODY_TIME, read_all(headers, body, held)).await
}

async fn within<T>(time: Duration, reading: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    timeout(time, reading).await.unwrap_or_else(|_| {
        let message = format!("the body took over {} s to arrive; that is the most", time.as_secs());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message))
    })
}

async fn read_all(headers: &HeaderMap, body: Body, held: &mut Held<'_>) -> Result<Bytes, ApiError> {
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
        held.grow(chunk.len())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_arrive_is_refused_with_the_time_it_has() {
        let refused = within(limits::BODY_TIME, std::future::pending::<Result<Bytes, ApiError>>()).await;
        let refused = refused.expect_err("it never arrives");
        assert!(refused.status == 408 && refused.message.contains("60 s"), "{refused:?}");
    }
}
