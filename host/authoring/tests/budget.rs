//! The bound of evaluations that the wall-clock limit ends.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use countersign::{
    Audience, Binding, BindingConfig, Engine, EngineConfig, Facts, Fault, Limits, MeshstackId,
    Mode, Optimization, Policy, PolicySet, Run, Scope, Settings, SubjectFormat, SubjectTemplate,
    TokenRequest,
};
use countersign_authoring::{
    DecisionInput, EvaluationBudget, SettingsLiterals, StoppedBy, explain,
};
use countersign_hostile_policies::endless_loop;

const RUN: &[u8] = include_bytes!("../../../examples/run.json");

/// More fuel than a processor takes in that time.
const LIMITS: Limits = Limits { fuel: Limits::CEILING.fuel, wall_clock_ms: 20, ..Limits::DEFAULT };

fn policies() -> PolicySet {
    let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
    let policy = Policy::load(&Engine::with(config).unwrap(), &endless_loop(), &LIMITS).unwrap();
    let config = BindingConfig {
        name: "endless".parse().unwrap(),
        settings: Settings::default(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: LIMITS,
        claims: Vec::new(),
    };
    PolicySet::new(vec![Binding::prepare(Arc::new(policy), config).unwrap()]).unwrap()
}

fn input() -> DecisionInput {
    let meshstack_id = MeshstackId::parse("demo").unwrap();
    let audience = Audience::parse("api://AzureADTokenExchange").unwrap();
    DecisionInput {
        run: Run::parse(RUN).unwrap(),
        runner: None,
        facts: Facts::default(),
        subject: SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id },
        token: TokenRequest::new(vec![audience], 900, 1_790_000_000).unwrap(),
    }
}

#[test]
fn evaluations_that_end_by_deadline_have_a_bound_of_their_limits() {
    let mut budget = EvaluationBudget::new(u64::MAX).with_max_deadline_ms(100);
    let literals = SettingsLiterals::default();
    let explained = explain(&policies(), &input(), &literals, &mut budget).unwrap();
    let fault = explained.decision.trace().first().unwrap().result.clone().unwrap_err();
    assert_eq!(fault, Fault::Deadline { limit_ms: 20 });
    let count = explained.evaluations;
    assert_eq!((count.made, count.stopped_by), (5, Some(StoppedBy::Deadline { max_ms: 100 })));
    assert!(count.planned > 60, "{count}");
    let says = "evaluations: those that ended by `deadline` took the maximum of 100 ms together";
    assert!(count.to_string().ends_with(says), "{count}");
}

#[test]
fn each_evaluation_is_told_of() {
    let mut told = Vec::new();
    let mut budget =
        EvaluationBudget::new(u64::MAX).with_max_deadline_ms(60).watched_by(|made| told.push(made));
    explain(&policies(), &input(), &SettingsLiterals::default(), &mut budget).unwrap();
    drop(budget);
    assert_eq!(told, [1, 2, 3]);
}
