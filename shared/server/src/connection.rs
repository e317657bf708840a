//! One connection: its time limits, and an error body for requests that hyper can't parse.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use api::error::ApiError;
use bytes::{Buf, Bytes};
use http::{HeaderValue, StatusCode, header};
use protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::awake;

/// What happens on a connection. The stream, the service and the response's body share it; all run in one task.
#[derive(Clone, Default)]
pub struct Phase(Arc<AtomicU8>);

impl Phase {
    /// A request's head is being received, or none has begun.
    const READING: u8 = 0;
    /// A request is being answered.
    const ANSWERING: u8 = 1;
    /// The response is complete, but part of it may not be sent yet.
    const FLUSHING: u8 = 2;

    fn is(&self, phase: u8) -> bool {
        self.0.load(Ordering::Acquire) == phase
    }

    fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Release);
    }

    /// True if no request is being answered.
    pub fn is_reading(&self) -> bool {
        self.is(Self::READING)
    }

    /// Begins an answer, which ends when the returned guard is dropped.
    pub fn answering(&self) -> Answering {
        self.set(Self::ANSWERING);
        Answering(self.clone())
    }
}

/// A request is being answered for as long as this exists.
pub struct Answering(Phase);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.set(Phase::FLUSHING);
    }
}

/// The stream of a connection. Reading fails if a request's head takes over [`limits::HEADER_TIME`], or if no request comes for
/// [`limits::IDLE_TIME`]; writing fails if the client takes nothing for [`limits::WRITE_TIME`].
pub struct Connection<S = TcpStream> {
    stream: S,
    phase: Phase,
    /// Until when the head of the next request must be complete.
    head_until: Instant,
    /// Whether a part of that head has arrived.
    head_begun: bool,
    timer: Pin<Box<Sleep>>,
    /// Since when the client has taken nothing.
    stalled: Option<Instant>,
    /// The rest of an error response that replaces hyper's own.
    refusal: Option<Bytes>,
}

impl<S> Connection<S> {
    pub fn new(stream: S, phase: Phase) -> Self {
        let head_until = Instant::now() + limits::HEADER_TIME;
        let timer = Box::pin(sleep_until(head_until));
        Self { stream, phase, head_until, head_begun: true, timer, stalled: None, refusal: None }
    }

    /// Fails once this time has come; until then the task is woken at it.
    fn poll_deadline(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            if self.timer.deadline() > until || (self.timer.is_elapsed() && Instant::now() < until) {
                self.timer.as_mut().reset(until);
            }
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= until {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Connection<S> {
    /// Writes, or fails if the client takes nothing for too long.
    fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let written = write(Pin::new(&mut self.stream), cx);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let since = *self.stalled.get_or_insert_with(Instant::now);
        self.poll_deadline(since + limits::WRITE_TIME, cx).map(Err)
    }

    /// Writes an error response in place of hyper's, which has no body. hyper writes while no request is being answered only if
    /// it can't parse one.
    fn poll_refuse(&mut self, cx: &mut Context<'_>, head: &[u8]) -> Poll<io::Result<usize>> {
        let mut rest = self.refusal.take().unwrap_or_else(|| refusal(unparsable(head)));
        while rest.has_remaining() {
            match self.poll_sent(cx, |stream, cx| stream.poll_write(cx, &rest)) {
                Poll::Ready(Ok(count)) if count > 0 => rest.advance(count),
                Poll::Ready(Ok(_)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.refusal = Some(rest);
                    return Poll::Pending;
                }
            }
        }
        self.refusal = Some(rest);
        Poll::Ready(Ok(head.len()))
    }
}

/// What is wrong with a request that hyper can't parse, from the head of hyper's own response.
fn unparsable(head: &[u8]) -> ApiError {
    match head.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok()) {
        Some(status @ StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) => {
            ApiError::new(status, "headers_too_large", "the request's headers are too many or too large")
        }
        Some(StatusCode::URI_TOO_LONG) => ApiError::url_too_long(None),
        _ => {
            let message = "this isn't an HTTP/1.1 request: its first line or a header is malformed";
            ApiError::bad_request("invalid_request", message)
        }
    }
}

/// The bytes of a response after which the connection is closed.
pub fn refusal(error: ApiError) -> Bytes {
    let (mut head, body) = error.response().into_parts();
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    let mut text = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body);
    text.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if !self.phase.is_reading() {
            // A body has a time limit of its own.
            return read;
        }
        if read.is_ready() {
            if !self.head_begun {
                self.head_begun = true;
                self.head_until = Instant::now() + limits::HEADER_TIME;
            }
            return read;
        }
        let until = self.head_until;
        self.poll_deadline(until, cx).map(Err)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.phase.is_reading() {
            return self.poll_refuse(cx, buf);
        }
        self.poll_sent(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes the stream once all that it had to write was taken.
        if self.phase.is(Phase::FLUSHING) {
            self.phase.set(Phase::READING);
            awake::answered();
            self.head_begun = false;
            self.head_until = Instant::now() + limits::IDLE_TIME;
            // hyper may have polled for the next request already, while this one was being answered.
            let until = self.head_until;
            let _ = self.poll_deadline(until, cx);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.phase.is_reading() {
            return self.poll_refuse(cx, bufs.iter().find(|buf| !buf.is_empty()).map_or(&[], |buf| buf));
        }
        self.poll_sent(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_nothing_of_an_answer_is_given_up() {
        let (stream, _client) = duplex(16);
        let phase = Phase::default();
        let mut connection = Connection::new(stream, phase.clone());
        let _answering = phase.answering();
        let began = Instant::now();
        let error = connection.write_all(&[0; 1000]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= limits::WRITE_TIME && began.elapsed() < 2 * limits::WRITE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn read_while_an_answer_is_flushed_has_no_time_limit() {
        let (stream, _client) = duplex(16);
        let phase = Phase::default();
        let mut connection = Connection::new(stream, phase.clone());
        drop(phase.answering());
        let waited = tokio::time::timeout(2 * limits::HEADER_TIME, connection.read_u8()).await;
        assert!(waited.is_err(), "{waited:?}");
        assert!(!awake::was_answered());
        connection.flush().await.expect("flushed");
        assert!(awake::was_answered());
        let idle = tokio::time::timeout(2 * limits::IDLE_TIME, connection.read_u8()).await.expect("in time");
        assert_eq!(idle.expect_err("nothing comes").kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn client_that_takes_an_answer_slowly_gets_all_of_it() {
        let (stream, mut client) = duplex(16);
        let phase = Phase::default();
        let mut connection = Connection::new(stream, phase.clone());
        let _answering = phase.answering();
        let reading = async {
            for _ in 0..5 {
                tokio::time::sleep(limits::WRITE_TIME / 2).await;
                client.read_exact(&mut [0; 16]).await.expect("sent");
            }
        };
        let (written, ()) = tokio::join!(connection.write_all(&[0; 80]), reading);
        written.expect("never stalled for too long");
    }
}
