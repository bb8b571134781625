//! Fuzz targets: each takes arbitrary bytes and must neither panic nor violate an invariant.
//!
//! `make fuzz` runs them under libFuzzer, and beside them targets that make components of any bytes
//! (`fuzz/`, which is built apart: what generates components would change the features of what
//! everything else here is built with). The corpus is replayed by the tests, so what was found once
//! stays found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is what is looked for"
)]

mod component;
mod text;
mod verdict;

pub use component::decision;

use std::sync::{Arc, OnceLock};

use countersign::{
    Audience, Binding, BindingConfig, BindingError, Claims, Decision, Engine, EngineConfig, Limits,
    Mode, Optimization, Outcome, Policy, PolicySet, Run, Scope, Settings, SubjectFormat,
    SubjectTemplate, TokenRequest,
};

/// A target's name, as its corpus folder has it, and the target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 5] = [
    ("component", component::component),
    ("run", text::run),
    ("manifest", text::manifest),
    ("settings", text::settings),
    ("verdict", verdict::verdict),
];

/// Runs the target of this name.
///
/// # Panics
/// When there is none, or the target finds something.
pub fn fuzz(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    target(data);
}

/// The name that an input has in a corpus: the beginning of its digest.
#[must_use]
pub fn name_of(input: &[u8]) -> String {
    let digest = countersign::Digest::of(input).to_string();
    digest.trim_start_matches("sha256:").chars().take(16).collect()
}

/// Inputs to begin with, by target.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    let cases = countersign_hostile_policies::cases();
    for case in cases.into_iter().filter(|case| case.component.len() < 4_000) {
        seeds.push(("component", case.component));
    }
    seeds.extend(text::seeds());
    seeds.extend(verdict::seeds());
    seeds
}

/// The limits of fuzzed policies, small so that each run is short.
const LIMITS: Limits = Limits {
    component_bytes: 128 << 10,
    fuel: 200_000,
    configure_fuel: 200_000,
    memory_bytes: 2 << 20,
    // A busy machine must not change an answer.
    wall_clock_ms: Limits::CEILING.wall_clock_ms,
    ..Limits::DEFAULT
};

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        Engine::with(EngineConfig { optimization: Optimization::None, ..EngineConfig::default() })
            .unwrap()
    })
}

/// The published run, asking for two audiences and an hour.
fn claims() -> Claims {
    const RUN: &str = include_str!("../../../examples/run.json");
    static PARSED: OnceLock<Run> = OnceLock::new();
    let run = PARSED.get_or_init(|| Run::parse(RUN.as_bytes()).unwrap()).clone();
    let audiences = ["aws", "azure"].map(|text| Audience::parse(text).unwrap()).to_vec();
    let token = TokenRequest::new(audiences, 3600, 1_790_000_000).unwrap();
    let profile = SubjectFormat::ByDefinition;
    let subject = SubjectTemplate { profile, meshstack_id: "fuzz".parse().unwrap() };
    Claims::new(run, None, countersign::Facts::default(), &subject, token).unwrap()
}

/// A policy bound to every run.
fn bind(
    policy: &Arc<Policy>,
    settings: Settings,
    limits: Limits,
) -> Result<PolicySet, BindingError> {
    let config = BindingConfig {
        name: "fuzzed".parse().unwrap(),
        settings,
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits,
        claims: vec!["team".parse().unwrap()],
    };
    let binding = Binding::prepare(Arc::clone(policy), config)?;
    Ok(PolicySet::new(vec![binding]).unwrap())
}

/// Decides twice, and holds the decision to what is promised of every one.
fn decide(set: &PolicySet) -> Decision {
    let (decision, again) = (set.evaluate(claims()), set.evaluate(claims()));
    assert_eq!(decision.id(), again.id(), "the same question, the same answer");
    let record = serde_json::to_string(&decision.record()).unwrap();
    assert!(!record.contains(|c: char| c.is_control()), "control characters on record: {record}");
    let [trace] = decision.trace() else { panic!("one binding, one trace") };
    let limits = &trace.binding.limits;
    assert!(trace.used.fuel.is_none_or(|fuel| fuel <= limits.fuel));
    assert!(trace.used.memory_bytes.is_none_or(|bytes| bytes <= limits.memory_bytes));
    assert!(trace.used.output_bytes.is_none_or(|bytes| bytes <= limits.output_bytes.into()));
    let claims = decision.claims().token();
    match decision.outcome() {
        Outcome::Approved(terms) => {
            assert!(matches!(trace.result, Ok(countersign::Verdict::Permit(_))), "a permit");
            assert!((1..=claims.ttl_seconds()).contains(&terms.ttl_seconds), "never longer");
            assert!(!terms.audiences.is_empty(), "for someone");
            assert!(terms.audiences.iter().all(|a| claims.audiences().contains(a)), "never wider");
            assert!(terms.claims.keys().all(|name| name.as_str() == "team"), "only what is listed");
        }
        Outcome::Refused(reasons) => assert!(!reasons.is_empty(), "a refusal has a reason"),
    }
    decision
}
