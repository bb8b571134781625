//! The messages between a service and its helper: a length of four bytes, big-endian, and JSON of that length.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use countersign_issuer::CustodyFailure;
use countersign_signing::Algorithm;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::device::DeviceError;

/// The maximum length of a message, in bytes: that of [`MAX_KEYS`](crate::MAX_KEYS) names.
pub(super) const MAX_MESSAGE: usize = 64 << 10;

/// A request to the helper. The first one is [`Request::Open`], and no other one is.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Request {
    /// Loads the module, and logs in to the token.
    Open { module: String, token: String, pin_file: String, label: String },
    /// The `kid` of each key.
    List,
    /// Makes a key.
    Make { algorithm: Algorithm },
    /// The public half of a key.
    Public { kid: String },
    /// Signs what has a SHA-256, in base64.
    Sign { kid: String, algorithm: Algorithm, sha256: String },
    /// Destroys a key.
    Destroy { kid: String },
}

/// An answer of the helper.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Answer {
    Opened,
    Kids(Vec<String>),
    /// A JWK as text.
    Key(Option<String>),
    /// In base64.
    Signature(String),
    Destroyed,
    Failed(Failed),
}

/// An operation that failed.
#[derive(Serialize, Deserialize, PartialEq, Eq, Debug, Clone)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Failed {
    pub(super) kind: FailedKind,
    pub(super) said: String,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, Debug, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailedKind {
    /// The device is gone, or the module not there.
    Unreachable,
    /// The device refuses.
    Refused,
    /// The PIN is refused: trying it again locks the token.
    Pin,
    /// There is no such key; the session is as it was.
    NoKey,
    /// The key is another one, or one that can be exported.
    WrongKey,
    /// The device's answer is out of form.
    Malformed,
}

impl Answer {
    /// The failure of an answer to another request, or of one that says so.
    pub(super) fn unexpected(self) -> DeviceError {
        match self {
            Self::Failed(failed) => failed.into(),
            _ => DeviceError::malformed("the helper answered something else"),
        }
    }
}

impl From<Failed> for DeviceError {
    fn from(failed: Failed) -> Self {
        let failure = match failed.kind {
            FailedKind::Unreachable => CustodyFailure::Unreachable,
            FailedKind::Refused | FailedKind::Pin | FailedKind::NoKey => CustodyFailure::Refused,
            FailedKind::WrongKey => CustodyFailure::WrongKey,
            FailedKind::Malformed => CustodyFailure::Malformed,
        };
        Self::new(failure, failed.said)
    }
}

/// Writes a message, by `deadline` where there is one.
pub(super) fn write(
    stream: &mut UnixStream,
    message: &impl Serialize,
    deadline: Option<Instant>,
) -> io::Result<()> {
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX_MESSAGE);
    let length = length.ok_or_else(|| invalid("a message that is too long"))?;
    let bytes = [&length.to_be_bytes()[..], &json].concat();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        stream.set_write_timeout(left(deadline)?)?;
        let written = stream.write(rest)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a message, by `deadline` where there is one: a sender of single bytes gains no time.
pub(super) fn read<M: DeserializeOwned>(
    stream: &mut UnixStream,
    deadline: Option<Instant>,
) -> io::Result<M> {
    let mut length = [0; 4];
    fill(stream, &mut length, deadline)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    // Before anything is reserved for it.
    if length > MAX_MESSAGE {
        return Err(invalid("a message that is too long"));
    }
    let mut json = vec![0; length];
    fill(stream, &mut json, deadline)?;
    // The text of a message is in no error: a signature is of no use there.
    serde_json::from_slice(&json).map_err(|_| invalid("a message that is out of form"))
}

fn fill(stream: &mut UnixStream, bytes: &mut [u8], deadline: Option<Instant>) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        stream.set_read_timeout(left(deadline)?)?;
        match stream.read(rest) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left.
fn left(deadline: Option<Instant>) -> io::Result<Option<std::time::Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;

    fn read_of(bytes: &[u8]) -> io::ErrorKind {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(bytes).unwrap();
        drop(theirs);
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        read::<Answer>(&mut ours, deadline).unwrap_err().kind()
    }

    #[test]
    fn garbage_is_no_message() {
        use io::ErrorKind::{InvalidData, UnexpectedEof};
        let framed = |json: &str| {
            let length = u32::try_from(json.len()).unwrap().to_be_bytes();
            [&length[..], json.as_bytes()].concat()
        };
        for (bytes, kind) in [
            (Vec::new(), UnexpectedEof),
            (vec![0, 0, 0], UnexpectedEof),
            (vec![0, 0, 0, 5, b'"'], UnexpectedEof),
            (vec![0xff; 8], InvalidData),
            (vec![0, 1, 0, 1], InvalidData),
            (framed(""), InvalidData),
            (framed("{}"), InvalidData),
            (framed("\"opened\"x"), InvalidData),
            (framed("{\"kids\":[1]}"), InvalidData),
            (framed("{\"key\":null,\"signature\":\"\"}"), InvalidData),
            (framed("{\"failed\":{\"kind\":\"other\",\"said\":\"\"}}"), InvalidData),
            (framed("{\"failed\":{\"kind\":\"pin\",\"said\":\"\",\"more\":1}}"), InvalidData),
            (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), InvalidData),
        ] {
            assert_eq!(read_of(&bytes), kind, "{bytes:?}");
        }
        assert_eq!(read_of(&framed(&"[".repeat(1000))), InvalidData);
    }

    #[test]
    fn a_message_comes_as_it_was() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let kids: Vec<_> = (0..crate::MAX_KEYS).map(|_| "k".repeat(43)).collect();
        let sent = Answer::Kids(kids);
        write(&mut theirs, &sent, None).unwrap();
        assert_eq!(read::<Answer>(&mut ours, None).unwrap(), sent);
        let long = Answer::Signature("x".repeat(MAX_MESSAGE));
        assert!(write(&mut theirs, &long, None).is_err());
    }

    #[test]
    fn single_bytes_gain_no_time() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let sender = std::thread::spawn(move || {
            theirs.write_all(&1000_u32.to_be_bytes()).unwrap();
            // Each byte comes in the time of one read, and all of them do not. Until the other end is closed.
            while theirs.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        // A message that was read to its end would be out of form.
        let deadline = Some(Instant::now() + Duration::from_millis(500));
        let late = read::<Answer>(&mut ours, deadline).unwrap_err().kind();
        assert!(matches!(late, io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{late}");
        drop(ours);
        sender.join().unwrap();
    }
}
