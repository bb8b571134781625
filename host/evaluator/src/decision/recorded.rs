//! Decisions of records, read back.
//!
//! A decision that was read back can be compared with what a policy set would decide now, and its verdicts can stand in
//! for evaluations ([`PolicySet::project`](crate::PolicySet::project)). It is no [`Decision`], so no token is ever
//! signed for it.

mod known_parts;
mod wire;

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use memchr::memmem;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use self::known_parts::KnownParts;
use self::wire::{BodyText, TraceText, VersionText};
use super::Decision;
use super::outcome::Outcome;
use super::verdict::Verdict;
use crate::digest::Digest;
use crate::limits::{EvaluationUsage, Limits, LimitsRecordError};
use crate::policy_set::identity::BindingIdentity;
use crate::request::claims::{Claims, TokenRequest};
use crate::request::identifier::IdentifierError;
use crate::request::record::RecordError;
use crate::text::escape;

/// The version of decisions' records that this library reads and writes.
const VERSION: u32 = 1;

/// The beginning of the last member of a decision.
const TRACE: &str = r#","trace":["#;

/// Distinct bindings that a reader keeps, so that a log of many policy sets takes no more memory than one.
const MAX_KEPT_BINDINGS: usize = 16_384;

/// A decision of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedDecision {
    /// The id: the digest of the rest of the record.
    pub id: Digest,
    /// Digest of the policy set that decided.
    pub policy_set: Digest,
    /// The claims that were decided on.
    pub claims: Claims,
    /// The outcome.
    pub outcome: Outcome,
    /// Every binding that applied, in the order of names.
    pub trace: Vec<RecordedTrace>,
}

/// One binding's part in a decision of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedTrace {
    /// The binding.
    pub binding: Arc<BindingIdentity>,
    /// Its verdict, or the fault that stands in its place.
    pub result: Result<Verdict, RecordedFault>,
    /// Usage of the binding's limits.
    pub used: EvaluationUsage,
}

/// A fault as a record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedFault {
    /// The code: [`Fault::code`](crate::Fault::code) of the version that wrote the record.
    pub code: String,
    /// The fault in words.
    pub detail: String,
}

/// The reason that a decision of a record is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordedDecisionError {
    /// The text is not the JSON of a decision: a member is missing, unknown or of another type. A member that this
    /// version does not know may change the meaning of the others.
    #[error("not a decision that this version reads: {problem}")]
    Json {
        /// The problem, escaped.
        problem: String,
    },
    /// The record is of another version.
    #[error("a decision of version {found}; this version reads version {VERSION}")]
    Version {
        /// The version of the record.
        found: u32,
    },
    /// The id is not the digest of the rest.
    #[error("the id is not the digest of the decision: expected {expected}, found {found}")]
    Id {
        /// The digest of the rest.
        expected: Digest,
        /// The id of the record.
        found: Digest,
    },
    /// The claims are not read.
    #[error("claims: {0}")]
    Claims(#[from] RecordError),
    /// A part of a binding in the trace is malformed.
    #[error("trace: binding `{binding}`: {problem}")]
    Binding {
        /// The binding, escaped.
        binding: String,
        /// The problem.
        problem: String,
    },
    /// The outcome is malformed.
    #[error("outcome: {problem}")]
    Outcome {
        /// The problem.
        problem: String,
    },
}

/// Reads decisions of records. Keeps the bindings that it has met, and parts of traces: most records of a log have the same
/// ones.
#[derive(Debug, Default)]
pub struct DecisionReader {
    bindings: HashMap<Box<str>, Vec<KeptBinding>>,
    kept: usize,
    parts: KnownParts,
    /// The text before the trace, as an object of its own.
    head: String,
}

/// A binding that was read, with the texts that it was read from.
#[derive(Debug)]
struct KeptBinding {
    texts: [Box<str>; 5],
    settings: Digest,
    may_permit: bool,
    identity: Arc<BindingIdentity>,
}

impl DecisionReader {
    /// A reader that has met nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the JSON of a decision: [`Decision::json`](crate::Decision::json) of this or an earlier version.
    ///
    /// The claims and grants are checked with the bounds that they had when they were made.
    ///
    /// # Errors
    /// When the text is anything that no version up to this one has written.
    pub fn read(&mut self, text: &str) -> Result<RecordedDecision, RecordedDecisionError> {
        if let Some(decision) = self.read_apart(text) {
            return Ok(decision);
        }
        let body: BodyText<'_> =
            serde_json::from_str(text).map_err(|error| match serde_json::from_str(text) {
                Ok(VersionText { version: found }) if found != VERSION => {
                    RecordedDecisionError::Version { found }
                }
                _ => RecordedDecisionError::Json { problem: escape(&error.to_string(), 512) },
            })?;
        if body.version != VERSION {
            return Err(RecordedDecisionError::Version { found: body.version });
        }
        let id = id_of(text, &body.id)?;
        let claims = Claims::from_record(body.claims.get().as_bytes())?;
        let outcome = body.outcome(claims.token())?;
        let entries = body.trace.ok_or_else(|| RecordedDecisionError::Json {
            problem: "missing field `trace`".to_owned(),
        })?;
        let mut trace = Vec::with_capacity(entries.len());
        for entry in &entries {
            trace.push(self.entry(entry, claims.token())?);
        }
        Ok(RecordedDecision { id, policy_set: body.policy_set, claims, outcome, trace })
    }

    /// Reads a decision whose last member is the trace, as every version writes it, without parsing parts of the trace that
    /// were read before. `None` where anything is otherwise or wrong: then all of it is parsed, which finds out what.
    fn read_apart(&mut self, text: &str) -> Option<RecordedDecision> {
        let at = memmem::find(text.as_bytes(), TRACE.as_bytes())?;
        let mut head = mem::take(&mut self.head);
        head.clear();
        head.push_str(text.get(..at)?);
        head.push('}');
        let decision = self.read_parts(text, &head, text.get(at + TRACE.len()..)?);
        self.head = head;
        decision
    }

    /// The text before the trace must be an object of its own once it is closed. So a trace that is a member of something
    /// else is not taken for the decision's, and no text within quotes is: these are escaped there.
    fn read_parts(&mut self, text: &str, head: &str, trace: &str) -> Option<RecordedDecision> {
        let body: BodyText<'_> = serde_json::from_str(head).ok()?;
        if body.version != VERSION || body.trace.is_some() {
            return None;
        }
        let id = id_of(text, &body.id).ok()?;
        let claims = Claims::from_record(body.claims.get().as_bytes()).ok()?;
        let outcome = body.outcome(claims.token()).ok()?;
        let trace = self.parts(trace, claims.token())?;
        Some(RecordedDecision { id, policy_set: body.policy_set, claims, outcome, trace })
    }

    /// The parts of a trace up to the end of the decision.
    fn parts(&mut self, mut rest: &str, token: &TokenRequest) -> Option<Vec<RecordedTrace>> {
        let mut trace = Vec::new();
        while rest != "]}" {
            if !trace.is_empty() {
                rest = rest.strip_prefix(',')?;
            }
            let (part, length) = match self.parts.find(rest, token) {
                Some(known) => known,
                None => self.part(rest, token)?,
            };
            trace.push(part);
            rest = rest.get(length..)?;
        }
        Some(trace)
    }

    /// Parses the part that a text begins with, and tells its length.
    fn part(&mut self, text: &str, token: &TokenRequest) -> Option<(RecordedTrace, usize)> {
        // A text before an object, such as a space, would be counted to it.
        if !text.starts_with('{') {
            return None;
        }
        let mut stream = Deserializer::from_str(text).into_iter::<TraceText<'_>>();
        let entry = stream.next()?.ok()?;
        let length = stream.byte_offset();
        let part = self.entry(&entry, token).ok()?;
        self.parts.keep(text.get(..length)?, token, &part);
        Some((part, length))
    }

    fn entry(
        &mut self,
        entry: &TraceText<'_>,
        token: &TokenRequest,
    ) -> Result<RecordedTrace, RecordedDecisionError> {
        let error = |problem: String| {
            let binding = escape(entry.binding, 128);
            RecordedDecisionError::Binding { binding, problem }
        };
        let binding = self.binding(entry).map_err(error)?;
        let result = entry.result(token, &binding.claims).map_err(error)?;
        entry.check_limits(&binding.limits).map_err(error)?;
        Ok(RecordedTrace { binding, result, used: entry.used() })
    }

    /// The identity of an entry's binding: the one that was read before from the same texts.
    fn binding(&mut self, entry: &TraceText<'_>) -> Result<Arc<BindingIdentity>, String> {
        let texts = entry.texts();
        let is_same = |kept: &&KeptBinding| {
            kept.settings == entry.settings
                && kept.may_permit == entry.may_permit
                && kept.texts.iter().zip(texts).all(|(kept, text)| **kept == *text)
        };
        let met = self.bindings.get(entry.binding).and_then(|all| all.iter().find(is_same));
        if let Some(kept) = met {
            return Ok(Arc::clone(&kept.identity));
        }
        let identity = Arc::new(entry.identity()?);
        if self.kept == MAX_KEPT_BINDINGS {
            self.bindings.clear();
            self.kept = 0;
        }
        self.kept += 1;
        self.bindings.entry(entry.binding.into()).or_default().push(KeptBinding {
            texts: texts.map(Into::into),
            settings: entry.settings,
            may_permit: entry.may_permit,
            identity: Arc::clone(&identity),
        });
        Ok(identity)
    }
}

/// A decision as its record would have it.
impl From<&Decision> for RecordedDecision {
    fn from(decision: &Decision) -> Self {
        let trace = decision.trace().iter().map(|entry| RecordedTrace {
            binding: Arc::clone(&entry.binding),
            result: entry.result.clone().map_err(|fault| RecordedFault {
                code: fault.code().to_owned(),
                detail: fault.to_string(),
            }),
            used: entry.used,
        });
        Self {
            id: decision.id(),
            policy_set: decision.policy_set(),
            claims: decision.claims().clone(),
            outcome: decision.outcome().clone(),
            trace: trace.collect(),
        }
    }
}

/// The id, if it is the digest of the other members as they stand in the text.
fn id_of(text: &str, found: &Digest) -> Result<Digest, RecordedDecisionError> {
    let rest = text
        .strip_prefix(r#"{"id":""#)
        .and_then(|text| text.strip_prefix(found.to_string().as_str()))
        .and_then(|text| text.strip_prefix(r#"","#))
        .ok_or_else(|| RecordedDecisionError::Json {
            problem: "the id is not the first member of compact JSON".to_owned(),
        })?;
    let expected = Digest::of_parts(&[b"{", rest.as_bytes()]);
    if expected == *found {
        return Ok(expected);
    }
    Err(RecordedDecisionError::Id { expected, found: *found })
}

/// The text of a value in a record, for messages.
fn shown(value: &RawValue) -> String {
    escape(value.get(), 128)
}

/// Limits of a record.
fn limits(value: &RawValue) -> Result<Limits, String> {
    Limits::from_record(value.get().as_bytes())
        .map_err(|error: LimitsRecordError| format!("limits: {error}"))
}

fn identifier<T: std::str::FromStr<Err = IdentifierError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: IdentifierError| error.to_string())
}
