//! Reads JSON text (RFC 8259) token by token.

use std::borrow::Cow;

use serde::de::{Error as _, Expected, Unexpected};

use super::Error;

/// The maximum nesting depth. The host allows less; this bound keeps a guest from overflowing its
/// stack whatever the host does.
const MAX_DEPTH: usize = 48;

/// A position in a JSON text.
pub(super) struct Reader<'de> {
    text: &'de str,
    at: usize,
    depth: usize,
}

/// A number.
pub(super) enum Number<'de> {
    /// A whole number from 0 to 2^64 - 1.
    Unsigned(u64),
    /// A whole number from -2^63 to -1.
    Signed(i64),
    /// Any other number, verbatim.
    Other(&'de str),
}

impl<'de> Reader<'de> {
    pub(super) fn new(text: &'de str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The first byte of the next token.
    #[inline(never)]
    pub(super) fn peek(&mut self) -> Result<u8, Error> {
        self.skip_space();
        self.byte().ok_or_else(|| Error::custom("the JSON text ends too early"))
    }

    /// Returns true if the next token is this byte.
    pub(super) fn at(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.byte() == Some(byte)
    }

    /// Checks that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(malformed()) }
    }

    #[inline(never)]
    pub(super) fn word(&mut self, word: &str) -> Result<(), Error> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(malformed())
        }
    }

    /// Returns true if a number is next.
    pub(super) fn at_number(&mut self) -> Result<bool, Error> {
        Ok(matches!(self.peek()?, b'-' | b'0'..=b'9'))
    }

    /// The error for a next token of an unexpected type.
    #[inline(never)]
    pub(super) fn mismatch(&mut self, expected: &dyn Expected) -> Error {
        let found = match self.peek() {
            Err(error) => return error,
            Ok(b'n') => Unexpected::Unit,
            Ok(b't') => Unexpected::Bool(true),
            Ok(b'f') => Unexpected::Bool(false),
            Ok(b'"') => Unexpected::Str(""),
            Ok(b'[') => Unexpected::Seq,
            Ok(b'{') => Unexpected::Map,
            Ok(_) => match self.number() {
                Err(error) => return error,
                Ok(Number::Unsigned(number)) => Unexpected::Unsigned(number),
                Ok(Number::Signed(number)) => Unexpected::Signed(number),
                Ok(Number::Other(_)) => Unexpected::Other("number"),
            },
        };
        Error::invalid_type(found, expected)
    }

    /// Consumes an opening bracket.
    #[inline(never)]
    pub(super) fn open(&mut self) -> Result<(), Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::custom("nested too deep"));
        }
        self.at += 1;
        self.depth += 1;
        Ok(())
    }

    /// Consumes a closing bracket, which `more` has found.
    pub(super) fn close(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    /// Returns true if another item follows. A closing bracket is not consumed.
    #[inline(never)]
    pub(super) fn more(&mut self, close: u8, first: bool) -> Result<bool, Error> {
        match self.peek()? {
            byte if byte == close => Ok(false),
            b',' if !first => {
                self.at += 1;
                if self.peek()? == close { Err(malformed()) } else { Ok(true) }
            }
            _ if first => Ok(true),
            _ => Err(malformed()),
        }
    }

    /// Reads a key and the colon behind it.
    #[inline(never)]
    pub(super) fn key(&mut self) -> Result<Cow<'de, str>, Error> {
        if self.peek()? != b'"' {
            return Err(malformed());
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(malformed());
        }
        self.at += 1;
        Ok(key)
    }

    /// Reads a string, whose opening quotation mark is next.
    #[inline(never)]
    pub(super) fn string(&mut self) -> Result<Cow<'de, str>, Error> {
        self.at += 1;
        let start = self.at;
        let mut unescaped = String::new();
        let mut copied = start;
        loop {
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            self.at += self.rest().iter().position(ends).ok_or_else(malformed)?;
            match self.byte() {
                Some(b'"') => {
                    let tail = self.slice(copied, self.at)?;
                    self.at += 1;
                    if copied == start {
                        return Ok(Cow::Borrowed(tail));
                    }
                    unescaped.push_str(tail);
                    return Ok(Cow::Owned(unescaped));
                }
                Some(b'\\') => {
                    unescaped.push_str(self.slice(copied, self.at)?);
                    unescaped.push(self.escape()?);
                    copied = self.at;
                }
                _ => return Err(malformed()),
            }
        }
    }

    #[inline(never)]
    pub(super) fn number(&mut self) -> Result<Number<'de>, Error> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.rest().iter().take_while(|byte| is_part(byte)).count();
        let text = self.slice(self.at, self.at + length)?;
        if !text.as_bytes().last().is_some_and(u8::is_ascii_digit) || text.starts_with('+') {
            return Err(malformed());
        }
        self.at += length;
        Ok(match (text.parse(), text.parse()) {
            (Ok(number), _) => Number::Unsigned(number),
            (_, Ok(number)) => Number::Signed(number),
            _ => Number::Other(text),
        })
    }

    /// Reads an escape, whose backslash is next.
    fn escape(&mut self) -> Result<char, Error> {
        let letter = self.rest().get(1).copied();
        self.at += 2;
        Ok(match letter {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..=0xdbff => {
                        self.word("\\u")?;
                        let second = self.hex()?;
                        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400);
                        0x10000 + ((first - 0xd800) << 10) + low.ok_or_else(malformed)?
                    }
                    code => code,
                };
                char::from_u32(code).ok_or_else(malformed)?
            }
            _ => return Err(malformed()),
        })
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(malformed)?;
        self.at += 4;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(malformed());
        }
        u32::from_str_radix(digits, 16).map_err(|_| malformed())
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'de [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    fn slice(&self, from: usize, to: usize) -> Result<&'de str, Error> {
        self.text.get(from..to).ok_or_else(malformed)
    }
}

/// The error for malformed JSON. The host refuses such text before a policy sees it, so no details are needed.
fn malformed() -> Error {
    Error::custom("the text is not JSON")
}
