//! Policy sets that are measured.

use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, Engine, Limits, Mode, Policy, PolicySet, Scope, Settings,
};
use countersign_policy_artifacts::{
    ALLOWED_CONSUMERS, AUDIENCE_PER_IMPLEMENTATION, SAME_WORKSPACE, TRIGGER_GATE, TTL_CEILING,
};
use serde_json::{Value, json};

/// `same-workspace` alone, on a shared engine.
#[must_use]
#[expect(clippy::expect_used, reason = "a policy that loads")]
pub fn same_workspace_on(engine: &Engine) -> PolicySet {
    alone(engine, SAME_WORKSPACE, &Limits::DEFAULT).expect("a policy set")
}

/// `allowed-consumers` of 10,000 workspaces alone, the published run's in their midst, on an engine of its own.
#[must_use]
pub fn ten_thousand_workspaces() -> PolicySet {
    let mut workspaces: Vec<_> = (0..9_999).map(|n| format!("team-{n}")).collect();
    workspaces.insert(5_000, "my-workspace".to_owned());
    set_of(&[(ALLOWED_CONSUMERS, json!({"workspaces": workspaces}))])
}

/// Five policies of a platform team, each with its settings: as `peers` has them as rules of every engine.
#[must_use]
pub fn five_policies() -> Vec<(&'static [u8], Value)> {
    let mut workspaces: Vec<_> = (0..20).map(|n| format!("team-{n}")).collect();
    workspaces.push("my-workspace".to_owned());
    let audiences = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];
    let triggers = json!({
        "apply": ["user", "api-key"],
        "detect": ["user", "api-key", "api-user", "system"],
        "destroy": ["user"],
    });
    let ceilings = json!({"apply": 3600, "detect": 900, "destroy": 3600, "longer": "deny"});
    vec![
        (SAME_WORKSPACE, json!({"also": ["team-1", "team-2"], "also-max-ttl": 1800})),
        (ALLOWED_CONSUMERS, json!({"workspaces": workspaces})),
        (TTL_CEILING, ceilings),
        (AUDIENCE_PER_IMPLEMENTATION, json!({"implementations": {"terraform": audiences}})),
        (TRIGGER_GATE, json!({"behaviors": triggers})),
    ]
}

/// A set of policies that apply to every run, on an engine of its own.
#[must_use]
#[expect(clippy::expect_used, reason = "policies that load, with settings that they take")]
pub fn set_of(stack: &[(&'static [u8], Value)]) -> PolicySet {
    let engine = Engine::new().expect("an engine");
    let bindings = stack.iter().enumerate().map(|(index, (component, settings))| {
        let policy = Policy::load(&engine, component, &Limits::DEFAULT).expect("a policy");
        let config = config(index, settings, Scope::All);
        Binding::prepare(Arc::new(policy), config).expect("a binding")
    });
    PolicySet::new(bindings.collect()).expect("a set")
}

/// An enforcing binding with the default limits.
#[must_use]
#[expect(clippy::expect_used, reason = "a name and settings that parse")]
pub fn config(index: usize, settings: &Value, scope: Scope) -> BindingConfig {
    BindingConfig {
        name: format!("binding-{index}").parse().expect("a name"),
        settings: Settings::from_json(&settings.to_string()).expect("settings"),
        scope,
        mode: Mode::Enforce,
        may_permit: true,
        limits: Limits::DEFAULT,
        claims: vec![],
    }
}

/// Binds a component alone, to every run and without settings.
///
/// # Errors
/// Returns the code of the load error, or `settings` if the policy rejects its settings.
#[expect(clippy::expect_used, reason = "constants that parse, and one binding")]
pub fn alone(
    engine: &Engine,
    component: &[u8],
    limits: &Limits,
) -> Result<PolicySet, &'static str> {
    let policy = Policy::load(engine, component, limits).map_err(|error| error.code())?;
    let config = BindingConfig {
        name: "alone".parse().expect("a name"),
        settings: Settings::default(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: *limits,
        claims: vec![],
    };
    let binding = Binding::prepare(Arc::new(policy), config).map_err(|error| match error {
        BindingError::Configure { fault, .. } => fault.code(),
        BindingError::Settings { .. } => "settings",
        _ => "another error",
    })?;
    Ok(PolicySet::new(vec![binding]).expect("one binding"))
}
