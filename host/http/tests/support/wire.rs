//! HTTP/1 as bytes, for what no client sends.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The time after which a test that waits has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A connection.
pub(crate) struct Wire(BufReader<TcpStream>);

/// A response.
#[derive(Debug)]
pub(crate) struct Heard {
    pub status: u16,
    /// Their names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Heard {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// True where the connection ends after it (RFC 9112 section 9.3), as it says.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Wire {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends as much as is taken.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.get_mut().write_all(bytes.as_ref()).await.is_ok()
    }

    /// The next response; `None` where the connection has ended.
    pub(crate) async fn hear(&mut self, has_body: bool) -> Option<Heard> {
        timeout(LONG, self.heard(has_body)).await.expect("it hangs")
    }

    async fn heard(&mut self, has_body: bool) -> Option<Heard> {
        let mut line = String::new();
        self.0.read_line(&mut line).await.ok()?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            self.0.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut heard = Heard { status, headers, body: String::new() };
        let length = heard.header("content-length").map_or(0, |length| length.parse().unwrap());
        if has_body && status != 304 {
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.ok()?;
            heard.body = String::from_utf8_lossy(&body).into_owned();
        }
        Some(heard)
    }

    /// Sends a request, and returns its response.
    pub(crate) async fn ask(&mut self, request: impl AsRef<[u8]>) -> Heard {
        self.send(request).await;
        self.hear(true).await.expect("a response")
    }

    /// True if the connection has ended, or ends.
    pub(crate) async fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        timeout(LONG, self.0.read_to_end(&mut rest)).await.is_ok()
    }

    /// Everything until the end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(LONG, self.0.read_to_end(&mut rest)).await.expect("it hangs");
        rest
    }
}
