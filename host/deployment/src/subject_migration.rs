//! The migration of definitions from subjects by runner to subjects by definition.
//!
//! ```text
//! (none) ─begin→ begun ─cut-over→ cut-over ─finish→ finished
//!                │  ↑ ↑               │
//!          abandon  │ └───roll-back───┘
//!                ↓  begin
//!              abandoned
//! ```
//!
//! A token has one subject: the runner's until `cut-over`, the definition's from then on. While a migration lasts,
//! trust accepts both, so that each step is safe by itself.

use std::collections::{BTreeMap, BTreeSet};

use countersign::{
    DefinitionId, IdentifierError, JsonError, MeshstackId, RunnerId, SubjectFormat, SubjectParts,
    Workspace, check_json, visible,
};
use serde::{Deserialize, Serialize};

use crate::renamed::name_the_new;

/// The maximum length of a file of migrations, in bytes.
pub const MAX_MIGRATIONS_BYTES: usize = 16 << 20;

/// The depth of the file.
const MAX_DEPTH: usize = 8;

/// Keys of the file that have another name now.
const RENAMED: [(&str, &str); 2] = [("moves", "migrations"), ("on", "evidence")];

/// The migrations of definitions, as a file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectMigrations(BTreeMap<DefinitionId, SubjectMigration>);

/// The migration of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectMigration {
    /// The definition workspace.
    pub workspace: Workspace,
    /// The runners whose subject its runs had: trust accepts these beside the definition's.
    pub runners: BTreeSet<RunnerId>,
    /// The state after the last step.
    pub state: MigrationState,
    /// The steps that were taken, in their order: at least one.
    pub history: Vec<MigrationRecord>,
}

/// The state of a definition's migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationState {
    /// Tokens have the runner's subject; trust must accept both.
    Begun,
    /// Tokens have the definition's subject; trust still accepts both.
    CutOver,
    /// Tokens have the definition's subject; trust accepts it alone.
    Finished,
    /// Tokens have the runner's subject, as before; trust accepts it alone.
    Abandoned,
}

/// A step of a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationStep {
    /// Trust must accept both subjects.
    Begin,
    /// Tokens get the definition's.
    CutOver,
    /// Tokens get the runner's again.
    RollBack,
    /// Trust accepts the definition's alone.
    Finish,
    /// The definition keeps the runner's subject.
    Abandon,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigrationRecord {
    /// The step.
    pub step: MigrationStep,
    /// The time, in seconds since 1970.
    pub time: u64,
    /// The operator who took it, as they called themselves.
    pub by: String,
    /// The evidence for it: which trust was checked, or that none was.
    pub evidence: String,
}

/// The reason that a file has no migrations, or a step cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectMigrationsError {
    /// The file is too long, too deep, or no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The file has another shape.
    #[error("{0}")]
    Shape(String),
    /// The file is of a version that is not known.
    #[error("version {0}; this program knows version 1")]
    Version(u32),
    /// A definition is listed twice.
    #[error("definition {0} is listed twice")]
    Twice(DefinitionId),
    /// A definition is listed, and is in the manifest's `subject-profiles` as well.
    #[error("definition {0} is also under `subject-profiles`; keep one")]
    TwoPlaces(DefinitionId),
    /// The manifest names a file of migrations that was not provided.
    #[error("`subject-migrations` names a file that was not provided")]
    Missing,
    /// The history of a definition does not lead to its state.
    #[error("definition {0}: the steps do not lead to the state")]
    History(DefinitionId),
    /// A step does not follow.
    #[error("definition {definition} is {}; `{}` cannot follow", state_word(*.state), .step.as_str())]
    Order {
        /// The definition.
        definition: DefinitionId,
        /// The state of its migration; `None` where nothing has begun.
        state: Option<MigrationState>,
        /// The step.
        step: MigrationStep,
    },
    /// A migration needs the old subject.
    #[error("definition {0}: name the runners whose subject its runs have")]
    NoRunner(DefinitionId),
}

fn state_word(state: Option<MigrationState>) -> &'static str {
    state.map_or("not being migrated", MigrationState::as_str)
}

impl MigrationState {
    /// The word for it in files and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::CutOver => "cut-over",
            Self::Finished => "finished",
            Self::Abandoned => "abandoned",
        }
    }

    /// The format of the subjects of tokens.
    pub fn profile(self) -> SubjectFormat {
        match self {
            Self::Begun | Self::Abandoned => SubjectFormat::ByRunner,
            Self::CutOver | Self::Finished => SubjectFormat::ByDefinition,
        }
    }

    fn after(state: Option<Self>, step: MigrationStep) -> Option<Self> {
        match (state, step) {
            (None | Some(Self::Abandoned), MigrationStep::Begin) => Some(Self::Begun),
            (Some(Self::Begun), MigrationStep::Abandon) => Some(Self::Abandoned),
            (Some(Self::Begun), MigrationStep::CutOver) => Some(Self::CutOver),
            (Some(Self::CutOver), MigrationStep::RollBack) => Some(Self::Begun),
            (Some(Self::CutOver), MigrationStep::Finish) => Some(Self::Finished),
            _ => None,
        }
    }
}

impl MigrationStep {
    /// The word for it in files and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::CutOver => "cut-over",
            Self::RollBack => "roll-back",
            Self::Finish => "finish",
            Self::Abandon => "abandon",
        }
    }
}

impl SubjectMigration {
    /// The subjects that trust must accept: both while the migration lasts.
    pub fn subjects(
        &self,
        meshstack: &MeshstackId,
        definition: &DefinitionId,
    ) -> Vec<SubjectParts> {
        let new = SubjectParts::ByDefinition {
            meshstack: meshstack.clone(),
            workspace: self.workspace.clone(),
            definition: definition.clone(),
        };
        let runners = self.runners.iter().map(|runner| SubjectParts::ByRunner {
            meshstack: meshstack.clone(),
            runner: runner.clone(),
        });
        match self.state {
            MigrationState::Finished => vec![new],
            MigrationState::Abandoned => runners.collect(),
            MigrationState::Begun | MigrationState::CutOver => {
                [new].into_iter().chain(runners).collect()
            }
        }
    }
}

impl SubjectMigrations {
    /// Parses a file (JSON, at most [`MAX_MIGRATIONS_BYTES`]): `version` 1 and `migrations`, each with `definition`,
    /// `workspace`, `runners`, `state` and `history`.
    ///
    /// # Errors
    /// When it has another shape, or the steps of a definition do not lead to its state.
    pub fn parse(bytes: &[u8]) -> Result<Self, SubjectMigrationsError> {
        check_json(bytes, MAX_MIGRATIONS_BYTES, MAX_DEPTH)?;
        let file: MigrationsFile = serde_json::from_slice(bytes).map_err(|error| {
            let problem = name_the_new(&error.to_string(), &RENAMED);
            SubjectMigrationsError::Shape(visible(&problem))
        })?;
        if file.version != 1 {
            return Err(SubjectMigrationsError::Version(file.version));
        }
        let mut migrations = Self::default();
        for one in file.migrations {
            let shape = |error: IdentifierError| SubjectMigrationsError::Shape(error.to_string());
            let definition = DefinitionId::parse(&one.definition).map_err(shape)?;
            let runners = one.runners.iter().map(|text| RunnerId::parse(text));
            let migration = SubjectMigration {
                workspace: Workspace::parse(&one.workspace).map_err(shape)?,
                runners: runners.collect::<Result<_, _>>().map_err(shape)?,
                state: one.state,
                history: one.history,
            };
            let mut steps = migration.history.iter();
            let leads_to = steps.try_fold(None, |state, record| {
                MigrationState::after(state, record.step).map(Some)
            });
            if leads_to != Some(Some(migration.state)) || migration.runners.is_empty() {
                return Err(SubjectMigrationsError::History(definition));
            }
            if migrations.0.insert(definition.clone(), migration).is_some() {
                return Err(SubjectMigrationsError::Twice(definition));
            }
        }
        Ok(migrations)
    }

    /// The file's text: indented, in the order of definitions, so that versions of it can be compared.
    ///
    /// # Errors
    /// None that can occur; they are those of the serialiser.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let migrations = self
            .0
            .iter()
            .map(|(definition, of)| MigrationEntry {
                definition: definition.to_string(),
                workspace: of.workspace.to_string(),
                runners: of.runners.iter().map(ToString::to_string).collect(),
                state: of.state,
                history: of.history.clone(),
            })
            .collect();
        let mut text = serde_json::to_string_pretty(&MigrationsFile { version: 1, migrations })?;
        text.push('\n');
        Ok(text)
    }

    /// The migration of a definition.
    pub fn get(&self, definition: &DefinitionId) -> Option<&SubjectMigration> {
        self.0.get(definition)
    }

    /// All migrations, in the order of definitions.
    pub fn iter(&self) -> impl Iterator<Item = (&DefinitionId, &SubjectMigration)> {
        self.0.iter()
    }

    /// Begins the migration of a definition whose runs have the subjects of these runners.
    ///
    /// # Errors
    /// When it has begun already and was not abandoned, or there is no runner.
    pub fn begin(
        &mut self,
        definition: DefinitionId,
        workspace: Workspace,
        runners: BTreeSet<RunnerId>,
        (time, by): (u64, String),
    ) -> Result<(), SubjectMigrationsError> {
        let before = self.0.get(&definition);
        let (state, step) = (before.map(|of| of.state), MigrationStep::Begin);
        let Some(next) = MigrationState::after(state, step) else {
            return Err(SubjectMigrationsError::Order { definition, state, step });
        };
        if runners.is_empty() {
            return Err(SubjectMigrationsError::NoRunner(definition));
        }
        let mut history = before.map(|of| of.history.clone()).unwrap_or_default();
        history.push(MigrationRecord { step, time, by, evidence: String::new() });
        self.0.insert(definition, SubjectMigration { workspace, runners, state: next, history });
        Ok(())
    }

    /// Takes a step of a definition's migration after the first.
    ///
    /// # Errors
    /// When it does not follow the last step.
    pub fn step(
        &mut self,
        definition: &DefinitionId,
        record: MigrationRecord,
    ) -> Result<MigrationState, SubjectMigrationsError> {
        let state = self.0.get(definition).map(|of| of.state);
        let step = record.step;
        let error =
            || SubjectMigrationsError::Order { definition: definition.clone(), state, step };
        let next =
            state.and_then(|state| MigrationState::after(Some(state), step)).ok_or_else(error)?;
        let of = self.0.get_mut(definition).ok_or_else(error)?;
        of.state = next;
        of.history.push(record);
        Ok(next)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MigrationsFile {
    version: u32,
    migrations: Vec<MigrationEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MigrationEntry {
    definition: String,
    workspace: String,
    runners: Vec<String>,
    state: MigrationState,
    history: Vec<MigrationRecord>,
}
