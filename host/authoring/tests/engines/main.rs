//! The components that hold an engine: what they are, what they say of texts, and that they answer as the engine does as
//! a library of a native program.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod alike;
mod cel;
mod choices;
mod comparison;
mod contract;
mod hostile;
mod javascript;
mod python;
mod recipes;
mod reference;
mod rego;
mod texts;
mod verdicts;

use std::path::Path;
use std::sync::Arc;

use countersign::{
    Audience, Binding, BindingConfig, BindingError, Claims, Engine, EngineConfig, Facts, Limits,
    Mode, Optimization, Policy, PolicySet, Run, RunnerId, Scope, Settings, SubjectFormat,
    SubjectTemplate, TokenRequest, imports,
};
use countersign_engines::{EngineName, Places};
use serde_json::{Value, json};

const RUN: &str = include_str!("../../../../examples/run.json");
const RULES_REGO: &str = include_str!("rules.rego");
const RULES_CEDAR: &str = include_str!("rules.cedar");
const POLICY_JAVASCRIPT: &str = include_str!("../../../cli/templates/javascript/policy.js");
const CEDAR_SCHEMA: &str =
    include_str!("../../../../guest-policies/engines/cedar/src/schema.cedarschema");

/// A busy machine must not change a verdict.
const LIMITS: Limits = Limits { wall_clock_ms: 10_000, ..Limits::INTERPRETER };

/// The component of an engine, which `make engines` has built.
fn component(engine: EngineName) -> Vec<u8> {
    let program = std::env::current_exe().unwrap();
    Places::of(Some(&program), None).read(engine).unwrap_or_else(|error| panic!("{error}"))
}

fn prepare(component: &[u8], settings: &Value) -> Result<PolicySet, BindingError> {
    let policy = Policy::load(&Engine::new().unwrap(), component, &LIMITS).unwrap();
    bind(&Arc::new(policy), settings)
}

/// A policy that is compiled once and takes its settings in each evaluation: a snapshot of an engine for each text
/// would take seconds, and answers are the same without.
fn unoptimised(component: &[u8]) -> Arc<Policy> {
    let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
    Arc::new(Policy::load(&Engine::with(config).unwrap(), component, &LIMITS).unwrap())
}

fn bind(policy: &Arc<Policy>, settings: &Value) -> Result<PolicySet, BindingError> {
    bind_within(policy, settings, LIMITS)
}

fn bind_within(
    policy: &Arc<Policy>,
    settings: &Value,
    limits: Limits,
) -> Result<PolicySet, BindingError> {
    let config = BindingConfig {
        name: "engine".parse().unwrap(),
        settings: Settings::from_json(&settings.to_string()).unwrap(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits,
        claims: vec!["team".parse().unwrap()],
    };
    Ok(PolicySet::new(vec![Binding::prepare(Arc::clone(policy), config)?]).unwrap())
}

/// The claims of a run that asks for two audiences and an hour.
fn claims_of(run: &str, runner: Option<RunnerId>, facts: Facts) -> Claims {
    let audiences = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];
    let audiences = audiences.map(|audience| Audience::parse(audience).unwrap()).to_vec();
    let token = TokenRequest::new(audiences, 3600, 1_790_000_001).unwrap();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "demo".parse().unwrap(),
    };
    Claims::new(Run::parse(run.as_bytes()).unwrap(), runner, facts, &subject, token).unwrap()
}

fn rego() -> Value {
    json!({
        "policy": RULES_REGO,
        "data": {
            "also": {"team-a": true, "team-b": true},
            "also_max_ttl": 900,
            "ceilings": {"apply": 3600, "destroy": 1800},
            "triggers": {"destroy": {"user": true}, "apply": {"user": true, "api-key": true}},
        },
    })
}

fn cedar() -> Value {
    let member = |name: &str| {
        json!({
            "uid": {"type": "Workspace", "id": name},
            "attrs": {},
            "parents": [{"type": "Group", "id": "also"}],
        })
    };
    json!({"policies": RULES_CEDAR, "entities": [member("team-a"), member("team-b")]})
}

/// Checks that an engine refuses settings with a message that has this text.
#[track_caller]
fn check_refused(engine: &Arc<Policy>, settings: &Value, says: &str) {
    let text = refusal(engine, settings);
    assert!(text.contains(says), "{settings}: expected {says}, found {text}");
}

/// The error of settings that are not taken.
fn refusal(engine: &Arc<Policy>, settings: &Value) -> String {
    match bind(engine, settings).unwrap_err() {
        error @ BindingError::Settings { .. } => error.to_string(),
        other => panic!("{settings}: {other}"),
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn they_import_nothing_and_say_what_they_are() {
    for engine in EngineName::ALL {
        let (component, name) = (component(engine), engine.as_str());
        assert_eq!(imports(&component), Ok(vec![]));
        // What it is does not depend on where it was built.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
        for place in [root.to_str().unwrap(), "/registry/src/"] {
            assert!(
                !component.windows(place.len()).any(|bytes| bytes == place.as_bytes()),
                "{name}: {place}"
            );
        }
        let policy = Policy::load(&Engine::new().unwrap(), &component, &LIMITS).unwrap();
        assert_eq!(policy.description().name, engine.package());
        let schema: Value =
            serde_json::from_str(policy.description().settings_schema.as_deref().unwrap()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        // What `configure` left is what an evaluation begins with.
        let settings = match engine {
            EngineName::Cedar => cedar(),
            EngineName::Cel => cel::settings(),
            EngineName::Javascript => json!({"files": {"policy.js": POLICY_JAVASCRIPT}}),
            EngineName::Python => python::settings(),
            EngineName::Rego => rego(),
        };
        let set = bind(&Arc::new(policy), &settings).unwrap();
        let binding = &set.bindings()[0];
        assert_eq!(binding.prepared().unwrap().no_snapshot, None, "{name}");
    }
}
