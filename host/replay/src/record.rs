//! Records of a decision log, as far as they matter here.

use std::fmt;

use countersign::{DecisionReader, RecordedDecision, RecordedDecisionError};
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
#[derive(Debug, Deserialize)]
pub struct RecordHead<'r> {
    version: u32,
    /// The kind, such as `token`, `decision`, `refused` or `registered`.
    pub kind: &'r str,
    /// The time, in seconds since 1970.
    pub time: u64,
    #[serde(borrow, default)]
    decision: Option<&'r RawValue>,
}

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
        let head: Self = serde_json::from_slice(record).map_err(|_| RecordError::NotOne)?;
        match head.version {
            VERSION => Ok(head),
            found => Err(RecordError::Version { found }),
        }
    }

    /// The JSON of the decision, to the byte; `None` where no policy was asked.
    pub fn decision(&self) -> Option<&'r str> {
        self.decision.map(RawValue::get)
    }

    /// Reads the decision; `None` where no policy was asked.
    ///
    /// # Errors
    /// When there is one that this version does not read.
    pub fn read(
        &self,
        reader: &mut DecisionReader,
    ) -> Option<Result<RecordedDecision, RecordError>> {
        Some(reader.read(self.decision()?).map_err(RecordError::Decision))
    }
}
