//! Values as pages show them, and as JSON has them.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use countersign::visible;
use serde::{Serialize, Serializer};

/// A text of a record. JSON has it as it is; a page shows what could mislead a reader as `\u{…}`, and then escapes it for
/// HTML as it does everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Text(pub(crate) String);

/// A number, with its digits in groups on pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Number(pub(crate) u64);

/// A time in seconds since 1970, which pages show in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub(crate) struct Time(pub(crate) u64);

/// The last second that a page shows as a date: of the year 9999.
const LAST: u64 = 253_402_300_799;

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The first characters of a digest or an id, which the whole stands beside.
    pub(crate) fn short(&self) -> String {
        let text = visible(&self.0);
        let digits = text.strip_prefix("sha256:").unwrap_or(&text);
        match digits.char_indices().nth(12) {
            Some((end, _)) => format!("{}…", digits.get(..end).unwrap_or_default()),
            None => digits.to_owned(),
        }
    }

    /// Tells whether it can stand in a path as it is.
    pub(crate) fn is_path(&self) -> bool {
        is_segment(&self.0)
    }

    /// The text in a query, where it is encoded.
    pub(crate) fn encoded(&self) -> String {
        form_urlencoded::byte_serialize(self.0.as_bytes()).collect()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&visible(&self.0))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

impl Time {
    /// The time in the form of RFC 3339; the seconds where there is no such date.
    pub(crate) fn rfc3339(self) -> String {
        if self.0 > LAST {
            return self.0.to_string();
        }
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0)).to_string()
    }
}

/// `2026-11-30 05:31:20`, without the zone, which the page names once.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rfc3339().replace('T', " ").trim_end_matches('Z'))
    }
}

/// Tells whether a text is a segment of a path that needs no encoding and means nothing else there.
pub(crate) fn is_segment(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(is_plain) && !text.starts_with('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_for_people() {
        assert_eq!(Number(0).to_string(), "0");
        assert_eq!(Number(999).to_string(), "999");
        assert_eq!(Number(1_234_567).to_string(), "1,234,567");
        assert_eq!(Time(1_796_005_315).to_string(), "2026-11-30 02:21:55");
        assert_eq!(Time(1_796_005_315).rfc3339(), "2026-11-30T02:21:55Z");
        assert_eq!(Time(u64::MAX).to_string(), u64::MAX.to_string());
        assert_eq!(Text::from("a\u{202e}b\u{1b}").to_string(), r"a\u{202e}b\u{1b}");
        let digest = Text::from("sha256:0123456789abcdef");
        assert_eq!((digest.short().as_str(), digest.is_path()), ("0123456789ab…", true));
        assert!(!Text::from("a/b").is_path() && !Text::from("..").is_path());
    }
}
