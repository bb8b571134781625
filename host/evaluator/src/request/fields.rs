//! The fields of a request: one table that everything else follows from.
//!
//! A row says for each thing that a policy sees its path in the contract, its place in the run object and in the record
//! of a decision, its form and bounds, and how it is read from [`Claims`]. Run objects and records are parsed by the
//! rows; the contract, the schemas, the engines' inputs and the documentation are compared with them by tests.

mod form;
mod value;

use std::fmt;

pub use self::form::{FieldForm, PARENT_MEMBERS, ParentMember};
pub(crate) use self::form::{PARENT_BUILDING_BLOCK, PARENT_DEFINITION};
pub use self::value::FieldValue;
use super::claims::{Claims, MAX_AUDIENCES, MAX_TIMESTAMP, MAX_TTL_SECONDS};
use super::facts::{MAX_FACT_VALUE_BYTES, MAX_FACTS};
use super::identifier::{
    Audience, BuildingBlockId, DefinitionId, FactName, Platform, Project, RunId, RunnerId, Subject,
    Workspace,
};
use super::run::{AuthorKind, Behavior, Implementation, Trigger};

/// The maximum number of parents of a building block.
const MAX_PARENTS: usize = 256;

/// The largest integer that JSON carries without loss (RFC 8259 section 6).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// One row.
struct Row {
    path: &'static str,
    object: Option<&'static str>,
    record: &'static str,
    title: &'static str,
    summary: &'static str,
    form: FieldForm,
    optional: bool,
    unit: Option<&'static str>,
    get: for<'c> fn(&'c Claims) -> FieldValue<'c>,
}

macro_rules! fields {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident {
            path: $path:literal,
            object: $object:expr,
            record: $record:literal,
            title: $title:literal,
            form: $form:expr,
            optional: $optional:literal,
            unit: $unit:expr,
            get: $get:expr,
        }
    )+) => {
        /// A field of what a policy sees.
        ///
        /// Those come first, in every list, that policies depend on most.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ClaimField {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ClaimField {
            /// Every field.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$name => {
                        static ROW: Row = Row {
                            path: $path,
                            object: $object,
                            record: $record,
                            title: $title,
                            summary: concat!($($doc),+),
                            form: $form,
                            optional: $optional,
                            unit: $unit,
                            get: $get,
                        };
                        &ROW
                    })+
                }
            }
        }
    };
}

/// A whole number that JSON carries without loss.
const INTEGER: FieldForm =
    FieldForm::Integer { min: 0, max: MAX_INTEGER, expected: "a whole number from 0 to 2^53 - 1" };

fields! {
    /// The owning workspace (the consumer).
    OwningWorkspace {
        path: "run.building-block.workspace",
        object: Some("/spec/buildingBlock/spec/workspaceIdentifier"),
        record: "/run/building_block/workspace",
        title: "the owning workspace",
        form: FieldForm::Identifier(Workspace::EXPECTED),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().building_block.workspace.as_str()),
    }
    /// The definition workspace (the platform team).
    DefinitionWorkspace {
        path: "run.definition.workspace",
        object: Some("/spec/buildingBlockDefinition/spec/workspaceIdentifier"),
        record: "/run/definition/workspace",
        title: "the definition workspace",
        form: FieldForm::Identifier(Workspace::EXPECTED),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().definition.workspace.as_str()),
    }
    /// The building block definition.
    Definition {
        path: "run.definition.id",
        object: Some("/spec/buildingBlockDefinition/uuid"),
        record: "/run/definition/id",
        title: "the definition",
        form: FieldForm::Identifier(DefinitionId::EXPECTED),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().definition.id.as_str()),
    }
    /// The version of the definition.
    DefinitionVersion {
        path: "run.definition.version",
        object: Some("/spec/buildingBlockDefinition/spec/version"),
        record: "/run/definition/version",
        title: "the definition's version",
        form: INTEGER,
        optional: false,
        unit: None,
        get: |claims| FieldValue::Number(claims.run().definition.version),
    }
    /// The kind of the definition's implementation.
    Implementation {
        path: "run.definition.implementation",
        object: Some("/spec/buildingBlockDefinition/spec/implementation/type"),
        record: "/run/definition/implementation",
        title: "the implementation of the definition",
        form: FieldForm::Word(Implementation::WORDS),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().definition.implementation.as_str()),
    }
    /// The behavior: what the run is about to do.
    Behavior {
        path: "run.behavior",
        object: Some("/spec/behavior"),
        record: "/run/behavior",
        title: "the behavior",
        form: FieldForm::Word(Behavior::WORDS),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().behavior.as_str()),
    }
    /// The author: the identifier of who triggered the run, unique within its kind. Absent without a trigger.
    Author {
        path: "run.trigger.author",
        object: Some("/spec/trigger/author/identifier"),
        record: "/run/trigger/author",
        title: "the author of the run",
        form: FieldForm::Line {
            max_bytes: 255,
            expected: "a text of 1 to 255 bytes on one line",
        },
        optional: true,
        unit: None,
        get: |claims| of_trigger(claims, |trigger| Some(&trigger.author)),
    }
    /// The kind of the author. Absent without a trigger.
    AuthorKind {
        path: "run.trigger.author-kind",
        object: Some("/spec/trigger/author/type"),
        record: "/run/trigger/author_kind",
        title: "the kind of the run's author",
        form: FieldForm::Word(AuthorKind::WORDS),
        optional: true,
        unit: None,
        get: |claims| of_trigger(claims, |trigger| Some(trigger.author_kind.as_str())),
    }
    /// The platform's word for the cause of the run, for people to read.
    TriggerReason {
        path: "run.trigger.reason",
        object: Some("/spec/trigger/reason"),
        record: "/run/trigger/reason",
        title: "the reason of the run",
        form: FieldForm::Line {
            max_bytes: 1024,
            expected: "a text of 1 to 1024 bytes on one line",
        },
        optional: true,
        unit: None,
        get: |claims| of_trigger(claims, |trigger| trigger.reason.as_deref()),
    }
    /// The project, where the building block belongs to one.
    Project {
        path: "run.building-block.project",
        object: Some("/spec/buildingBlock/spec/projectIdentifier"),
        record: "/run/building_block/project",
        title: "the project",
        form: FieldForm::Identifier(Project::EXPECTED),
        optional: true,
        unit: None,
        get: |claims| optional(claims.run().building_block.project.as_ref().map(Project::as_str)),
    }
    /// The full platform identifier, where the building block has a platform.
    Platform {
        path: "run.building-block.platform",
        object: Some("/spec/buildingBlock/spec/fullPlatformIdentifier"),
        record: "/run/building_block/platform",
        title: "the platform",
        form: FieldForm::Identifier(Platform::EXPECTED),
        optional: true,
        unit: None,
        get: |claims| optional(claims.run().building_block.platform.as_ref().map(Platform::as_str)),
    }
    /// The building block.
    BuildingBlock {
        path: "run.building-block.id",
        object: Some("/spec/buildingBlock/uuid"),
        record: "/run/building_block/id",
        title: "the building block",
        form: FieldForm::Identifier(BuildingBlockId::EXPECTED),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().building_block.id.as_str()),
    }
    /// The direct parents of the building block, in the order of the run object.
    Parents {
        path: "run.building-block.parents",
        object: Some("/spec/buildingBlock/spec/parentBuildingBlocks"),
        record: "/run/building_block/parents",
        title: "the parents of the building block",
        form: FieldForm::Parents {
            max: MAX_PARENTS,
            expected: "an array of at most 256 parents",
        },
        optional: false,
        unit: None,
        get: |claims| FieldValue::Parents(&claims.run().building_block.parents),
    }
    /// The runner that executes the run, where the host knows it.
    Runner {
        path: "run.runner",
        object: None,
        record: "/runner",
        title: "the runner",
        form: FieldForm::Identifier(RunnerId::EXPECTED),
        optional: true,
        unit: None,
        get: |claims| optional(claims.runner().map(RunnerId::as_str)),
    }
    /// Facts that the control plane registered with the run.
    Facts {
        path: "run.facts",
        object: None,
        record: "/run/facts",
        title: "the facts of the run",
        form: FieldForm::Facts {
            max: MAX_FACTS,
            name: FactName::EXPECTED,
            max_bytes: MAX_FACT_VALUE_BYTES,
        },
        optional: false,
        unit: None,
        get: |claims| FieldValue::Facts(claims.facts()),
    }
    /// The run.
    RunId {
        path: "run.id",
        object: Some("/metadata/uuid"),
        record: "/run/id",
        title: "the run's id",
        form: FieldForm::Identifier(RunId::EXPECTED),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.run().id.as_str()),
    }
    /// The number of the run, increasing with every run of its building block.
    RunNumber {
        path: "run.number",
        object: Some("/spec/runNumber"),
        record: "/run/number",
        title: "the run's number",
        form: INTEGER,
        optional: false,
        unit: None,
        get: |claims| FieldValue::Number(claims.run().number),
    }
    /// The requested audiences (`aud`).
    Audiences {
        path: "token.audiences",
        object: None,
        record: "/token/audiences",
        title: "the audiences",
        form: FieldForm::Identifiers {
            min: 1,
            max: MAX_AUDIENCES,
            each: Audience::EXPECTED,
            expected: "an array of 1 to 10 audiences",
        },
        optional: false,
        unit: None,
        get: |claims| {
            FieldValue::Texts(claims.token().audiences().iter().map(Audience::as_str).collect())
        },
    }
    /// The requested lifetime of the token.
    TtlSeconds {
        path: "token.ttl-seconds",
        object: None,
        record: "/token/ttl_seconds",
        title: "the requested lifetime",
        form: FieldForm::Integer {
            min: 1,
            max: MAX_TTL_SECONDS as u64,
            expected: "a whole number from 1 to 86400",
        },
        optional: false,
        unit: Some("seconds"),
        get: |claims| FieldValue::Number(claims.token().ttl_seconds().into()),
    }
    /// The time of issue (`iat`).
    IssuedAt {
        path: "token.issued-at",
        object: None,
        record: "/token/issued_at",
        title: "the time",
        form: FieldForm::Integer {
            min: 0,
            max: MAX_TIMESTAMP,
            expected: "a whole number from 0 to 253402300799",
        },
        optional: false,
        unit: Some("seconds since 1970-01-01T00:00:00Z"),
        get: |claims| FieldValue::Number(claims.token().issued_at()),
    }
    /// The subject (`sub`) that the token would carry. Made from other fields, so a policy cannot change it.
    Subject {
        path: "token.subject",
        object: None,
        record: "/token/subject",
        title: "the subject",
        form: FieldForm::Identifier(Subject::EXPECTED),
        optional: false,
        unit: None,
        get: |claims| FieldValue::Text(claims.subject().as_str()),
    }
}

fn optional(text: Option<&str>) -> FieldValue<'_> {
    text.map_or(FieldValue::Absent, FieldValue::Text)
}

fn of_trigger(claims: &Claims, text: fn(&Trigger) -> Option<&str>) -> FieldValue<'_> {
    optional(claims.run().trigger.as_ref().and_then(text))
}

impl ClaimField {
    /// Path in the contract (`wit/policy.wit`), such as `run.building-block.workspace`.
    pub fn path(self) -> &'static str {
        self.row().path
    }

    /// JSON pointer into the run object, where the field comes from there.
    pub fn object_pointer(self) -> Option<&'static str> {
        self.row().object
    }

    /// JSON pointer into the `claims` of a decision's record.
    pub fn record_pointer(self) -> &'static str {
        self.row().record
    }

    /// Name for people.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// One or two sentences for people.
    pub fn summary(self) -> &'static str {
        self.row().summary.trim_start()
    }

    /// Form and bounds.
    pub fn form(self) -> FieldForm {
        self.row().form
    }

    /// Returns true if claims can lack the field. Lists and facts can be empty instead.
    pub fn is_optional(self) -> bool {
        self.row().optional
    }

    /// Unit of a number.
    pub fn unit(self) -> Option<&'static str> {
        self.row().unit
    }

    /// Returns true if the field is derived from others and never changes without them.
    pub fn is_derived(self) -> bool {
        self == Self::Subject
    }

    /// The value that claims have.
    pub fn get(self, claims: &Claims) -> FieldValue<'_> {
        (self.row().get)(claims)
    }

    /// Finds the field with a path in the contract.
    pub fn from_path(path: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|field| field.path() == path)
    }
}

impl fmt::Display for ClaimField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_in_words_are_the_bounds() {
        for field in ClaimField::ALL {
            let numbers: &[u64] = match field.form() {
                FieldForm::Integer { max: MAX_INTEGER, .. } => &[0, 53],
                FieldForm::Integer { min, max, .. } => &[min, max],
                FieldForm::Line { max_bytes, .. } => &[1, max_bytes as u64],
                FieldForm::Identifiers { min, max, .. } => &[min as u64, max as u64],
                FieldForm::Parents { max, .. } => &[max as u64],
                FieldForm::Identifier(_) | FieldForm::Word(_) | FieldForm::Facts { .. } => &[],
            };
            let words = field.form().to_string();
            for number in numbers {
                assert!(words.contains(&number.to_string()), "{field}: {words}");
            }
        }
    }

    #[test]
    fn paths_are_found_and_places_are_there_once() {
        for field in ClaimField::ALL {
            assert_eq!(ClaimField::from_path(field.path()), Some(*field));
            let same = |other: &&ClaimField| {
                other.record_pointer() == field.record_pointer()
                    || (field.object_pointer().is_some()
                        && other.object_pointer() == field.object_pointer())
            };
            assert_eq!(ClaimField::ALL.iter().filter(same).count(), 1, "{field}");
        }
    }
}
