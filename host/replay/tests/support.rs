//! Scripted bindings, claims, and records of decisions in memory.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, OnceLock};

use countersign::{
    Binding, BindingConfig, Claims, Engine, EngineConfig, Facts, Limits, Mode, Optimization,
    Policy, PolicySet, Run, Scope, Settings, SubjectFormat, SubjectTemplate, TokenRequest,
};
use countersign_replay::{
    Change, Filter, ImpactObserver, ImpactOptions, ImpactReport, Item, Items, NotReplayable,
    Sampling, impact,
};

const RUN: &str = include_str!("../../../examples/run.json");

/// A binding of the scripted policy: `answer` is the JSON of its answer.
#[derive(Debug, Clone)]
pub(crate) struct Scripted {
    pub name: &'static str,
    pub answer: String,
    pub scope: Scope,
    pub mode: Mode,
    pub may_permit: bool,
    pub claims: Vec<&'static str>,
    pub fuel: u64,
}

impl Scripted {
    pub(crate) fn new(name: &'static str, answer: &str) -> Self {
        Self {
            name,
            answer: answer.to_owned(),
            scope: Scope::All,
            mode: Mode::Enforce,
            may_permit: true,
            claims: vec!["team"],
            fuel: Limits::DEFAULT.fuel,
        }
    }

    pub(crate) fn prepare(&self) -> Binding {
        // The wall clock at its ceiling: a busy machine must not turn one fault into another.
        let wall_clock_ms = Limits::CEILING.wall_clock_ms;
        let config = BindingConfig {
            name: self.name.parse().unwrap(),
            settings: Settings::from_json(&format!(r#"{{"answer": {}}}"#, self.answer)).unwrap(),
            scope: self.scope.clone(),
            mode: self.mode,
            may_permit: self.may_permit,
            limits: Limits { wall_clock_ms, fuel: self.fuel, ..Limits::DEFAULT },
            claims: self.claims.iter().map(|name| name.parse().unwrap()).collect(),
        };
        Binding::prepare(policy(), config).unwrap()
    }
}

fn policy() -> Arc<Policy> {
    static POLICY: OnceLock<Arc<Policy>> = OnceLock::new();
    Arc::clone(POLICY.get_or_init(|| {
        let optimization = Optimization::None;
        let engine = Engine::with(EngineConfig { optimization, ..EngineConfig::default() });
        let component = countersign_test_artifacts::SCRIPTED;
        Arc::new(Policy::load(&engine.unwrap(), component, &Limits::DEFAULT).unwrap())
    }))
}

pub(crate) fn set(bindings: &[Scripted]) -> PolicySet {
    PolicySet::new(bindings.iter().map(Scripted::prepare).collect()).unwrap()
}

/// Claims of a run of an owner, with a fact, asking for two audiences.
pub(crate) fn claims(owner: &str, workspace: &str, fact: &str, ttl: u32, now: u64) -> Claims {
    let mut run = Run::parse(RUN.as_bytes()).unwrap();
    run.building_block.workspace = owner.parse().unwrap();
    run.definition.workspace = workspace.parse().unwrap();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "m".parse().unwrap(),
    };
    let audiences = vec!["aws".parse().unwrap(), "azure".parse().unwrap()];
    let token = TokenRequest::new(audiences, ttl, now).unwrap();
    Claims::new(run, None, Facts::new([("kind", fact)]).unwrap(), &subject, token).unwrap()
}

/// The records of decisions, as a service writes them.
pub(crate) fn records(set: &PolicySet, claims: &[Claims]) -> Vec<Vec<u8>> {
    let record = |claims: &Claims| {
        let decision = set.evaluate(claims.clone());
        let time = claims.token().issued_at();
        format!(
            r#"{{"version":1,"kind":"decision","request":"r","time":{time},"requester":{{"command_line":{{"command":"test"}}}},"decision":{}}}"#,
            decision.json()
        )
        .into_bytes()
    };
    claims.iter().map(record).collect()
}

/// Items of records, counted from 1.
pub(crate) fn items(records: Vec<Vec<u8>>) -> Items<impl Iterator<Item = Item> + Send> {
    Items(records.into_iter().zip(1..).map(|(record, sequence)| Item::Record { sequence, record }))
}

/// Everything that an observer is told.
#[derive(Default)]
pub(crate) struct Observed {
    pub changes: Vec<Change>,
    pub not_replayable: Vec<NotReplayable>,
}

impl ImpactObserver for Observed {
    fn change(&mut self, change: Change) -> bool {
        self.changes.push(change);
        true
    }

    fn not_replayable(&mut self, not: NotReplayable) -> bool {
        self.not_replayable.push(not);
        true
    }

    fn progress(&mut self, _: u64) {}
}

pub(crate) fn options(sampling: Sampling) -> ImpactOptions {
    ImpactOptions { filter: Filter::default(), sampling, workers: 3, with_verdicts: true }
}

/// The impact of a candidate on records.
pub(crate) fn impact_of(
    records: Vec<Vec<u8>>,
    candidate: &PolicySet,
    sampling: Sampling,
) -> (ImpactReport, Observed) {
    let mut told = Observed::default();
    let report = impact(&mut items(records), None, candidate, &options(sampling), &mut told);
    (report, told)
}
