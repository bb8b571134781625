//! The move of definitions from subjects by runner to subjects by definition.
//!
//! ```text
//! (none) ─begin→ begun ─cut-over→ cut-over ─finish→ finished
//!                │  ↑ ↑               │
//!          abandon  │ └───roll-back───┘
//!                ↓  begin
//!              abandoned
//! ```
//!
//! A token has one subject: the runner's until `cut-over`, the definition's from then on. While a move lasts, trust
//! has both, so that each step is safe by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{SubjectFormat, SubjectParts};
use crate::request::identifier::{DefinitionId, IdentifierError, MeshstackId, RunnerId, Workspace};
use crate::strict_json::{JsonError, check_json};
use crate::text::visible;

/// The longest file of moves that is parsed, in bytes.
pub const MAX_MOVES_BYTES: usize = 16 << 20;

/// How deep the file is.
const MAX_DEPTH: usize = 8;

/// The moves of definitions, as a file has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectMoves(BTreeMap<DefinitionId, SubjectMove>);

/// The move of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectMove {
    /// The definition workspace.
    pub workspace: Workspace,
    /// The runners whose subject its runs had: trust has these beside the definition's.
    pub runners: BTreeSet<RunnerId>,
    /// How far it is.
    pub state: MoveState,
    /// What was done, in its order: at least one.
    pub history: Vec<MoveRecord>,
}

/// How far the move of a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveState {
    /// Tokens have the runner's subject; trust is to have both.
    Begun,
    /// Tokens have the definition's subject; trust still has both.
    CutOver,
    /// Tokens have the definition's subject; trust is to have it alone.
    Finished,
    /// Tokens have the runner's subject, as before; trust is to have it alone.
    Abandoned,
}

/// A step of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveStep {
    /// Trust is to have both subjects.
    Begin,
    /// Tokens get the definition's.
    CutOver,
    /// Tokens get the runner's again.
    RollBack,
    /// Trust is to have the definition's alone.
    Finish,
    /// Nothing is to be moved after all.
    Abandon,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveRecord {
    /// Which.
    pub step: MoveStep,
    /// When, in seconds since 1970.
    pub time: u64,
    /// By whom, as they called themselves.
    pub by: String,
    /// What it was based on: which trust was looked at, or that none was.
    pub on: String,
}

/// Why a file has no moves, or a step cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectMovesError {
    /// The file is too long, too deep, or no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It has another shape.
    #[error("{0}")]
    Shape(String),
    /// It is of a version that is not known.
    #[error("version {0}; this program knows version 1")]
    Version(u32),
    /// A definition is there twice.
    #[error("definition {0} is there twice")]
    Twice(DefinitionId),
    /// A definition is there, and in the manifest's `subject-profiles` as well.
    #[error("definition {0} is also under `subject-profiles`; keep one")]
    TwoPlaces(DefinitionId),
    /// The manifest names a file of moves that is not there.
    #[error("`subject-moves` names a file that was not read")]
    Missing,
    /// The history of a definition does not lead to its state.
    #[error("definition {0}: the steps do not lead to the state")]
    History(DefinitionId),
    /// A step does not follow.
    #[error("definition {definition} is {}; `{}` cannot follow", state_word(*.state), .step.as_str())]
    Order {
        /// The definition.
        definition: DefinitionId,
        /// How far it is; `None` where nothing has begun.
        state: Option<MoveState>,
        /// The step.
        step: MoveStep,
    },
    /// A move needs the old subject.
    #[error("definition {0}: name the runners whose subject its runs have")]
    NoRunner(DefinitionId),
}

fn state_word(state: Option<MoveState>) -> &'static str {
    state.map_or("not being moved", MoveState::as_str)
}

impl MoveState {
    /// The word that files and commands have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::CutOver => "cut-over",
            Self::Finished => "finished",
            Self::Abandoned => "abandoned",
        }
    }

    /// The form that tokens have.
    pub fn profile(self) -> SubjectFormat {
        match self {
            Self::Begun | Self::Abandoned => SubjectFormat::ByRunner,
            Self::CutOver | Self::Finished => SubjectFormat::ByDefinition,
        }
    }

    fn after(state: Option<Self>, step: MoveStep) -> Option<Self> {
        match (state, step) {
            (None | Some(Self::Abandoned), MoveStep::Begin) => Some(Self::Begun),
            (Some(Self::Begun), MoveStep::Abandon) => Some(Self::Abandoned),
            (Some(Self::Begun), MoveStep::CutOver) => Some(Self::CutOver),
            (Some(Self::CutOver), MoveStep::RollBack) => Some(Self::Begun),
            (Some(Self::CutOver), MoveStep::Finish) => Some(Self::Finished),
            _ => None,
        }
    }
}

impl MoveStep {
    /// The word that files and commands have for it.
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

impl SubjectMove {
    /// The subjects that trust is to have: both while the move lasts.
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
            MoveState::Finished => vec![new],
            MoveState::Abandoned => runners.collect(),
            MoveState::Begun | MoveState::CutOver => [new].into_iter().chain(runners).collect(),
        }
    }
}

impl SubjectMoves {
    /// Parses a file (JSON, at most [`MAX_MOVES_BYTES`]): `version` 1 and `moves`, each with `definition`,
    /// `workspace`, `runners`, `state` and `history`.
    ///
    /// # Errors
    /// When it has another shape, or the steps of a definition do not lead to its state.
    pub fn parse(bytes: &[u8]) -> Result<Self, SubjectMovesError> {
        check_json(bytes, MAX_MOVES_BYTES, MAX_DEPTH)?;
        let file: MovesFile = serde_json::from_slice(bytes)
            .map_err(|error| SubjectMovesError::Shape(visible(&error.to_string())))?;
        if file.version != 1 {
            return Err(SubjectMovesError::Version(file.version));
        }
        let mut moves = Self::default();
        for one in file.moves {
            let shape = |error: IdentifierError| SubjectMovesError::Shape(error.to_string());
            let definition = DefinitionId::parse(&one.definition).map_err(shape)?;
            let runners = one.runners.iter().map(|text| RunnerId::parse(text));
            let subject_move = SubjectMove {
                workspace: Workspace::parse(&one.workspace).map_err(shape)?,
                runners: runners.collect::<Result<_, _>>().map_err(shape)?,
                state: one.state,
                history: one.history,
            };
            let mut steps = subject_move.history.iter();
            let leads_to = steps
                .try_fold(None, |state, record| MoveState::after(state, record.step).map(Some));
            if leads_to != Some(Some(subject_move.state)) || subject_move.runners.is_empty() {
                return Err(SubjectMovesError::History(definition));
            }
            if moves.0.insert(definition.clone(), subject_move).is_some() {
                return Err(SubjectMovesError::Twice(definition));
            }
        }
        Ok(moves)
    }

    /// The file's text: indented, in the order of definitions, so that versions of it can be compared.
    ///
    /// # Errors
    /// None that there can be; they are those of the serialiser.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let moves = self
            .0
            .iter()
            .map(|(definition, of)| MoveEntry {
                definition: definition.to_string(),
                workspace: of.workspace.to_string(),
                runners: of.runners.iter().map(ToString::to_string).collect(),
                state: of.state,
                history: of.history.clone(),
            })
            .collect();
        let mut text = serde_json::to_string_pretty(&MovesFile { version: 1, moves })?;
        text.push('\n');
        Ok(text)
    }

    /// The move of a definition.
    pub fn get(&self, definition: &DefinitionId) -> Option<&SubjectMove> {
        self.0.get(definition)
    }

    /// All moves, in the order of definitions.
    pub fn iter(&self) -> impl Iterator<Item = (&DefinitionId, &SubjectMove)> {
        self.0.iter()
    }

    /// Begins the move of a definition whose runs have the subjects of these runners.
    ///
    /// # Errors
    /// When it has begun already and was not abandoned, or there is no runner.
    pub fn begin(
        &mut self,
        definition: DefinitionId,
        workspace: Workspace,
        runners: BTreeSet<RunnerId>,
        (time, by): (u64, String),
    ) -> Result<(), SubjectMovesError> {
        let before = self.0.get(&definition);
        let (state, step) = (before.map(|of| of.state), MoveStep::Begin);
        let Some(next) = MoveState::after(state, step) else {
            return Err(SubjectMovesError::Order { definition, state, step });
        };
        if runners.is_empty() {
            return Err(SubjectMovesError::NoRunner(definition));
        }
        let mut history = before.map(|of| of.history.clone()).unwrap_or_default();
        history.push(MoveRecord { step, time, by, on: String::new() });
        self.0.insert(definition, SubjectMove { workspace, runners, state: next, history });
        Ok(())
    }

    /// Takes a step of a definition's move; of those but the first.
    ///
    /// # Errors
    /// When it does not follow on what was done.
    pub fn step(
        &mut self,
        definition: &DefinitionId,
        record: MoveRecord,
    ) -> Result<MoveState, SubjectMovesError> {
        let state = self.0.get(definition).map(|of| of.state);
        let step = record.step;
        let error = || SubjectMovesError::Order { definition: definition.clone(), state, step };
        let next = state.and_then(|state| MoveState::after(Some(state), step)).ok_or_else(error)?;
        let of = self.0.get_mut(definition).ok_or_else(error)?;
        of.state = next;
        of.history.push(record);
        Ok(next)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MovesFile {
    version: u32,
    moves: Vec<MoveEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MoveEntry {
    definition: String,
    workspace: String,
    runners: Vec<String>,
    state: MoveState,
    history: Vec<MoveRecord>,
}
