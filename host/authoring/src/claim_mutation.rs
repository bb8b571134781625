//! Mutations of single claims.

use countersign::{
    Audience, AuthorKind, Behavior, FactName, Facts, Implementation, MAX_TIMESTAMP,
    MAX_TTL_SECONDS, OBJECT_FACTS, Parent, Platform, Project, Run, RunId, RunnerId, TokenRequest,
    Trigger, Workspace,
};

use crate::decision_input::DecisionInput;
use crate::settings_literals::SettingsLiterals;

/// An identifier that no installation has.
const OTHER_UUID: &str = "0d15ea5e-0000-4000-8000-000000000001";
const OTHER_NAME: &str = "another-one";
const OTHER_PLATFORM: &str = "another.one";
const OTHER_AUDIENCE: &str = "https://another.example.com";
const OTHER_PARENT: &str = "an unknown one";
const OTHER_FACT: &str = "one more";

/// A claim that a policy can depend on: a field of the evaluator's table.
pub use countersign::ClaimField as Claim;

/// The claims that can be changed alone: all but those that are made from others.
pub(crate) fn changeable() -> impl Iterator<Item = Claim> {
    Claim::ALL.iter().copied().filter(|claim| !claim.is_derived())
}

/// Finds the claim with a path in the contract.
pub(crate) fn claim(path: &str) -> Result<Claim, String> {
    changeable().find(|claim| claim.path() == path).ok_or_else(|| {
        let all: Vec<_> = changeable().map(Claim::path).collect();
        format!("expected one of {}", all.join(", "))
    })
}

/// The origin of a value that a claim is changed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueOrigin {
    /// A literal of settings.
    Settings,
    /// Another value of the input, a word of a closed list, or an absence.
    Known,
    /// A value that no installation has, or a number near another one.
    Invented,
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
    /// The origin of that value.
    pub origin: ValueOrigin,
    /// The changed input.
    pub input: DecisionInput,
}

/// Changes each claim in turn: to values nearby, to literals of settings, and to values that no installation has. None
/// is the original input, and none is outside the contract's bounds.
pub fn claim_mutations(input: &DecisionInput, literals: &SettingsLiterals) -> Vec<ClaimMutation> {
    let mut mutations = Mutations { input, literals, all: Vec::new() };
    of_building_block(&mut mutations, literals);
    of_definition(&mut mutations, literals);
    of_run(&mut mutations);
    of_trigger(&mut mutations, literals);
    of_facts(&mut mutations, literals);
    of_token(&mut mutations, literals);
    let mut all = mutations.all;
    all.sort_by_key(|mutation| mutation.claim);
    all
}

struct Mutations<'a> {
    input: &'a DecisionInput,
    literals: &'a SettingsLiterals,
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
            let origin = origin(claim, to, self.literals);
            let (from, to) = (from.to_owned(), to.to_owned());
            self.all.push(ClaimMutation { claim, from, to, origin, input });
        }
    }
}

fn origin(claim: Claim, to: &str, literals: &SettingsLiterals) -> ValueOrigin {
    const INVENTED: [&str; 6] =
        [OTHER_UUID, OTHER_NAME, OTHER_PLATFORM, OTHER_AUDIENCE, OTHER_PARENT, OTHER_FACT];
    // A fact is shown with its name.
    let value = match claim {
        Claim::Facts => to.split_once('=').map_or(to, |(_, value)| value),
        _ => to,
    };
    let is_number = matches!(
        claim,
        Claim::TtlSeconds | Claim::IssuedAt | Claim::DefinitionVersion | Claim::RunNumber
    );
    if literals.contains(value) {
        ValueOrigin::Settings
    } else if is_number || INVENTED.contains(&value) {
        ValueOrigin::Invented
    } else {
        ValueOrigin::Known
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
    for platform in named.chain(Platform::parse(OTHER_PLATFORM)).map(Some).chain([None]) {
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
        mutations.run(Claim::Parents, &from, OTHER_PARENT, |run| {
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

/// Each fact taken away or changed, and one that nothing knows.
fn of_facts(mutations: &mut Mutations<'_>, literals: &SettingsLiterals) {
    /// Values of settings that are tried, over all facts: each is an evaluation.
    const MAX_TEXTS: usize = 64;
    let facts = mutations.input.facts.clone();
    let mut push = |from: &str, to: &str, facts: Facts| {
        mutations.push(Claim::Facts, from, to, DecisionInput { facts, ..mutations.input.clone() });
    };
    // Every run object has facts, and few policies read them: those are not changed to each text of settings.
    let of_object = |name: &FactName| OBJECT_FACTS.iter().any(|fact| fact.name == name.as_str());
    let registered = facts.iter().filter(|(name, _)| !of_object(name)).count();
    for (name, value) in facts.iter() {
        let from = format!("{name}={value}");
        push(&from, &format!("no {name}"), facts.without(name));
        let texts = if of_object(name) { 0 } else { MAX_TEXTS / registered.max(1) };
        let named = literals.texts.iter().take(texts);
        for other in named.map(String::as_str).chain([OTHER_NAME]) {
            if let Ok(changed) = facts.with(name.clone(), other) {
                push(&from, &format!("{name}={other}"), changed);
            }
        }
    }
    if let Ok(name) = FactName::parse(OTHER_NAME)
        && let Ok(more) = facts.with(name, OTHER_NAME)
    {
        push(&format!("{} facts", facts.len()), OTHER_FACT, more);
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
    let named = literals.audiences.iter().cloned().chain(Audience::parse(OTHER_AUDIENCE));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use countersign::{Facts, MeshstackId, SubjectFormat, SubjectTemplate};

    use super::*;

    fn input(facts: &[(&str, &str)]) -> DecisionInput {
        let mut run = Run::parse(include_bytes!("../../../examples/run.json")).unwrap();
        run.trigger = Some(Trigger {
            reason: Some("ORDERED".to_owned()),
            author: "ada".to_owned(),
            author_kind: AuthorKind::User,
        });
        let meshstack_id = MeshstackId::parse("demo").unwrap();
        let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
        let audience = Audience::parse("api://AzureADTokenExchange").unwrap();
        let token = TokenRequest::new(vec![audience], 7200, 1_790_000_000).unwrap();
        let facts = Facts::new(facts.iter().copied()).unwrap();
        DecisionInput { run, runner: None, facts, subject, token }
    }

    /// A field that the table gains is changed here too.
    #[test]
    fn every_claim_that_can_be_changed_is() {
        let input = input(&[]);
        let mutations = claim_mutations(&input, &SettingsLiterals::default());
        let claims = input.claims().unwrap();
        for claim in changeable() {
            let mut own = mutations.iter().filter(|mutation| mutation.claim == claim);
            let changed =
                own.any(|own| claim.get(&own.input.claims().unwrap()) != claim.get(&claims));
            assert!(changed, "nothing changes {claim}");
        }
    }

    #[test]
    fn each_fact_is_taken_away_and_changed() {
        let input = input(&[("a", "1"), ("b", "2")]);
        let mut literals = SettingsLiterals::default();
        literals.texts.insert("4711".to_owned());
        let all = claim_mutations(&input, &literals);
        let of_facts = all.iter().filter(|mutation| mutation.claim == Claim::Facts);
        let changes: Vec<_> =
            of_facts.map(|mutation| (mutation.from.as_str(), mutation.to.as_str())).collect();
        assert_eq!(
            changes,
            [
                ("a=1", "no a"),
                ("a=1", "a=4711"),
                ("a=1", "a=another-one"),
                ("b=2", "no b"),
                ("b=2", "b=4711"),
                ("b=2", "b=another-one"),
                ("2 facts", "one more"),
            ]
        );
    }

    #[test]
    fn a_claim_is_found_by_its_path_unless_it_is_made_from_others() {
        assert_eq!(claim("run.facts"), Ok(Claim::Facts));
        for path in ["token.subject", "run.trigger", "run.other", ""] {
            assert!(claim(path).unwrap_err().contains("run.building-block.workspace"));
        }
    }
}
