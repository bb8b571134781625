//! Claims as records of decisions have them, and back.

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Serialize;

use super::claims::{Claims, TokenRequest, TokenRequestError};
use super::facts::Facts;
use super::fields::{ClaimField, FieldForm, PARENT_MEMBERS};
use super::identifier::Subject;
use super::reader::{Reader, RunError, Shape};
use super::run::{Parent, Run, Trigger};
use super::run_object::{MAX_RUN_BYTES, MAX_RUN_DEPTH};
use super::subject::{SubjectError, SubjectFormat, SubjectParts, SubjectTemplate};
use crate::strict_json::{self, JsonError, JsonLimits, Value};

/// The reason that the claims or the run of a record are rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// The text is too large, not JSON, too deep, or has a key twice.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field is missing, malformed or out of its bounds.
    #[error(transparent)]
    Field(#[from] RunError),
    /// A member is none that this version knows: a decision on the others might be another one.
    #[error("{pointer}: not a member that this version knows")]
    Unknown {
        /// JSON pointer to it.
        pointer: String,
    },
    /// The requested token is out of its bounds.
    #[error("/token: {0}")]
    Token(#[from] TokenRequestError),
    /// The subject has none of the forms, or there is no runner for it.
    #[error("/token/subject: {0}")]
    Subject(#[from] SubjectError),
    /// The subject is that of another run or runner.
    #[error("/token/subject: expected `{expected}`, found `{found}`")]
    OtherSubject {
        /// The subject that the run and the runner have.
        expected: Subject,
        /// The subject of the record.
        found: Subject,
    },
}

impl Claims {
    /// Parses the `claims` of a decision's record: what was decided on, with the same bounds as when it was made.
    ///
    /// The subject is made anew from the run and compared, so that a record cannot pair a run with the subject of
    /// another one. Members that this version does not know refuse.
    ///
    /// # Errors
    /// When the text is anything that [`Decision::record`](crate::Decision::record) would not have written.
    pub fn from_record(text: &[u8]) -> Result<Self, RecordError> {
        let value = parse(text)?;
        known(&value, &mut String::new())?;
        let reader = Reader::new(Shape::Record, &value)?;
        let run = reader.run()?;
        let runner = reader.optional_identifier(ClaimField::Runner)?;
        let facts = reader.facts()?;
        let found: Subject = reader.identifier(ClaimField::Subject)?;
        let token = TokenRequest::new(
            reader.identifiers(ClaimField::Audiences)?,
            // Its bound in the table is below 2^32.
            u32::try_from(reader.integer(ClaimField::TtlSeconds)?).unwrap_or(u32::MAX),
            reader.integer(ClaimField::IssuedAt)?,
        )?;
        let claims = Self::new(run, runner, facts, &template(&found)?, token)?;
        if *claims.subject() != found {
            let expected = claims.subject().clone();
            return Err(RecordError::OtherSubject { expected, found });
        }
        Ok(claims)
    }
}

/// The template of a subject's form.
fn template(subject: &Subject) -> Result<SubjectTemplate, SubjectError> {
    Ok(match SubjectParts::parse(subject.as_str())? {
        SubjectParts::ByRunner { meshstack, .. } => {
            SubjectTemplate { profile: SubjectFormat::ByRunner, meshstack_id: meshstack }
        }
        SubjectParts::ByDefinition { meshstack, .. } => {
            SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id: meshstack }
        }
    })
}

/// A run and its facts as a record has them in `claims`: `{"run": {…}}`, without runner and token.
/// [`read_run`] reads it back.
pub fn run_record(run: &Run, facts: &Facts) -> String {
    #[derive(Serialize)]
    struct OnlyRun<'c> {
        run: RunRecord<'c>,
    }
    // Its keys are texts, so it can be written; an empty text would be refused when it is read.
    serde_json::to_string(&OnlyRun { run: RunRecord::new(run, facts) }).unwrap_or_default()
}

/// Parses what [`run_record`] writes.
///
/// # Errors
/// When the text is anything that [`run_record`] would not have written.
pub fn read_run(text: &[u8]) -> Result<(Run, Facts), RecordError> {
    let value = parse(text)?;
    known(&value, &mut String::new())?;
    let reader = Reader::new(Shape::Record, &value)?;
    Ok((reader.run()?, reader.facts()?))
}

fn parse(text: &[u8]) -> Result<Value<'_>, RecordError> {
    // What a run object can hold at most, its record can: it has less of it and shorter names.
    let limits = JsonLimits { bytes: MAX_RUN_BYTES, depth: MAX_RUN_DEPTH };
    Ok(strict_json::parse(text, limits)?)
}

/// Checks that every member is a field of the table, or leads to one.
fn known(value: &Value<'_>, pointer: &mut String) -> Result<(), RecordError> {
    let Value::Object(members) = value else { return Ok(()) };
    let length = pointer.len();
    for (name, value) in members.iter() {
        pointer.push('/');
        pointer.push_str(name);
        // A name with a slash would read as the pointer to another place.
        let place = places().get(pointer.as_str()).filter(|_| !name.contains('/'));
        match place {
            // Its names are checked as facts.
            Some(Place::Field(FieldForm::Parents { .. })) => parents_known(value, pointer)?,
            Some(Place::Field(_)) => {}
            Some(Place::Leads) => known(value, pointer)?,
            None => {
                let pointer = crate::text::escape(pointer, 256);
                return Err(RecordError::Unknown { pointer });
            }
        }
        pointer.truncate(length);
    }
    Ok(())
}

/// A place in the record of claims.
enum Place {
    /// A field of the table.
    Field(FieldForm),
    /// An object with fields.
    Leads,
}

/// Every place by its pointer. Made once: a log of a million records asks for twenty million of them.
fn places() -> &'static HashMap<&'static str, Place> {
    static PLACES: OnceLock<HashMap<&'static str, Place>> = OnceLock::new();
    PLACES.get_or_init(|| {
        let mut places = HashMap::new();
        for field in ClaimField::ALL {
            let pointer = field.record_pointer();
            places.insert(pointer, Place::Field(field.form()));
            for (end, _) in pointer.match_indices('/').skip(1) {
                places.insert(pointer.get(..end).unwrap_or_default(), Place::Leads);
            }
        }
        places
    })
}

fn parents_known(value: &Value<'_>, pointer: &str) -> Result<(), RecordError> {
    let Value::Array(items) = value else { return Ok(()) };
    for (index, item) in items.iter().enumerate() {
        let Value::Object(members) = item else { continue };
        for (name, _) in members.iter() {
            if !PARENT_MEMBERS.iter().any(|member| member.record == name) {
                let pointer = crate::text::escape(&format!("{pointer}/{index}/{name}"), 256);
                return Err(RecordError::Unknown { pointer });
            }
        }
    }
    Ok(())
}

#[derive(Debug, Serialize)]
pub(crate) struct ClaimsRecord<'c> {
    run: RunRecord<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<&'c str>,
    token: TokenRecord<'c>,
}

impl<'c> ClaimsRecord<'c> {
    pub(crate) fn new(claims: &'c Claims) -> Self {
        let token = claims.token();
        Self {
            run: RunRecord::new(claims.run(), claims.facts()),
            runner: claims.runner().map(|runner| runner.as_str()),
            token: TokenRecord {
                subject: claims.subject().as_str(),
                audiences: token.audiences().iter().map(|a| a.as_str()).collect(),
                ttl_seconds: token.ttl_seconds(),
                issued_at: token.issued_at(),
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct TokenRecord<'c> {
    subject: &'c str,
    audiences: Vec<&'c str>,
    ttl_seconds: u32,
    issued_at: u64,
}

#[derive(Debug, Serialize)]
struct RunRecord<'c> {
    id: &'c str,
    number: u64,
    behavior: &'static str,
    building_block: BuildingBlockRecord<'c>,
    definition: DefinitionRecord<'c>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<TriggerRecord<'c>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    facts: BTreeMap<&'c str, &'c str>,
}

#[derive(Debug, Serialize)]
struct BuildingBlockRecord<'c> {
    id: &'c str,
    workspace: &'c str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'c str>,
    parents: Vec<ParentRecord<'c>>,
}

#[derive(Debug, Serialize)]
struct ParentRecord<'c> {
    building_block: &'c str,
    definition: &'c str,
}

#[derive(Debug, Serialize)]
struct DefinitionRecord<'c> {
    id: &'c str,
    workspace: &'c str,
    version: u64,
    implementation: &'static str,
}

#[derive(Debug, Serialize)]
struct TriggerRecord<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'c str>,
    author: &'c str,
    author_kind: &'static str,
}

impl<'c> RunRecord<'c> {
    fn new(run: &'c Run, facts: &'c Facts) -> Self {
        let (building_block, definition) = (&run.building_block, &run.definition);
        let parent = |parent: &'c Parent| ParentRecord {
            building_block: parent.building_block.as_str(),
            definition: parent.definition.as_str(),
        };
        Self {
            id: run.id.as_str(),
            number: run.number,
            behavior: run.behavior.as_str(),
            building_block: BuildingBlockRecord {
                id: building_block.id.as_str(),
                workspace: building_block.workspace.as_str(),
                project: building_block.project.as_ref().map(|p| p.as_str()),
                platform: building_block.platform.as_ref().map(|p| p.as_str()),
                parents: building_block.parents.iter().map(parent).collect(),
            },
            definition: DefinitionRecord {
                id: definition.id.as_str(),
                workspace: definition.workspace.as_str(),
                version: definition.version,
                implementation: definition.implementation.as_str(),
            },
            trigger: run.trigger.as_ref().map(TriggerRecord::new),
            facts: facts.iter().map(|(name, value)| (name.as_str(), value)).collect(),
        }
    }
}

impl<'c> TriggerRecord<'c> {
    fn new(trigger: &'c Trigger) -> Self {
        Self {
            reason: trigger.reason.as_deref(),
            author: &trigger.author,
            author_kind: trigger.author_kind.as_str(),
        }
    }
}
