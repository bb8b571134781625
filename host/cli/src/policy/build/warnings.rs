//! Warnings of an engine.

use std::sync::Arc;

use anyhow::Result;
use countersign::{Binding, BindingError, Limits, Policy, Settings};
use serde_json::{Map, Value};

use super::binding;
use crate::progress;

/// The key of an engine's settings with which it takes no policy that has a warning, and says which.
const KEY: &str = "warnings";

/// Something that is likely to be a mistake. The text begins with file, line and column.
pub(super) struct Warning(pub String);

/// The warnings of a policy that its engine takes; none of an engine that has none to give.
pub(super) fn of_policy(
    policy: &Arc<Policy>,
    settings: &Settings,
    limits: Limits,
) -> Result<Vec<Warning>> {
    let schema = policy.description().settings_schema.as_deref().unwrap_or("{}");
    let schema: Value = serde_json::from_str(schema)?;
    if schema.pointer(&format!("/properties/{KEY}")).is_none() {
        return Ok(Vec::new());
    }
    let mut asked: Map<String, Value> = serde_json::from_str(settings.as_json())?;
    asked.insert(KEY.to_owned(), Value::Bool(true));
    let asked = Settings::from_json(&Value::Object(asked).to_string())?;
    let config = binding(asked, limits)?;
    let prepared = progress::with_spinner("looking for warnings", || {
        Binding::prepare(Arc::clone(policy), config)
    });
    match prepared {
        Err(BindingError::Settings { problems, .. }) => {
            Ok(problems.into_iter().map(|problem| Warning(problem.message)).collect())
        }
        Ok(_) => Ok(Vec::new()),
        // The policy itself was taken before, so this is one of the additional work; and it is not known that there is none.
        Err(error) => Ok(vec![Warning(format!("failed to look for warnings: {error}"))]),
    }
}
