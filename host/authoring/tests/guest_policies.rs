//! The policies of this repository, each by the cases in its folder, through the real component.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::path::PathBuf;
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, Engine, EngineConfig, Limits, Mode, Optimization, Policy,
    PolicySet, Scope, Settings, imports,
};
use countersign_authoring::{CaseRunner, Cases, EvaluationBudget, Expectation, ExpectedGrant};
use countersign_policy_artifacts::{ALLOWED_CONSUMERS, POLICIES};
use serde_json::{Value, json};

const RUN: &str = include_str!("../../../examples/run.json");

/// A busy machine must not change a verdict.
const LIMITS: Limits = Limits { prepare_ms: 120_000, wall_clock_ms: 10_000, ..Limits::DEFAULT };

fn engine() -> Engine {
    let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
    Engine::with(config).unwrap()
}

fn folder(policy: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guest-policies").join(policy)
}

/// Runs every case of a policy, and sees that its folder has what a folder must.
#[track_caller]
fn check(engine: &Engine, name: &str, component: &[u8]) {
    let read = |file: &str| std::fs::read_to_string(folder(name).join(file)).unwrap();
    assert_eq!(imports(component), Ok(vec![]));
    assert!(component.len() < 100 << 10, "{} bytes", component.len());
    assert!(read("README.md").starts_with(&format!("# {name}\n")));
    let cases = Cases::parse(&read("cases.toml")).unwrap();
    let run: Value = serde_json::from_str(RUN).unwrap();
    let runner =
        CaseRunner::new(engine, component, LIMITS, &cases, &run, Settings::default()).unwrap();
    let description = runner.policy().description();
    assert_eq!(description.name, name);
    assert_eq!(description.settings_schema, Some(read("settings.schema.json")));
    let report = runner.run(&mut EvaluationBudget::new(EvaluationBudget::DEFAULT_FUEL)).unwrap();
    for outcome in &report.cases {
        assert_eq!(
            outcome.found, outcome.expected,
            "{name}: {}: {:?}",
            outcome.name, outcome.detail
        );
    }
    for outcome in &report.settings {
        assert!(outcome.passed(), "{name}: {outcome:?}");
    }
    // Each declares what it depends on, and does.
    let mutations = report.mutations.as_ref().unwrap();
    assert!(mutations.is_declared(), "{name}: `depends-on` is missing");
    assert_eq!((mutations.missed(), mutations.undeclared()), (vec![], vec![]), "{name}");
    assert!(mutations.changes() > 300, "{}", mutations.changes());
    assert!(report.passed());
    let some =
        |matches: fn(&Expectation) -> bool| cases.case.iter().any(|case| matches(&case.expect));
    let unnarrowed = |e: &Expectation| {
        let grant = ExpectedGrant::default();
        match name {
            "same-workspace" | "allowed-consumers" => *e == Expectation::Permit(grant),
            _ => *e == Expectation::Restrict(grant),
        }
    };
    assert!(cases.case.iter().any(|case| unnarrowed(&case.expect)), "{name}");
    // Those that say who may have a token permit and never restrict; the others restrict and never permit.
    let says_who = cases.case.iter().any(|case| matches!(case.expect, Expectation::Permit(_)));
    let only_limits = some(|e| matches!(e, Expectation::Restrict(_)));
    assert_ne!(says_who, only_limits, "{name}");
    assert!(some(|e| matches!(e, Expectation::Deny(_))), "{name}");
    assert!(!cases.settings.is_empty(), "{name}");
}

#[test]
fn every_policy_does_what_its_cases_say() {
    let engine = engine();
    assert_eq!(POLICIES.len(), 6);
    POLICIES.iter().for_each(|(name, component)| check(&engine, name, component));
}

#[test]
fn allowed_consumers_takes_ten_thousand_workspaces() {
    let policy = Arc::new(Policy::load(&engine(), ALLOWED_CONSUMERS, &LIMITS).unwrap());
    let bind = |settings: Value| {
        let config = BindingConfig {
            name: "case".parse().unwrap(),
            settings: Settings::from_json(&settings.to_string()).unwrap(),
            scope: Scope::All,
            mode: Mode::Enforce,
            may_permit: true,
            limits: LIMITS,
            claims: vec![],
        };
        Binding::prepare(Arc::clone(&policy), config)
    };
    let mut workspaces: Vec<String> = (0..9_999).map(|n| format!("workspace-{n:050}")).collect();
    workspaces.push("my-workspace".to_owned());
    let binding = bind(json!({ "workspaces": workspaces })).unwrap();
    let cases = Cases::parse("[[case]]\nname = \"a\"\nexpect = \"abstain\"\n").unwrap();
    let input = cases.case[0].input(&serde_json::from_str(RUN).unwrap()).unwrap();
    let decision = PolicySet::new(vec![binding]).unwrap().evaluate(input.claims().unwrap());
    assert!(decision.into_approval().is_ok());
    let too_many: Vec<String> = (0..10_001).map(|n| format!("a{n}")).collect();
    let error: BindingError = bind(json!({ "workspaces": too_many })).unwrap_err();
    assert!(
        error.to_string().contains("/workspaces: expected at most 10000 workspaces"),
        "{error}"
    );
}
