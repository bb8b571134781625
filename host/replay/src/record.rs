//! Records of a decision log, as far as they matter here.

use std::fmt;

use countersign::{DecisionReader, RecordedDecision, RecordedDecisionError};
use memchr::memmem;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The version of records that this crate reads.
const VERSION: u32 = 1;

/// The place that a decision is from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A record of a log, by its sequence.
    Record(u64),
    /// Something else that has a name, such as the file of a run.
    Named(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(sequence) => write!(f, "record {sequence}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}

/// The members that every record of a log has, and its decision as it stands there.
///
/// Members of a record that are not about the decision are the service's and are not read.
#[derive(Debug)]
pub struct RecordHead<'r> {
    /// The kind, such as `token`, `decision`, `refused` or `registered`.
    pub kind: String,
    /// The time, in seconds since 1970.
    pub time: u64,
    decision: Option<&'r str>,
}

/// The members of a record.
#[derive(Deserialize)]
struct Members<'r> {
    version: u32,
    kind: String,
    time: u64,
    #[serde(borrow, default)]
    decision: Option<&'r RawValue>,
}

/// The beginning of the last member of a decision's record.
const DECISION: &[u8] = br#","decision":"#;

/// The reason that a record is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The bytes are no record.
    #[error("not a record: expected JSON with `version`, `kind` and `time`")]
    NotOne,
    /// The record is of another version.
    #[error("a record of version {found}; this version reads version {VERSION}")]
    Version {
        /// The version of the record.
        found: u32,
    },
    /// The decision is not read.
    #[error(transparent)]
    Decision(#[from] RecordedDecisionError),
}

impl<'r> RecordHead<'r> {
    /// Parses a record of a log.
    ///
    /// # Errors
    /// When it is none, or of another version.
    pub fn parse(record: &'r [u8]) -> Result<Self, RecordError> {
        if let Some(head) = Self::parse_apart(record) {
            return Ok(head);
        }
        let members: Members<'_> =
            serde_json::from_slice(record).map_err(|_| RecordError::NotOne)?;
        let Members { version, kind, time, decision } = members;
        if version != VERSION {
            return Err(RecordError::Version { found: version });
        }
        Ok(Self { kind, time, decision: decision.map(RawValue::get) })
    }

    /// Parses a record whose last member is the decision, as a service writes it, without walking through the decision: its
    /// reader does that, and it is most of the record.
    ///
    /// The text before the decision with its closing brace must be an object of its own. So a decision that is a member of
    /// something else is not taken for the record's, and no text within quotes is: these are escaped there.
    fn parse_apart(record: &'r [u8]) -> Option<Self> {
        let at = memmem::find(record, DECISION)?;
        let decision = record.get(at + DECISION.len()..)?.strip_suffix(b"}")?;
        let head = [record.get(..at)?, b"}"].concat();
        let members: Members<'_> = serde_json::from_slice(&head).ok()?;
        let is_whole = members.version == VERSION && members.decision.is_none();
        let decision = str::from_utf8(decision).ok()?;
        is_whole.then_some(Self {
            kind: members.kind,
            time: members.time,
            decision: Some(decision),
        })
    }

    /// The JSON of the decision, to the byte; `None` where no policy was asked. It is not parsed yet.
    pub fn decision(&self) -> Option<&'r str> {
        self.decision
    }

    /// Reads the decision; `None` where no policy was asked.
    ///
    /// # Errors
    /// When there is one that this version does not read.
    pub fn read(
        &self,
        reader: &mut DecisionReader,
    ) -> Option<Result<RecordedDecision, RecordError>> {
        Some(reader.read(self.decision?).map_err(RecordError::Decision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_taken_apart_as_a_parser_does_it() {
        let parse = |text: &str| {
            let head = RecordHead::parse(text.as_bytes()).map_err(|error| error.to_string())?;
            Ok::<_, String>((head.kind.clone(), head.time, head.decision.map(str::to_owned)))
        };
        let head = r#""version":1,"kind":"token","time":7"#;
        let of = |decision: Option<&str>| Ok(("token".to_owned(), 7, decision.map(str::to_owned)));
        assert_eq!(parse(&format!(r#"{{{head}}}"#)), of(None));
        assert_eq!(parse(&format!(r#"{{{head},"decision":{{"a":1}}}}"#)), of(Some(r#"{"a":1}"#)));
        // In another order, or with spaces, it is the same record.
        assert_eq!(parse(&format!(r#"{{"decision":{{"a":1}},{head}}}"#)), of(Some(r#"{"a":1}"#)));
        assert_eq!(parse(&format!(r#"{{{head}, "decision": 5}}"#)), of(Some("5")));
        // One that is a member of something else, or a text, is none.
        assert_eq!(parse(&format!(r#"{{{head},"requester":{{"x":1,"decision":2}}}}"#)), of(None));
        let text = format!(r#"{{{head},"client":",\"decision\":3","decision":4}}"#);
        assert_eq!(parse(&text), of(Some("4")));
        let two = format!(r#"{{{head},"decision":1,"decision":2}}"#);
        // Its reader refuses that: it is no JSON.
        assert_eq!(parse(&two), of(Some(r#"1,"decision":2"#)));
        assert!(parse(&format!(r#"{{{head},"decision":1"#)).is_err());
        assert!(parse(&format!(r#"{{{},"decision":1}}"#, head.replace(":1", ":2"))).is_err());
    }
}
