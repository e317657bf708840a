//! Reads a request's body within its limit.

use std::time::Duration;

use api::error::ApiError;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use protocol::limits;
use tokio::time::timeout;

use crate::capacity::Held;

/// How many bytes of a body that is too large are read and discarded, and for how long. A client that is still sending when
/// the connection is closed may not receive the response.
const DISCARDED: u64 = 64 * 1024 * 1024;
const DISCARD_TIME: Duration = Duration::from_secs(5);

/// Reads the whole body, or refuses one that is too large or takes too long.
pub async fn read(headers: &HeaderMap, body: Incoming, held: &mut Held<'_>) -> Result<Bytes, ApiError> {
    within(limits::BODY_TIME, read_all(headers, body, held)).await
}

async fn within<T>(time: Duration, reading: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    timeout(time, reading).await.unwrap_or_else(|_| {
        let message = format!("the body took over {} s to arrive; that is the most", time.as_secs());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", message))
    })
}

async fn read_all(headers: &HeaderMap, mut body: Incoming, held: &mut Held<'_>) -> Result<Bytes, ApiError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|size| size.to_str().ok()?.parse::<u64>().ok());
    if let Some(size) = declared.filter(|size| *size > limits::REQUEST_BODY as u64) {
        // A client that asks first whether to send is answered before it has sent.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(ApiError::body_too_large(&format!("{size} bytes")));
    }
    let (mut chunks, mut size) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body is malformed, or ended before it was complete: {error}");
            ApiError::bad_request("incomplete_body", message)
        })?;
        let Ok(chunk) = frame.into_data() else { continue };
        size += chunk.len();
        if size > limits::REQUEST_BODY {
            let read = size as u64;
            let size = match discard(body).await {
                Discarded::All(rest) => format!("{} bytes", read + rest),
                Discarded::Part(rest) => format!("over {} bytes", read + rest),
            };
            return Err(ApiError::body_too_large(&size));
        }
        held.grow(chunk.len())?;
        chunks.push(chunk);
    }
    // Most bodies come in one piece, which isn't copied.
    Ok(<[Bytes; 1]>::try_from(chunks).map_or_else(|chunks| chunks.concat().into(), |[only]| only))
}

/// How many bytes of a body were discarded.
enum Discarded {
    All(u64),
    Part(u64),
}

async fn discard(mut body: Incoming) -> Discarded {
    let mut size = 0;
    let all = async {
        while size <= DISCARDED {
            match body.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => size += frame.data_ref().map_or(0, Bytes::len) as u64,
            }
        }
        false
    };
    let complete = timeout(DISCARD_TIME, all).await.unwrap_or(false);
    if complete { Discarded::All(size) } else { Discarded::Part(size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn body_that_does_not_arrive_is_refused_with_its_time_limit() {
        let refused = within(limits::BODY_TIME, std::future::pending::<Result<Bytes, ApiError>>()).await;
        let refused = refused.expect_err("it never arrives");
        assert!(refused.status == 408 && refused.message.contains("60 s"), "{refused:?}");
    }
}
