//! The six policies, each by the cases in its folder, through the real component.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, Claims, Grant, Limits, Mode, Policy, PolicySet, Run,
    Scope, Settings, Verdict, imports,
};
use serde::Deserialize;
use serde_json::{Value, json};
use support::{NOW, PUBLISHED_RUN, engine};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
    settings: Vec<SettingsCase>,
}

/// A run and a token, and the verdict on them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "no_settings")]
    settings: Value,
    /// Changes to the published run, by JSON pointer.
    #[serde(default)]
    set: serde_json::Map<String, Value>,
    #[serde(default)]
    token: TokenCase,
    expect: Expected,
}

/// Settings that do not fit, and where.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettingsCase {
    name: String,
    settings: Value,
    pointer: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TokenCase {
    audiences: Option<Vec<String>>,
    ttl: Option<u32>,
    now: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expected {
    Permit(ExpectedGrant),
    Deny(String),
    Abstain,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ExpectedGrant {
    max_ttl: Option<u32>,
    audiences: Option<Vec<String>>,
}

fn no_settings() -> Value {
    json!({})
}

fn folder(policy: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../guest-policies").join(policy)
}

fn prepare(policy: &Arc<Policy>, settings: &Value) -> Result<Binding, BindingError> {
    let config = BindingConfig {
        name: "case".parse().unwrap(),
        settings: Settings::from_json(&settings.to_string()).unwrap(),
        scope: Scope::All,
        mode: Mode::Enforce,
        limits: Limits::DEFAULT,
        claims: vec![],
    };
    Binding::prepare(Arc::clone(policy), config)
}

impl Case {
    fn claims(&self) -> Claims {
        let mut run: Value = serde_json::from_str(PUBLISHED_RUN).unwrap();
        for (pointer, value) in &self.set {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            run.pointer_mut(parent).unwrap()[key] = value.clone();
        }
        let audiences = self.token.audiences.clone().unwrap_or_else(|| {
            vec!["aws-workload-identity-provider:demo".into(), "api://AzureADTokenExchange".into()]
        });
        let token = countersign::TokenRequest::new(
            audiences.iter().map(|audience| audience.parse().unwrap()).collect(),
            self.token.ttl.unwrap_or(7200),
            self.token.now.unwrap_or(NOW),
        );
        let run = Run::parse(run.to_string().as_bytes()).unwrap();
        support::claims_for(run, token.unwrap())
    }
}

/// Runs every case of a policy, and sees that its folder has what a folder must.
#[track_caller]
fn check(name: &str, component: &[u8]) {
    let read = |file: &str| std::fs::read_to_string(folder(name).join(file)).unwrap();
    let policy = Arc::new(Policy::load(engine(), component, &Limits::DEFAULT).unwrap());

    assert_eq!(imports(component), Ok(vec![]));
    assert!(component.len() < 100 << 10, "{} bytes", component.len());
    assert_eq!(policy.description().name, name);
    assert_eq!(policy.description().settings_schema, Some(read("settings.schema.json")));
    assert!(read("README.md").starts_with(&format!("# {name}\n")));

    let cases: Cases = toml::from_str(&read("cases.toml")).unwrap();
    for case in &cases.case {
        let binding = prepare(&policy, &case.settings)
            .unwrap_or_else(|error| panic!("{name}: {}: {error}", case.name));
        let decision = PolicySet::new(vec![binding]).unwrap().evaluate(case.claims());
        let verdict = decision.trace()[0].result.clone();
        match (&case.expect, &verdict) {
            (Expected::Permit(expected), Ok(Verdict::Permit(grant))) => {
                let audiences = expected.audiences.as_ref().map(|kept| {
                    kept.iter().map(|audience| audience.parse().unwrap()).collect::<Vec<_>>()
                });
                let expected = Grant { max_ttl: expected.max_ttl, audiences, ..Grant::default() };
                assert_eq!(*grant, expected, "{}", case.name);
            }
            (Expected::Deny(code), Ok(Verdict::Deny(reasons))) => {
                let codes: Vec<_> = reasons.iter().map(|reason| &reason.code).collect();
                assert_eq!(codes, [code], "{}", case.name);
            }
            (Expected::Abstain, Ok(Verdict::Abstain)) => {}
            (_, verdict) => panic!("{name}: {}: {verdict:?}", case.name),
        }
    }
    let some = |matches: fn(&Expected) -> bool| cases.case.iter().any(|c| matches(&c.expect));
    assert!(some(
        |e| matches!(e, Expected::Permit(g) if g.max_ttl.is_none() && g.audiences.is_none())
    ));
    assert!(some(
        |e| matches!(e, Expected::Permit(g) if g.max_ttl.is_some() || g.audiences.is_some())
    ));
    assert!(some(|e| matches!(e, Expected::Deny(_))));

    for case in &cases.settings {
        match prepare(&policy, &case.settings) {
            Err(BindingError::Settings { problems, .. }) => {
                assert_eq!(
                    problems[0].pointer, case.pointer,
                    "{name}: {}: {problems:?}",
                    case.name
                );
            }
            other => panic!("{name}: {}: {other:?}", case.name),
        }
    }
}

#[test]
fn every_policy_does_what_its_cases_say() {
    let policies = countersign_policy_artifacts::POLICIES;
    assert_eq!(policies.len(), 6);
    policies.iter().for_each(|(name, component)| check(name, component));
}

#[test]
fn allowed_consumers_takes_ten_thousand_workspaces() {
    let component = countersign_policy_artifacts::ALLOWED_CONSUMERS;
    let policy = Arc::new(Policy::load(engine(), component, &Limits::DEFAULT).unwrap());
    let mut workspaces: Vec<String> = (0..9_999).map(|n| format!("workspace-{n:050}")).collect();
    workspaces.push("team-a".to_owned());
    let binding = prepare(&policy, &json!({ "workspaces": workspaces })).unwrap();
    let decision = PolicySet::new(vec![binding]).unwrap().evaluate(support::claims());
    assert_eq!(decision.trace()[0].result, Ok(Verdict::Permit(Grant::default())));
    let error = prepare(&policy, &json!({ "workspaces": vec!["a"; 10_001] })).unwrap_err();
    assert!(
        error.to_string().contains("/workspaces: expected at most 10000 workspaces"),
        "{error}"
    );
}
