//! Timestamps in settings.

use std::time::SystemTime;

use countersign_policy::serde::de::{Deserialize, Deserializer, Error};

/// Seconds after 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(pub(crate) u64);

impl Instant {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339(text).ok()?;
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        (since.subsec_nanos() == 0).then_some(Self(since.as_secs()))
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
impl countersign_policy::schemars::JsonSchema for Instant {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(
        _: &mut countersign_policy::schemars::SchemaGenerator,
    ) -> countersign_policy::schemars::Schema {
        countersign_policy::schemars::json_schema!({"type": "string", "format": "date-time"})
    }
}
