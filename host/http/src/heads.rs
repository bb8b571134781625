//! The heads of the requests of an HTTP/1 connection, as their bytes arrive.
//!
//! The parser that comes after forgets a `Content-Length` beside a `Transfer-Encoding`, by which a proxy in front may have
//! found another end of the request than it does (RFC 9112 section 11.2). So whether both are there is noted here, and so
//! is whether a head has begun. It follows the framing of RFC 9112 section 6 and refuses nothing itself; where it cannot
//! follow, it says so.

use std::collections::VecDeque;

/// The maximum length of a line that is looked at, in bytes: names and values of interest are shorter.
const MAX_LINE: usize = 128;

/// The framing of a request, as its head has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// It has at most one of `Content-Length` and `Transfer-Encoding`.
    Clear,
    /// It has both.
    Both,
}

/// The place within the bytes of a connection, and the heads whose requests nobody has asked for yet.
#[derive(Default)]
pub(crate) struct Heads {
    place: Place,
    /// The beginning of the line that is arriving.
    line: Vec<u8>,
    complete: VecDeque<Framing>,
}

#[derive(Debug, Default, Clone, Copy)]
enum Place {
    /// Before a head: empty lines are passed over (RFC 9112 section 2.2).
    #[default]
    Before,
    /// In the lines of a head.
    Head(Fields),
    /// In a body with so many bytes left.
    Body(u64),
    /// In the line that has the size of a chunk.
    ChunkSize,
    /// In a chunk with so many bytes left, its line end included.
    Chunk(u64),
    /// In the trailer after the last chunk.
    Trailer,
    /// Nothing is known from here on.
    Lost,
}

/// The fields of a head that frame its body.
#[derive(Debug, Default, Clone, Copy)]
struct Fields {
    length: Option<u64>,
    is_encoded: bool,
}

impl Heads {
    /// Follows the bytes that arrive.
    pub(crate) fn arrived(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((first, after)) = rest.split_first() {
            rest = match self.place {
                Place::Lost => return,
                Place::Body(left) => self.skip(rest, left, Place::Body, Place::Before),
                Place::Chunk(left) => self.skip(rest, left, Place::Chunk, Place::ChunkSize),
                _ if *first == b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.place = self.after(line.strip_suffix(b"\r").unwrap_or(&line));
                    after
                }
                _ => {
                    if let Place::Before = self.place
                        && *first != b'\r'
                    {
                        self.place = Place::Head(Fields::default());
                    }
                    if self.line.len() < MAX_LINE {
                        self.line.push(*first);
                    }
                    after
                }
            };
        }
    }

    /// True within a head, which has begun and not ended.
    pub(crate) fn is_within(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// The framing of the next request, in their order; `None` where it is not known.
    pub(crate) fn next(&mut self) -> Option<Framing> {
        self.complete.pop_front()
    }

    fn skip<'b>(
        &mut self,
        bytes: &'b [u8],
        left: u64,
        within: fn(u64) -> Place,
        after: Place,
    ) -> &'b [u8] {
        let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - skipped as u64;
        self.place = if left == 0 { after } else { within(left) };
        bytes.get(skipped..).unwrap_or_default()
    }

    /// The place after a line.
    fn after(&mut self, line: &[u8]) -> Place {
        match self.place {
            Place::Head(fields) if line.is_empty() => {
                let is_both = fields.is_encoded && fields.length.is_some();
                self.complete.push_back(if is_both { Framing::Both } else { Framing::Clear });
                match fields {
                    Fields { is_encoded: true, .. } => Place::ChunkSize,
                    Fields { length: None | Some(0), .. } => Place::Before,
                    Fields { length: Some(length), .. } => Place::Body(length),
                }
            }
            Place::Head(mut fields) => {
                let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
                let (name, value) = line.split_at(colon);
                if name.eq_ignore_ascii_case(b"transfer-encoding") {
                    fields.is_encoded = true;
                } else if name.eq_ignore_ascii_case(b"content-length") {
                    // Several that differ, and what is no number, are refused by the parser.
                    fields.length = Some(number(value.get(1..).unwrap_or_default(), 10));
                }
                Place::Head(fields)
            }
            Place::ChunkSize => {
                let end = line.iter().position(|byte| !byte.is_ascii_hexdigit());
                match line.get(..end.unwrap_or(line.len())).unwrap_or_default() {
                    [] => Place::Lost,
                    size => match number(size, 16) {
                        0 => Place::Trailer,
                        size => Place::Chunk(size.saturating_add(2)),
                    },
                }
            }
            Place::Trailer if line.is_empty() => Place::Before,
            place => place,
        }
    }
}

/// The number that a text is, or the largest one.
fn number(text: &[u8], radix: u32) -> u64 {
    let text = std::str::from_utf8(text.trim_ascii()).unwrap_or_default();
    u64::from_str_radix(text, radix).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str = "POST / HTTP/1.1\r\nHost: a\r\n";

    #[track_caller]
    fn check(text: &str, expected: &[Framing], is_within: bool) {
        // Whole, and byte by byte.
        for size in [text.len().max(1), 1, 7] {
            let mut heads = Heads::default();
            text.as_bytes().chunks(size).for_each(|bytes| heads.arrived(bytes));
            let found: Vec<_> = std::iter::from_fn(|| heads.next()).collect();
            assert_eq!((found.as_slice(), heads.is_within()), (expected, is_within), "{text}");
        }
    }

    #[test]
    fn heads_are_found_between_bodies() {
        use Framing::{Both, Clear};
        check("", &[], false);
        check("\r\n\r\n", &[], false);
        check("P", &[], true);
        check(&format!("\r\n{ASK}\r\n"), &[Clear], false);
        check(&format!("{ASK}\r\n{ASK}"), &[Clear], true);
        check(&format!("{ASK}Content-Length: 3\r\n\r\n\r\n\r{ASK}\r\n"), &[Clear, Clear], false);
        check(&format!("{ASK}content-length:3\r\n\r\nab"), &[Clear], false);
        let chunked = format!("{ASK}Transfer-Encoding: chunked\r\n\r\n");
        check(
            &format!("{chunked}3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n{ASK}\r\n"),
            &[Clear, Clear],
            false,
        );
        check(&format!("{chunked}3\r\n\r\n\r\r\n0\r\n\r\nG"), &[Clear], true);
        check(&format!("{chunked}x\r\n{ASK}\r\n"), &[Clear], false);
        // Lines that end as the parser takes them, too.
        check("GET / HTTP/1.1\nHost: a\n\nG", &[Clear], true);
        for both in [
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "content-length: 0\r\nTRANSFER-ENCODING:chunked\r\n",
            "Content-Length: x\r\nTransfer-Encoding: gzip\r\n",
        ] {
            check(&format!("{ASK}{both}\r\n0\r\n\r\n"), &[Both], false);
        }
        let long = "x".repeat(10_000);
        check(&format!("{ASK}A: {long}\r\n\r\n"), &[Clear], false);
    }
}
