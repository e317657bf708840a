//! One HTTP request for each connection: receives it and passes it on.

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The request line and the headers, with the empty line after them.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// Reads a request. Returns `None` if the connection ends first.
    ///
    /// # Errors
    /// If the connection breaks, or the head isn't UTF-8.
    pub async fn read(connection: &mut BufReader<TcpStream>) -> std::io::Result<Option<Self>> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if connection.read_line(&mut head).await? == 0 {
                return Ok(None);
            }
        }
        let mut received = Self { head, body: Vec::new() };
        let length = received.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        received.body = vec![0; length];
        connection.read_exact(&mut received.body).await?;
        Ok(Some(received))
    }

    /// The value of a header, whose name may have any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The method and the path with its query.
    #[must_use]
    pub fn line(&self) -> (&str, &str) {
        let mut words = self.head.split(' ');
        (words.next().unwrap_or_default(), words.next().unwrap_or_default())
    }

    /// Sends the request to `target`, a host and a port. Returns the complete answer, unchanged.
    ///
    /// # Errors
    /// If the target can't be reached or breaks the connection.
    pub async fn forward(&self, target: &str) -> std::io::Result<Vec<u8>> {
        let mut connection = TcpStream::connect(target).await?;
        let (first, headers) = self.head.split_once("\r\n").unwrap_or((&self.head, ""));
        let kept = headers.split_inclusive("\r\n").filter(|line| !line.to_lowercase().starts_with("connection:"));
        let head = format!("{first}\r\nconnection: close\r\n{}", kept.collect::<String>());
        connection.write_all(&[head.as_bytes(), &self.body].concat()).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// The value of a header in the head of a request or an answer.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
