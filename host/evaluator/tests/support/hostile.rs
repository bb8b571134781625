//! Checks the outcome of a hostile component, and that it affects nothing else.

use std::sync::{Arc, OnceLock};

use countersign::{
    Binding, BindingConfig, BindingError, Digest, Limits, LoadError, Mode, Outcome, Policy,
    PolicySet, Scope, Settings,
};

use super::{claims, enforce, engine, set};

pub const LIMITS: Limits =
    Limits { wall_clock_ms: Limits::CEILING.wall_clock_ms, ..Limits::DEFAULT };

/// The decision of an honest set, which nothing may change.
pub fn honest() -> Digest {
    static SET: OnceLock<PolicySet> = OnceLock::new();
    let honest = || set(&[enforce("honest", r#"{"permit": {"max-ttl": 900}}"#)]);
    SET.get_or_init(honest).evaluate(claims()).id()
}

pub fn load(component: &[u8]) -> Result<Policy, LoadError> {
    Policy::load(engine(), component, &LIMITS)
}

pub fn binding(policy: Policy) -> Result<Binding, BindingError> {
    binding_within(Arc::new(policy), LIMITS)
}

pub fn binding_within(policy: Arc<Policy>, limits: Limits) -> Result<Binding, BindingError> {
    let config = BindingConfig {
        name: "hostile".parse().unwrap(),
        settings: Settings::default(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits,
        claims: vec![],
    };
    Binding::prepare(policy, config)
}

/// Loads, binds and evaluates: the code of where that ends. `abstain`, `restrict`, `permit` and `deny`
/// stand for verdicts.
pub fn end_of(component: &[u8]) -> String {
    let policy = match load(component) {
        Ok(policy) => policy,
        Err(error) => return error.code().to_owned(),
    };
    let binding = match binding(policy) {
        Ok(binding) => binding,
        Err(BindingError::Configure { fault, .. }) => return fault.code().to_owned(),
        Err(BindingError::Settings { .. }) => return "settings".to_owned(),
        Err(other) => panic!("{other}"),
    };
    let set = PolicySet::new(vec![binding]).unwrap();
    let (first, second) = (set.evaluate(claims()), set.evaluate(claims()));
    assert_eq!(first.id(), second.id(), "the same answer twice");
    match first.outcome() {
        Outcome::Approved(_) => "permit".to_owned(),
        Outcome::Refused(reasons) => match &first.trace()[0].result {
            Ok(countersign::Verdict::Abstain) => "abstain".to_owned(),
            Ok(countersign::Verdict::Restrict(_)) => "restrict".to_owned(),
            Ok(_) => "deny".to_owned(),
            Err(fault) => {
                assert_eq!(reasons[0].code, fault.code());
                fault.code().to_owned()
            }
        },
    }
}

/// Expects a component to end so, and the next honest request to be answered as before.
#[track_caller]
pub fn check(component: &[u8], code: &str) {
    let before = honest();
    assert_eq!(end_of(component), code);
    assert_eq!(honest(), before, "an honest request is answered as before");
}
