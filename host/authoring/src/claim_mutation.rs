//! Mutations of single claims.

use std::fmt;

use countersign::{
    Audience, AuthorKind, Behavior, Implementation, MAX_TIMESTAMP, MAX_TTL_SECONDS, Parent,
    Platform, Project, Run, RunId, RunnerId, TokenRequest, Trigger, Workspace,
};

use crate::decision_input::DecisionInput;
use crate::settings_literals::SettingsLiterals;

/// An identifier that no installation has.
const OTHER_UUID: &str = "0d15ea5e-0000-4000-8000-000000000001";
const OTHER_NAME: &str = "another-one";

/// A claim that a policy can depend on. The subject is made from others, so it changes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each is a path of the contract, which documents it")]
pub enum Claim {
    OwningWorkspace,
    DefinitionWorkspace,
    Definition,
    DefinitionVersion,
    Implementation,
    Behavior,
    Author,
    AuthorKind,
    TriggerReason,
    Project,
    Platform,
    BuildingBlock,
    Parents,
    Runner,
    RunId,
    RunNumber,
    Audiences,
    TtlSeconds,
    IssuedAt,
}

impl Claim {
    /// All claims, those first that policies depend on most.
    pub const ALL: [Self; 19] = [
        Self::OwningWorkspace,
        Self::DefinitionWorkspace,
        Self::Definition,
        Self::DefinitionVersion,
        Self::Implementation,
        Self::Behavior,
        Self::Author,
        Self::AuthorKind,
        Self::TriggerReason,
        Self::Project,
        Self::Platform,
        Self::BuildingBlock,
        Self::Parents,
        Self::Runner,
        Self::RunId,
        Self::RunNumber,
        Self::Audiences,
        Self::TtlSeconds,
        Self::IssuedAt,
    ];

    /// The claim's path in the contract (`wit/policy.wit`).
    pub fn path(self) -> &'static str {
        match self {
            Self::OwningWorkspace => "run.building-block.workspace",
            Self::DefinitionWorkspace => "run.definition.workspace",
            Self::Definition => "run.definition.id",
            Self::DefinitionVersion => "run.definition.version",
            Self::Implementation => "run.definition.implementation",
            Self::Behavior => "run.behavior",
            Self::Author => "run.trigger.author",
            Self::AuthorKind => "run.trigger.author-kind",
            Self::TriggerReason => "run.trigger.reason",
            Self::Project => "run.building-block.project",
            Self::Platform => "run.building-block.platform",
            Self::BuildingBlock => "run.building-block.id",
            Self::Parents => "run.building-block.parents",
            Self::Runner => "run.runner",
            Self::RunId => "run.id",
            Self::RunNumber => "run.number",
            Self::Audiences => "token.audiences",
            Self::TtlSeconds => "token.ttl-seconds",
            Self::IssuedAt => "token.issued-at",
        }
    }

    /// The claim's name, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::OwningWorkspace => "the owning workspace",
            Self::DefinitionWorkspace => "the definition workspace",
            Self::Definition => "the definition",
            Self::DefinitionVersion => "the definition's version",
            Self::Implementation => "the implementation of the definition",
            Self::Behavior => "the behavior",
            Self::Author => "the author of the run",
            Self::AuthorKind => "the kind of the run's author",
            Self::TriggerReason => "the reason of the run",
            Self::Project => "the project",
            Self::Platform => "the platform",
            Self::BuildingBlock => "the building block",
            Self::Parents => "the parents of the building block",
            Self::Runner => "the runner",
            Self::RunId => "the run's id",
            Self::RunNumber => "the run's number",
            Self::Audiences => "the audiences",
            Self::TtlSeconds => "the requested lifetime",
            Self::IssuedAt => "the time",
        }
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

impl std::str::FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|claim| claim.path() == text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|claim| claim.path()).collect();
            format!("expected one of {}", all.join(", "))
        })
    }
}

/// A decision's input with one claim changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMutation {
    /// The claim.
    pub claim: Claim,
    /// The original value, for people.
    pub from: String,
    /// The value in its place.
    pub to: String,
    /// The changed input.
    pub input: DecisionInput,
}

/// Changes each claim in turn: to values nearby, to literals of settings, and to values that no installation has. None
/// is the original input, and none is outside the contract's bounds.
pub fn claim_mutations(input: &DecisionInput, literals: &SettingsLiterals) -> Vec<ClaimMutation> {
    let mut mutations = Mutations { input, all: Vec::new() };
    of_building_block(&mut mutations, literals);
    of_definition(&mut mutations, literals);
    of_run(&mut mutations);
    of_trigger(&mut mutations, literals);
    of_token(&mut mutations, literals);
    let mut all = mutations.all;
    all.sort_by_key(|mutation| mutation.claim);
    all
}

struct Mutations<'a> {
    input: &'a DecisionInput,
    all: Vec<ClaimMutation>,
}

impl Mutations<'_> {
    /// Adds the input with a changed run.
    fn run(&mut self, claim: Claim, from: &str, to: &str, change: impl FnOnce(&mut Run)) {
        let mut input = self.input.clone();
        change(&mut input.run);
        self.push(claim, from, to, input);
    }

    fn push(&mut self, claim: Claim, from: &str, to: &str, input: DecisionInput) {
        if input != *self.input && !self.all.iter().any(|other| other.input == input) {
            self.all.push(ClaimMutation { claim, from: from.to_owned(), to: to.to_owned(), input });
        }
    }
}

fn of_building_block(mutations: &mut Mutations<'_>, literals: &SettingsLiterals) {
    let block = mutations.input.run.building_block.clone();
    let definition_workspace = mutations.input.run.definition.workspace.clone();
    let others = [definition_workspace].into_iter().chain(literals.workspaces.iter().cloned());
    for workspace in others.chain(Workspace::parse(OTHER_NAME)) {
        let to = workspace.to_string();
        mutations.run(Claim::OwningWorkspace, block.workspace.as_str(), &to, |run| {
            run.building_block.workspace = workspace;
        });
    }
    let from = block.project.as_ref().map_or("none", |project| project.as_str());
    let named = literals.workspaces.iter().filter_map(|name| Project::parse(name.as_str()).ok());
    let projects = named.chain(Project::parse(OTHER_NAME)).map(Some).chain([None]);
    for project in projects {
        let to = project.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        mutations.run(Claim::Project, from, &to, |run| run.building_block.project = project);
    }
    let from = block.platform.as_ref().map_or("none", |platform| platform.as_str());
    let named = literals.texts.iter().filter_map(|text| Platform::parse(text).ok());
    for platform in named.chain(Platform::parse("another.one")).map(Some).chain([None]) {
        let to = platform.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        mutations.run(Claim::Platform, from, &to, |run| run.building_block.platform = platform);
    }
    if let Ok(id) = OTHER_UUID.parse() {
        mutations.run(Claim::BuildingBlock, block.id.as_str(), OTHER_UUID, |run| {
            run.building_block.id = id;
        });
    }
    let count = block.parents.len();
    let from = format!("{count} parents");
    mutations.run(Claim::Parents, &from, "none", |run| run.building_block.parents.clear());
    if let (Ok(building_block), Ok(definition)) = (OTHER_UUID.parse(), OTHER_UUID.parse()) {
        let parent = Parent { building_block, definition };
        mutations.run(Claim::Parents, &from, "an unknown one", |run| {
            run.building_block.parents = vec![parent];
        });
    }
}

fn of_definition(mutations: &mut Mutations<'_>, literals: &SettingsLiterals) {
    let definition = mutations.input.run.definition.clone();
    let owner = mutations.input.run.building_block.workspace.clone();
    let others = [owner].into_iter().chain(literals.workspaces.iter().cloned());
    for workspace in others.chain(Workspace::parse(OTHER_NAME)) {
        let to = workspace.to_string();
        mutations.run(Claim::DefinitionWorkspace, definition.workspace.as_str(), &to, |run| {
            run.definition.workspace = workspace;
        });
    }
    for id in literals.definitions.iter().cloned().chain(OTHER_UUID.parse()) {
        let to = id.to_string();
        mutations.run(Claim::Definition, definition.id.as_str(), &to, |run| run.definition.id = id);
    }
    let from = definition.version.to_string();
    for version in [0, definition.version.saturating_sub(1), definition.version + 1] {
        mutations.run(Claim::DefinitionVersion, &from, &version.to_string(), |run| {
            run.definition.version = version;
        });
    }
    for implementation in Implementation::ALL {
        let (from, to) = (definition.implementation.as_str(), implementation.as_str());
        mutations.run(Claim::Implementation, from, to, |run| {
            run.definition.implementation = *implementation;
        });
    }
}

fn of_run(mutations: &mut Mutations<'_>) {
    let (id, number) = (mutations.input.run.id.clone(), mutations.input.run.number);
    if let Ok(other) = RunId::parse(OTHER_UUID) {
        mutations.run(Claim::RunId, id.as_str(), OTHER_UUID, |run| run.id = other);
    }
    for other in [0, 1, number + 1] {
        mutations.run(Claim::RunNumber, &number.to_string(), &other.to_string(), |run| {
            run.number = other
        });
    }
    let behavior = mutations.input.run.behavior;
    for other in Behavior::ALL {
        mutations
            .run(Claim::Behavior, behavior.as_str(), other.as_str(), |run| run.behavior = *other);
    }
    let from =
        mutations.input.runner.as_ref().map_or("unknown", |runner| runner.as_str()).to_owned();
    for runner in RunnerId::parse(OTHER_UUID).map(Some).into_iter().chain([None]) {
        let to = runner.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        let input = DecisionInput { runner, ..mutations.input.clone() };
        // A subject by runner needs one.
        if input.claims().is_ok() {
            mutations.push(Claim::Runner, &from, &to, input);
        }
    }
}

fn of_trigger(mutations: &mut Mutations<'_>, literals: &SettingsLiterals) {
    let trigger = mutations.input.run.trigger.clone();
    let kinds = AuthorKind::ALL.iter().map(|kind| Some(*kind)).chain([None]);
    let from = trigger.as_ref().map_or("no trigger", |trigger| trigger.author_kind.as_str());
    for kind in kinds {
        let to = kind.map_or("no trigger", AuthorKind::as_str);
        let base = trigger.clone().unwrap_or(Trigger {
            reason: None,
            author: OTHER_NAME.to_owned(),
            author_kind: AuthorKind::User,
        });
        let changed = kind.map(|author_kind| Trigger { author_kind, ..base });
        mutations.run(Claim::AuthorKind, from, to, |run| run.trigger = changed);
    }
    // Without a trigger there is neither.
    let Some(trigger) = trigger else { return };
    let authors = literals.texts.iter().cloned().chain([OTHER_NAME.to_owned()]);
    for author in authors {
        let changed = Trigger { author: author.clone(), ..trigger.clone() };
        mutations.run(Claim::Author, &trigger.author, &author, |run| run.trigger = Some(changed));
    }
    let from = trigger.reason.as_deref().unwrap_or("none");
    for reason in [None, Some(OTHER_NAME.to_owned())] {
        let to = reason.clone().unwrap_or_else(|| "none".to_owned());
        let changed = Trigger { reason, ..trigger.clone() };
        mutations.run(Claim::TriggerReason, from, &to, |run| run.trigger = Some(changed));
    }
}

fn of_token(mutations: &mut Mutations<'_>, literals: &SettingsLiterals) {
    let token = mutations.input.token.clone();
    let (audiences, ttl, now) =
        (token.audiences().to_vec(), token.ttl_seconds(), token.issued_at());
    let mut push = |claim, from: &str, to: &str, changed: (Vec<Audience>, u32, u64)| {
        if let Ok(token) = TokenRequest::new(changed.0, changed.1, changed.2) {
            mutations.push(claim, from, to, DecisionInput { token, ..mutations.input.clone() });
        }
    };
    let shown = |audiences: &[Audience]| {
        audiences.iter().map(Audience::as_str).collect::<Vec<_>>().join(" ")
    };
    let from = shown(&audiences);
    let named =
        literals.audiences.iter().cloned().chain(Audience::parse("https://another.example.com"));
    let mut others: Vec<Vec<Audience>> = named.map(|audience| vec![audience]).collect();
    others.extend(audiences.iter().map(|one| vec![one.clone()]));
    for other in others {
        let to = shown(&other);
        push(Claim::Audiences, &from, &to, (other, ttl, now));
    }
    let near = literals
        .seconds
        .iter()
        .flat_map(|seconds| [seconds.saturating_sub(1), *seconds, seconds.saturating_add(1)]);
    for other in near.chain([1, 60, 900, 3600, ttl / 2, MAX_TTL_SECONDS]) {
        push(
            Claim::TtlSeconds,
            &ttl.to_string(),
            &other.to_string(),
            (audiences.clone(), other, now),
        );
    }
    // Every hour of a day, and every day of a week.
    let hours = (1..24).map(|hour| hour * 3600);
    let days = (1..7).map(|day| day * 86_400);
    for later in hours.chain(days) {
        let other =
            if now + later <= MAX_TIMESTAMP { now + later } else { now.saturating_sub(later) };
        push(
            Claim::IssuedAt,
            &now.to_string(),
            &other.to_string(),
            (audiences.clone(), ttl, other),
        );
    }
}
