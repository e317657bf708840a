//! Takes connections, within the limits of one process and of one address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use api::error::ApiError;
use engine::ports::Local;
use engine::throttle::Throttle;
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use protocol::{Millis, limits};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::connection::{Connection, Phase, refusal};
use crate::lanes::Lanes;
use crate::shared::Shared;

/// After an error of the machine, such as no file descriptors left.
const AGAIN: Duration = Duration::from_secs(1);
/// Free ports that are tried for several addresses.
const PORTS_TRIED: usize = 10;

/// The places for connections.
#[derive(Clone)]
pub struct Places {
    free: Arc<Semaphore>,
    /// How many each address has.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_address: usize,
    log: Arc<Throttle>,
}

impl Default for Places {
    fn default() -> Self {
        Self::new(limits::CONNECTIONS, limits::CONNECTIONS_PER_ADDRESS)
    }
}

/// A connection's place, until it is dropped.
pub struct Place {
    places: Places,
    network: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    fn new(all: usize, per_address: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(all)), taken: Arc::default(), per_address, log: Arc::default() }
    }

    /// Waits for a place for the next connection. At most one line a minute is logged when there is none.
    async fn free(&self) -> OwnedSemaphorePermit {
        let free = Arc::clone(&self.free);
        if let Ok(permit) = Arc::clone(&free).try_acquire_owned() {
            return permit;
        }
        if let Some(suppressed) = self.log.pass(Millis::now()) {
            tracing::warn!(
                suppressed,
                "{} connections are open, the most there may be; others wait",
                limits::CONNECTIONS
            );
        }
        free.acquire_owned().await.expect("it is never closed")
    }

    /// Takes the place for a connection from this address, unless the address has too many. At most one line a minute is logged of it.
    fn take(&self, permit: OwnedSemaphorePermit, address: IpAddr) -> Option<Place> {
        let network = network(address);
        // Numbers can't be left half changed.
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(network).or_default();
        if *count >= self.per_address {
            if let Some(suppressed) = self.log.pass(Millis::now()) {
                tracing::warn!(
                    suppressed,
                    "{address} has {count} connections, the most one address may have; more are refused"
                );
            }
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), network, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.network);
            }
        }
    }
}

/// What counts as one address: a client usually has a whole /64 of IPv6.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// Listens on every address of a `host:port`. With port 0 all get the same free port.
pub async fn bind(listen: &str) -> io::Result<Vec<TcpListener>> {
    let found = lookup_host(listen).await.map_err(|error| named(&error, &format!("`{listen}` can't be resolved")))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    let listeners = bind_all(&addresses, TcpListener::bind).await?;
    let none = || io::Error::new(io::ErrorKind::NotFound, format!("`{listen}` has no address"));
    if listeners.is_empty() { Err(none()) } else { Ok(listeners) }
}

/// Listens on these addresses. With port 0 all get the port that is free for the first one. If another program has it on
/// another address, a new one is tried.
async fn bind_all<F: Future<Output = io::Result<TcpListener>>>(
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> F,
) -> io::Result<Vec<TcpListener>> {
    let mut tries = PORTS_TRIED;
    loop {
        tries -= 1;
        match bind_on_one_port(addresses, &bind).await {
            Err((port, error)) if port == 0 && error.kind() == io::ErrorKind::AddrInUse && tries > 0 => {}
            done => return done.map_err(|(_, error)| error),
        }
    }
}

/// Listens on these addresses, on the port that the first of them gets. An error comes with the port that was asked for.
async fn bind_on_one_port<F: Future<Output = io::Result<TcpListener>>>(
    addresses: &[SocketAddr],
    bind: impl Fn(SocketAddr) -> F,
) -> Result<Vec<TcpListener>, (u16, io::Error)> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut missing = None;
    for address in addresses {
        let asked = address.port();
        let first = listeners.first().map(TcpListener::local_addr).transpose().map_err(|error| (asked, error))?;
        let address = SocketAddr::new(address.ip(), first.map_or(asked, |first| first.port()));
        match bind(address).await {
            Ok(listener) => listeners.push(listener),
            // Such as ::1 where there is no IPv6.
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => {
                missing = Some((asked, named(&error, &address.to_string())));
            }
            Err(error) => return Err((asked, named(&error, &address.to_string()))),
        }
    }
    match missing {
        Some(missing) if listeners.is_empty() => Err(missing),
        _ => Ok(listeners),
    }
}

fn named(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// Serves connections until the server stops, then waits until those that are open have answered.
pub async fn serve<P: Local + 'static>(
    listener: TcpListener,
    places: Places,
    shared: Arc<Shared<P>>,
    lanes: Arc<Lanes>,
) {
    let mut open = JoinSet::new();
    let mut stopped = pin!(shared.signals.stopped());
    loop {
        tokio::select! {
            (stream, place) = accept(&listener, &places) => {
                let shared = Arc::clone(&shared);
                lanes.serve(&mut open, stream, |stream| answer(stream, place, shared));
            }
            Some(_) = open.join_next() => {}
            () = &mut stopped => break,
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener, places: &Places) -> (TcpStream, Place) {
    loop {
        let permit = places.free().await;
        match listener.accept().await {
            Ok((stream, address)) => {
                if let Some(place) = places.take(permit, address.ip()) {
                    return (stream, place);
                }
                let limit = limits::CONNECTIONS_PER_ADDRESS;
                let message = format!("this address has {limit} connections, the most one address may have");
                let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_connections", message);
                // A new connection has room for this; a client that doesn't read it sees the connection close.
                let _ = stream.try_write(&refusal(error));
            }
            // The client went away before its connection was taken.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                if let Some(suppressed) = places.log.pass(Millis::now()) {
                    tracing::error!(%error, suppressed, "no connection can be taken; trying again every second");
                }
                sleep(AGAIN).await;
            }
        }
    }
}

/// Answers the requests of a connection until it is closed.
async fn answer<P: Local + 'static>(stream: TcpStream, place: Place, shared: Arc<Shared<P>>) {
    // An answer is one small write: waiting for more to send with it would only delay it.
    let _ = stream.set_nodelay(true);
    // Finds clients that vanished while their request waits or a log is streamed.
    let keepalive = TcpKeepalive::new().with_time(limits::TCP_KEEPALIVE).with_interval(limits::TCP_KEEPALIVE / 4);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let phase = Phase::default();
    let service = service_fn(|request| {
        let answering = phase.answering();
        let response = shared.answer(request, place.network);
        async {
            // The body owns the guard, so that the answer ends with it.
            let ending = move |never: Infallible| (&answering, never).1;
            Ok::<_, Infallible>(response.await.map(|body| body.map_err(ending)))
        }
    });
    let io = TokioIo::new(Connection::new(stream, phase.clone()));
    let mut connection = pin!(http1::Builder::new().serve_connection(io, service));
    // An error is the client's: it went away, was too slow, or sent something else than a request.
    tokio::select! {
        _ = &mut connection => return,
        () = shared.signals.stopped() => {}
    }
    if phase.is_reading() {
        return;
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn connection_over_the_limit_waits_until_another_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let places = Places::new(1, 1);
        let _first = TcpStream::connect(address).await.expect("connected");
        let mut second = TcpStream::connect(address).await.expect("it waits in the queue");
        let taken = accept(&listener, &places).await;
        assert!(timeout(Duration::from_millis(50), accept(&listener, &places)).await.is_err(), "the place is taken");
        drop(taken);
        let (mut taken, _place) = accept(&listener, &places).await;
        taken.write_all(b"in").await.expect("written");
        let mut read = [0; 2];
        second.read_exact(&mut read).await.expect("read");
        assert_eq!(&read, b"in");
    }

    #[tokio::test]
    async fn connection_over_the_limit_of_its_address_is_refused_with_a_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let places = Places::new(3, 1);
        let _first = TcpStream::connect(address).await.expect("connected");
        let taken = accept(&listener, &places).await;
        let mut second = TcpStream::connect(address).await.expect("connected");
        let refused = async {
            let mut answer = String::new();
            second.read_to_string(&mut answer).await.expect("readable");
            answer
        };
        let answer = tokio::select! {
            answer = refused => answer,
            _ = accept(&listener, &places) => panic!("its address has a connection"),
        };
        assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("too_many_connections"), "{answer}");
        drop(taken);
        let _third = TcpStream::connect(address).await.expect("connected");
        accept(&listener, &places).await;
    }

    #[tokio::test]
    async fn free_port_of_one_address_that_is_taken_on_another_is_replaced() {
        let addresses = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse().expect("an address"));
        let taken = Mutex::new(Vec::new());
        // On the second address the first three ports are taken.
        let bind = |address: SocketAddr| {
            let mut taken = taken.lock().expect("nobody panicked");
            let in_use = address.ip() == std::net::Ipv4Addr::new(127, 0, 0, 2) && taken.len() < 3;
            if in_use {
                taken.push(address.port());
            }
            async move { if in_use { Err(io::ErrorKind::AddrInUse.into()) } else { TcpListener::bind(address).await } }
        };
        let listeners = bind_all(&addresses, bind).await.expect("the fourth port is free");
        let ports: Vec<u16> = listeners.iter().map(|at| at.local_addr().expect("an address").port()).collect();
        assert!(ports.len() == 2 && ports[0] == ports[1] && ports[0] != 0, "{ports:?}");
        assert_eq!(taken.lock().expect("nobody panicked").len(), 3);
        let fixed = ["127.0.0.1:1", "127.0.0.2:1"].map(|text| text.parse().expect("an address"));
        let tries = Mutex::new(0);
        let always = |_| {
            *tries.lock().expect("nobody panicked") += 1;
            async { Err(io::ErrorKind::AddrInUse.into()) }
        };
        let refused = bind_all(&fixed, always).await.expect_err("it is taken").to_string();
        assert!(refused.starts_with("127.0.0.1:1: "), "{refused}");
        assert_eq!(*tries.lock().expect("nobody panicked"), 1, "a port that was asked for is tried once");
        bind_all(&addresses, always).await.expect_err("there is no end to it");
    }

    #[test]
    fn network_of_an_ipv6_address_is_its_first_half() {
        let network = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(network("192.0.2.1"), "192.0.2.1");
    }
}
