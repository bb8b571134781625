//! A connection that sends the next request as soon as it has a response.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self { stream, buffer: vec![0; 16 << 10], filled: 0 }
    }

    /// Returns the status of the response.
    pub(crate) fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).expect("a request that is taken");
        self.filled = 0;
        loop {
            let free = self.buffer.get_mut(self.filled..).expect("room for an answer");
            let read = self.stream.read(free).expect("an answer");
            assert!(read > 0, "the connection was closed");
            self.filled += read;
            let text = self.buffer.get(..self.filled).unwrap_or_default();
            let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(text.get(..head).unwrap_or_default()).expect("a head");
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse().ok())
                .expect("a length");
            if self.filled >= head.len() + 4 + length {
                let status = head.get(9..12).and_then(|status| status.parse().ok());
                return status.expect("a status");
            }
        }
    }

    /// The last response.
    pub(crate) fn response(&self) -> String {
        String::from_utf8_lossy(self.buffer.get(..self.filled).unwrap_or_default()).into_owned()
    }
}

/// A request with its body.
pub(crate) fn request(head: &str, body: &str) -> Vec<u8> {
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
