//! A connection that costs the measured machine as little as possible: one blocking socket, one write and usually one read for
//! each request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// One keep-alive connection to a server.
pub struct Connection {
    stream: TcpStream,
    host: String,
    request: Vec<u8>,
    received: Vec<u8>,
}

/// An answer, as long as the next request isn't sent.
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: &'a str,
}

impl Connection {
    /// Connects to a `host:port`.
    pub fn open(host: &str) -> Result<Self> {
        let stream = TcpStream::connect(host).with_context(|| format!("connecting to {host}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, host: host.to_owned(), request: Vec::new(), received: vec![0; 64 * 1024] })
    }

    /// Sends a request, and waits for its answer. An empty body is sent as none.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Answer<'_>> {
        self.begin(method, path, body)?;
        self.receive()
    }

    /// Sends a request whose answer isn't awaited. The connection can't be used any more.
    pub fn begin(&mut self, method: &str, path: &str, body: &str) -> Result<()> {
        self.request.clear();
        write!(self.request, "{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host)?;
        if !body.is_empty() {
            write!(self.request, "content-type: application/json\r\ncontent-length: {}\r\n", body.len())?;
        }
        self.request.extend_from_slice(b"\r\n");
        self.request.extend_from_slice(body.as_bytes());
        Ok(self.stream.write_all(&self.request)?)
    }

    /// As [`Self::send`], but refuses another status than success.
    pub fn expect(&mut self, method: &str, path: &str, body: &str) -> Result<&str> {
        let Answer { status, body } = self.send(method, path, body)?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {}", &body[..body.floor_char_boundary(300)]);
        Ok(body)
    }

    fn receive(&mut self) -> Result<Answer<'_>> {
        let (mut filled, mut whole) = (0, None);
        while whole.is_none_or(|(_, end)| filled < end) {
            let wanted = whole.map_or(0, |(_, end)| end);
            if self.received.len() < wanted.max(filled + 1) {
                self.received.resize(wanted.max(filled * 2), 0);
            }
            let read = self.stream.read(&mut self.received[filled..])?;
            ensure!(read > 0, "the server closed the connection");
            filled += read;
            if whole.is_none() {
                whole = extent(&self.received[..filled])?;
            }
        }
        let Some((begin, end)) = whole else { bail!("an answer without an end") };
        let status = std::str::from_utf8(&self.received[9..12])?.parse()?;
        Ok(Answer { status, body: std::str::from_utf8(&self.received[begin..end])? })
    }
}

/// Where the body begins and ends, once the head is complete.
fn extent(received: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(head) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&received[..head])?;
    let size = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then_some(value.trim())
    });
    let begin = head + 4;
    Ok(Some((begin, begin + size.map_or(Ok(0), str::parse::<usize>)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_ends_where_its_length_says() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        let begin = head.len();
        assert_eq!(extent(format!("{head}null").as_bytes()).expect("text"), Some((begin, begin + 4)));
        assert_eq!(extent(b"HTTP/1.1 204 No Content\r\n\r\n").expect("text"), Some((27, 27)));
        assert_eq!(extent(b"HTTP/1.1 200 OK\r\nContent-").expect("text"), None);
    }
}
