//! Times in settings.

use std::fmt;
use std::time::{Duration, SystemTime};

use countersign_policy::serde::de::{Deserialize, Deserializer, Error};

/// A time of day: minutes after midnight, 0 to 1,440.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockTime(u16);

/// A timestamp: seconds after 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instant(pub(crate) u64);

impl ClockTime {
    /// Seconds after midnight.
    pub(crate) fn seconds(self) -> u32 {
        u32::from(self.0) * 60
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| {
            let two = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
            two.then(|| part.parse::<u16>().ok()).flatten()
        };
        let (hours, minutes) = text.split_once(':')?;
        let (hours, minutes) = (digits(hours)?, digits(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= 1440).then_some(Self(hours * 60 + minutes))
    }
}

impl Instant {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339(text).ok()?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (since.subsec_nanos() == 0).then_some(Self(since.as_secs()))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.0);
        humantime::format_rfc3339_seconds(time).fmt(f)
    }
}

impl<'de> Deserialize<'de> for ClockTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!("expected a time of day like `08:30`, found `{text}`"))
        })
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!(
                "expected a time in UTC like `2026-12-20T00:00:00Z`, found `{text}`"
            ))
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod schema {
    use std::borrow::Cow;

    use countersign_policy::schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{ClockTime, Instant};

    impl JsonSchema for ClockTime {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "ClockTime".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"})
        }
    }

    impl JsonSchema for Instant {
        fn inline_schema() -> bool {
            true
        }

        fn schema_name() -> Cow<'static, str> {
            "Instant".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({"type": "string", "format": "date-time"})
        }
    }
}
