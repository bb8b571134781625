//! Shared by the tests: one engine, the published run, and scripted bindings.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

pub(crate) mod arbitrary;
pub(crate) mod hostile;

use std::sync::{Arc, OnceLock};

use countersign::{
    Audience, Binding, BindingConfig, BindingName, Claims, Decision, Engine, EngineConfig, Facts,
    Limits, Mode, Optimization, Policy, PolicySet, Run, RunnerId, Scope, Settings, SubjectFormat,
    SubjectTemplate, TokenRequest,
};

pub(crate) const PUBLISHED_RUN: &str = include_str!("../data/published-get.json");

/// 2026-09-21T14:13:20Z.
pub(crate) const NOW: u64 = 1_790_000_000;

pub(crate) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().unwrap())
}

pub(crate) fn scripted() -> Arc<Policy> {
    static SCRIPTED: OnceLock<Arc<Policy>> = OnceLock::new();
    Arc::clone(SCRIPTED.get_or_init(|| {
        let component = countersign_test_artifacts::SCRIPTED;
        // A thousand bindings that decide once each. What is tried on those that decide often is in
        // `snapshots.rs`, and every other policy.
        let optimization = Optimization::None;
        let engine = Engine::with(EngineConfig { optimization, ..EngineConfig::default() });
        Arc::new(Policy::load(&engine.unwrap(), component, &Limits::DEFAULT).unwrap())
    }))
}

/// The published run, but owned by `team-a`: the owning workspace and the definition workspace
/// (`my-workspace`) must not be taken for each other.
pub(crate) fn run() -> Run {
    let mut run = Run::parse(PUBLISHED_RUN.as_bytes()).unwrap();
    run.building_block.workspace = "team-a".parse().unwrap();
    run
}

/// The run, asking for `aws` and `azure` for an hour.
pub(crate) fn claims() -> Claims {
    claims_for(run(), token(&["aws", "azure"], 3600))
}

pub(crate) fn claims_for(run: Run, token: TokenRequest) -> Claims {
    Claims::new(run, None, Facts::default(), &subject_form(), token).unwrap()
}

pub(crate) fn subject_form() -> SubjectTemplate {
    SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id: "test".parse().unwrap() }
}

/// Two facts of the run.
pub(crate) fn facts() -> Facts {
    Facts::new([("cost-centre", "4711"), ("change/ticket", "CHG \"1\" ü")]).unwrap()
}

/// The runner that meshStack shares.
pub(crate) fn runner() -> RunnerId {
    "98520496-627d-43e6-82da-ce499179ff3f".parse().unwrap()
}

pub(crate) fn token(audiences: &[&str], ttl_seconds: u32) -> TokenRequest {
    let audiences = audiences.iter().map(|a| Audience::parse(a).unwrap()).collect();
    TokenRequest::new(audiences, ttl_seconds, NOW).unwrap()
}

/// A binding of the scripted policy: `answer` is the JSON of its answer.
pub(crate) struct Scripted<'a> {
    pub name: &'a str,
    pub mode: Mode,
    pub may_permit: bool,
    pub answer: &'a str,
    pub scope: Scope,
    pub claims: &'a [&'a str],
    pub limits: Limits,
}

pub(crate) fn enforce<'a>(name: &'a str, answer: &'a str) -> Scripted<'a> {
    // The wall clock at its ceiling: a busy machine must not turn one fault into another.
    let limits = Limits { wall_clock_ms: Limits::CEILING.wall_clock_ms, ..Limits::DEFAULT };
    let scope = Scope::All;
    Scripted {
        name,
        mode: Mode::Enforce,
        may_permit: true,
        answer,
        scope,
        claims: &["team", "cost"],
        limits,
    }
}

pub(crate) fn shadow<'a>(name: &'a str, answer: &'a str) -> Scripted<'a> {
    Scripted { mode: Mode::Shadow, ..enforce(name, answer) }
}

impl Scripted<'_> {
    pub(crate) fn prepare(&self) -> Binding {
        let config = BindingConfig {
            name: BindingName::parse(self.name).unwrap(),
            settings: Settings::from_json(&format!(r#"{{"answer": {}}}"#, self.answer)).unwrap(),
            scope: self.scope.clone(),
            mode: self.mode,
            may_permit: self.may_permit,
            limits: self.limits,
            claims: self.claims.iter().map(|name| name.parse().unwrap()).collect(),
        };
        Binding::prepare(scripted(), config).unwrap()
    }
}

pub(crate) fn decide(bindings: &[Scripted<'_>], claims: Claims) -> Decision {
    set(bindings).evaluate(claims)
}

pub(crate) fn set(bindings: &[Scripted<'_>]) -> PolicySet {
    PolicySet::new(bindings.iter().map(Scripted::prepare).collect()).unwrap()
}
