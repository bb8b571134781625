//! Limits in the record of a decision.

use super::{LimitError, LimitField, Limits};
use crate::strict_json::{self, JsonError, JsonLimits, Value};

/// The reason that the limits of a record are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitsRecordError {
    /// The text is too large, not JSON, too deep, or has a key twice.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The text is not an object.
    #[error("expected an object, found {found}")]
    NotObject {
        /// The kind of value that was found.
        found: &'static str,
    },
    /// A limit is missing.
    #[error("/{member}: missing, expected a whole number")]
    Missing {
        /// Name of the member.
        member: &'static str,
    },
    /// A limit is not a whole number.
    #[error("/{member}: expected a whole number, found {found}")]
    WrongType {
        /// Name of the member.
        member: &'static str,
        /// The kind of value that was found.
        found: &'static str,
    },
    /// The record has more members than there are limits in this version.
    #[error("{found} members, of which this version knows {}", Limits::FIELDS.len())]
    Unknown {
        /// The number of members.
        found: usize,
    },
    /// A limit has a value that it cannot have.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl Limits {
    /// Parses the `limits` of a binding in a decision's record, with the bounds of [`Limits::CEILING`].
    ///
    /// # Errors
    /// When a limit is missing, unknown or out of its bounds.
    pub fn from_record(text: &[u8]) -> Result<Self, LimitsRecordError> {
        let value = strict_json::parse(text, JsonLimits { bytes: 4096, depth: 1 })?;
        let Value::Object(members) = value else {
            return Err(LimitsRecordError::NotObject { found: value.kind() });
        };
        for LimitField { member, .. } in Self::FIELDS {
            match members.get(member) {
                Some(Value::Unsigned(_)) => {}
                Some(other) => {
                    return Err(LimitsRecordError::WrongType { member, found: other.kind() });
                }
                None => return Err(LimitsRecordError::Missing { member }),
            }
        }
        let found = members.iter().count();
        if found != Self::FIELDS.len() {
            return Err(LimitsRecordError::Unknown { found });
        }
        let value = |field: &LimitField| match members.get(field.member) {
            Some(Value::Unsigned(value)) => *value,
            // Refused above, and 0 by every limit.
            _ => 0,
        };
        Ok(Self::bounded(value, &Self::CEILING)?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn a_record_is_read_with_the_same_bounds() {
        let record = |of: &LimitField, value: &str| {
            let members = Limits::FIELDS.iter().map(|field| match field.key == of.key {
                true => format!(r#""{}":{value}"#, field.member),
                false => format!(r#""{}":{}"#, field.member, field.get(&Limits::DEFAULT)),
            });
            Limits::from_record(format!("{{{}}}", members.collect::<Vec<_>>().join(",")).as_bytes())
        };
        for field in Limits::FIELDS {
            let default = field.get(&Limits::DEFAULT).to_string();
            assert_eq!(record(field, &default), Ok(Limits::DEFAULT));
            for wrong in ["0", "-1", "1.5", "null", "\"1\"", "18446744073709551615"] {
                assert!(record(field, wrong).is_err(), "{}: {wrong}", field.key);
            }
            let ceiling = (field.get(&Limits::CEILING) + 1).to_string();
            assert!(record(field, &ceiling).is_err(), "{}", field.key);
            let more = format!(r#"{default},"more":1"#);
            assert_eq!(record(field, &more), Err(LimitsRecordError::Unknown { found: 10 }));
            let twice = format!(r#"{default},"{}":{default}"#, field.member);
            assert!(matches!(record(field, &twice), Err(LimitsRecordError::Json(_))));
        }
        let missing = Limits::from_record(b"{}");
        let member = Limits::FIELDS[0].member;
        assert_eq!(missing, Err(LimitsRecordError::Missing { member }));
        assert!(Limits::from_record(b"[]").is_err());
    }
}
