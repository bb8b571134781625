//! Arbitrary bytes, loaded as a component.

use std::sync::Arc;

use countersign::{Decision, Policy, Settings};

use crate::{LIMITS, bind, decide, engine};

/// Loads the bytes, and evaluates what loads.
pub(crate) fn component(data: &[u8]) {
    drop(decision(data));
}

/// Decides by a policy set of this component alone, with empty settings. Returns `None` if it is not a
/// policy, or rejects the settings.
#[must_use]
pub fn decision(component: &[u8]) -> Option<Decision> {
    let policy = Policy::load(engine(), component, &LIMITS).ok()?;
    Some(decide(&bind(&Arc::new(policy), Settings::default(), LIMITS).ok()?))
}
