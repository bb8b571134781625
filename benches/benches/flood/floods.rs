//! Floods of clients that have proved nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::clients::{connect, read};
use crate::served::{Requests, form};

/// The connections that have a request at a time: more than are answered at a time.
const ASKING: usize = 220;
/// The connections that wait, of 1,024 that there is room for.
const WAITING: usize = 1_200;
/// The threads of a flood: few, so that it is the service that they keep busy and not the system's scheduler.
const KEEPERS: usize = 4;

/// A flood.
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    pub(crate) threads: usize,
    /// Runs in each thread until it is stopped, and counts what it sends.
    pub(crate) run: fn(&Requests, &AtomicBool, &AtomicU64),
}

pub(crate) const FLOODS: [Flood; 9] = [
    Flood { name: "none", threads: 0, run: |_, _, _| {} },
    Flood { name: "unsigned tokens", threads: KEEPERS, run: unsigned },
    Flood { name: "unsigned tokens of an issuer that is silent", threads: KEEPERS, run: silent },
    Flood { name: "runs that are not there", threads: KEEPERS, run: unknown_runs },
    Flood { name: "readiness", threads: KEEPERS, run: readiness },
    Flood { name: "connections that say nothing", threads: KEEPERS, run: nothing },
    Flood { name: "connections that send a byte", threads: KEEPERS, run: a_byte },
    Flood { name: "bodies that do not come", threads: KEEPERS, run: bodies },
    Flood { name: "requests that are taken back (HTTP/2)", threads: KEEPERS, run: resets },
];

fn unsigned(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    again(service, &service.unsigned, stop, sent);
}

fn silent(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    again(service, &service.of_silent, stop, sent);
}

fn unknown_runs(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    let token = "urn:ietf:params:oauth:token-type:access_token";
    let request = form("11111111-1111-4111-8111-111111111111", token, "a-token-of-no-run-at-all");
    again(service, &request, stop, sent);
}

fn readiness(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    again(service, "GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n", stop, sent);
}

fn nothing(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    wait(service, b"", stop, sent);
}

fn a_byte(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    wait(service, b"P", stop, sent);
}

fn bodies(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    let request = service.exchange.as_bytes();
    wait(service, request.get(..request.len() - 1).unwrap_or_default(), stop, sent);
}

/// Has a request on each of its connections at a time, and sends others when they are answered; on another connection where
/// one is not.
fn again(service: &Requests, request: &str, stop: &AtomicBool, sent: &AtomicU64) {
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    connections.resize_with(ASKING / KEEPERS, || None);
    while !stop.load(Ordering::Relaxed) {
        for connection in &mut connections {
            if connection.is_none() {
                *connection = connect(service.address);
            }
            sent.fetch_add(1, Ordering::Relaxed);
            if connection.as_mut().is_some_and(|one| one.write_all(request.as_bytes()).is_err()) {
                *connection = None;
            }
        }
        for connection in &mut connections {
            if connection.as_mut().is_some_and(|one| read(one).is_none()) {
                *connection = None;
            }
        }
    }
}

/// Keeps connections open that have sent so much, and opens others where some are closed.
fn wait(service: &Requests, begun: &[u8], stop: &AtomicBool, sent: &AtomicU64) {
    let mut waiting: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while waiting.len() < WAITING / KEEPERS && !stop.load(Ordering::Relaxed) {
            let Some(mut stream) = connect(service.address) else { break };
            if stream.write_all(begun).is_ok() && stream.set_nonblocking(true).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
                waiting.push(stream);
            }
        }
        // One that would block is still open.
        waiting.retain_mut(|stream| {
            stream
                .read(&mut [0; 1024])
                .is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
        });
        thread::sleep(Duration::from_millis(10));
    }
}

/// Sends requests over HTTP/2 and takes them back at once (CVE-2023-44487), a connection after the other.
fn resets(service: &Requests, stop: &AtomicBool, sent: &AtomicU64) {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let (_, length) = length.split_at(1);
        [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // `GET / http x`, compressed (RFC 7541 appendix A).
    let head = [0x82, 0x86, 0x84, 0x41, 0x01, b'x'];
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    for stream in (1..2000).step_by(2) {
        flood.extend(frame(1, 5, stream, &head));
        flood.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    while !stop.load(Ordering::Relaxed) {
        let Some(mut stream) = connect(service.address) else { continue };
        sent.fetch_add(1, Ordering::Relaxed);
        if stream.write_all(&flood).is_ok() {
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    }
}
