//! Limits of one process: connections, requests at once, and bytes of bodies. Excess requests are refused with 503; excess
//! connections wait.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use api::error::ApiError;
use axum::serve::Listener;
use http::StatusCode;
use protocol::limits;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// The places there are.
pub struct Capacity {
    requests: Places,
    bytes: Places,
}

struct Places {
    free: Semaphore,
    all: usize,
}

impl Places {
    fn new(all: usize) -> Self {
        Self { free: Semaphore::new(all), all }
    }

    fn take(&self, count: usize) -> Option<SemaphorePermit<'_>> {
        self.free.try_acquire_many(u32::try_from(count).ok()?).ok()
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::new(limits::REQUESTS, limits::BODIES)
    }
}

impl Capacity {
    fn new(requests: usize, bytes: usize) -> Self {
        Self { requests: Places::new(requests), bytes: Places::new(bytes) }
    }

    /// A place for a request, as long as it is answered.
    pub fn request(&self) -> Result<Held<'_>, ApiError> {
        let limit = self.requests.all;
        let what = || format!("{limit} requests are being answered; at most {limit} are at once");
        let place = self.requests.take(1).ok_or_else(|| busy(&what()))?;
        Ok(Held { _place: place, bytes: &self.bytes, body: None })
    }
}

/// What a request holds until it is answered.
pub struct Held<'a> {
    _place: SemaphorePermit<'a>,
    bytes: &'a Places,
    body: Option<SemaphorePermit<'a>>,
}

impl Held<'_> {
    /// Room for more of its body.
    pub fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let limit = self.bytes.all;
        let what = || format!("the bodies of requests that are being answered would be over {limit} bytes together");
        let more = self.bytes.take(bytes).ok_or_else(|| busy(&what()))?;
        match &mut self.body {
            Some(body) => body.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

fn busy(what: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{what}; repeat the request in a moment"))
}

/// A listener that holds so many connections and no more; who comes next waits until one is closed.
pub struct Limited {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Limited {
    /// At most this many connections.
    pub fn new(listener: TcpListener, connections: usize) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(connections)) }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Never closed.
        let place = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        // An answer is one small write: waiting for more to send with it would only delay it.
        let _ = stream.set_nodelay(true);
        (Connection { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, and its place.
pub struct Connection {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn requests_and_bodies_over_the_limit_are_refused_by_name_until_others_are_answered() {
        let capacity = Capacity::new(2, 100);
        let mut first = capacity.request().expect("a place");
        first.grow(60).expect("room");
        first.grow(30).expect("room");
        let mut second = capacity.request().expect("a place");
        let refused = second.grow(11).expect_err("full");
        assert!(refused.status == 503 && refused.code == "busy" && refused.message.contains("100"), "{refused:?}");
        let refused = capacity.request().err().expect("full");
        assert!(refused.code == "busy" && refused.message.contains("2 requests"), "{refused:?}");
        drop(first);
        second.grow(100).expect("room again");
        capacity.request().expect("a place again");
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_is_taken_once_another_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut limited = Limited::new(listener, 1);
        let _first = TcpStream::connect(address).await.expect("connected");
        let mut second = TcpStream::connect(address).await.expect("it waits in the queue");
        let (held, _) = limited.accept().await;
        assert!(timeout(Duration::from_millis(50), limited.accept()).await.is_err(), "the place is taken");
        drop(held);
        let (mut held, _) = limited.accept().await;
        held.write_all(b"in").await.expect("written");
        let mut read = [0; 2];
        second.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"in");
    }
}
