//! The check that an engine has.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use countersign::{Description, Digest, Settings, SettingsProblem, SettingsValidator};

use crate::settings::SettingsSchema;
use crate::unusable::Unusable;

/// As many schemas are kept.
const KEPT: usize = 64;

/// Checks the settings of every binding against its policy's schema, before the policy is given them. For
/// [`EngineConfig::settings_check`](countersign::EngineConfig::settings_check).
///
/// Where a schema is not used, it says so once, and lets the settings pass.
///
/// ```
/// use std::sync::Arc;
/// use countersign::{Engine, EngineConfig};
/// use countersign_schema::SchemaCheck;
///
/// let check = SchemaCheck::new(|warning| eprintln!("{warning}"));
/// let settings_check = Some(Arc::new(check) as _);
/// let engine = Engine::with(EngineConfig { settings_check, ..EngineConfig::default() })?;
/// # Ok::<(), countersign::EngineError>(())
/// ```
pub struct SchemaCheck {
    /// By the digest of their text.
    schemas: Mutex<BTreeMap<Digest, Arc<Result<SettingsSchema, Unusable>>>>,
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

impl SchemaCheck {
    /// A check that says by `warn` which schema is not used, and why: one line, safe to show.
    pub fn new(warn: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { schemas: Mutex::default(), warn: Box::new(warn) }
    }

    fn not_used(&self, policy: &Description, why: &Unusable) {
        let why = countersign::visible(&why.to_string());
        (self.warn)(&format!(
            "the settings schema of the policy `{}` is not used: {why}; the policy checks its settings itself",
            policy.name
        ));
    }

    fn schema(&self, policy: &Description, text: &str) -> Arc<Result<SettingsSchema, Unusable>> {
        let digest = Digest::of(text.as_bytes());
        let known = |schemas: &BTreeMap<_, _>| schemas.get(&digest).map(Arc::clone);
        if let Some(schema) = known(&self.schemas.lock().unwrap_or_else(PoisonError::into_inner)) {
            return schema;
        }
        // Others need not wait for this one.
        let schema = Arc::new(SettingsSchema::parse(text));
        if let Err(why) = &*schema {
            self.not_used(policy, why);
        }
        let mut schemas = self.schemas.lock().unwrap_or_else(PoisonError::into_inner);
        if schemas.len() >= KEPT {
            schemas.clear();
        }
        schemas.insert(digest, Arc::clone(&schema));
        schema
    }
}

impl SettingsValidator for SchemaCheck {
    fn check(&self, policy: &Description, settings: &Settings) -> Vec<SettingsProblem> {
        let Some(text) = &policy.settings_schema else { return Vec::new() };
        let schema = self.schema(policy, text);
        // That it cannot be used at all was said when it was read.
        let Ok(schema) = &*schema else { return Vec::new() };
        schema.check(settings).unwrap_or_else(|why| {
            self.not_used(policy, &why);
            Vec::new()
        })
    }
}
