//! Clients that want an answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::served::Served;

/// The time after which an answer is none.
pub(crate) const LATE: Duration = Duration::from_secs(10);

/// Requests and their latencies, in milliseconds.
#[derive(Default)]
pub(crate) struct Responses {
    failed: usize,
    times: Vec<f64>,
}

impl Responses {
    /// Asks with pauses until it is stopped.
    pub(crate) fn ask(
        ask: impl Fn() -> Option<u16>,
        measuring: &AtomicBool,
        stop: &AtomicBool,
        pause: Duration,
    ) -> Self {
        let mut responses = Self::default();
        while !stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            let counts = measuring.load(Ordering::Relaxed);
            let answered = ask() == Some(200);
            match (counts, answered) {
                (false, _) => {}
                (true, true) => responses.times.push(started.elapsed().as_secs_f64() * 1e3),
                (true, false) => responses.failed += 1,
            }
            thread::sleep(pause);
        }
        responses
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.times.extend(other.times);
    }

    pub(crate) fn number(&self) -> usize {
        self.failed + self.times.len()
    }

    /// The share that was answered as it should be.
    pub(crate) fn share(&self) -> f64 {
        self.times.len() as f64 / self.number() as f64
    }

    pub(crate) fn percentile(&mut self, share: f64) -> f64 {
        self.times.sort_by(f64::total_cmp);
        let place = (self.times.len() as f64 * share) as usize;
        self.times.get(place.min(self.times.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
    }
}

/// Exchanges the run token on a connection of its own.
pub(crate) fn exchange(served: &Served) -> Option<u16> {
    ask(&mut connect(served.requests.address)?, served.requests.exchange.as_bytes())
}

/// Asks if the service is alive.
pub(crate) fn probe(served: &Served) -> Option<u16> {
    let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    ask(&mut connect(served.probes)?, request)
}

/// A connection, whose reads and writes fail when they take too long.
pub(crate) fn connect(address: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, LATE).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(LATE)).ok()?;
    stream.set_write_timeout(Some(LATE)).ok()?;
    Some(stream)
}

/// Sends a request, and returns the status of its whole response.
pub(crate) fn ask(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).ok()?;
    read(stream)
}

/// The status of a response, once it is whole.
pub(crate) fn read(stream: &mut TcpStream) -> Option<u16> {
    let (mut buffer, mut filled) = (vec![0; 16 << 10], 0);
    loop {
        let read = stream.read(buffer.get_mut(filled..)?).ok().filter(|read| *read > 0)?;
        filled += read;
        let text = buffer.get(..filled)?;
        let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(text.get(..head)?).ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if filled >= head.len() + 4 + length?.parse::<usize>().ok()? {
            return head.get(9..12)?.parse().ok();
        }
    }
}
