//! The JSON Schema of `countersign.toml`, for editors.

use std::collections::BTreeMap;

use countersign::Settings;
use countersign_schema::SettingsSchema;
use serde_json::{Map, Value, json};

use super::tables;

/// A policy that bindings name, with the schema of its settings.
#[derive(Debug)]
pub struct PolicySchema<'p> {
    /// The path that bindings have in `policy`, as it is written there.
    pub path: &'p str,
    /// The policy's own name.
    pub name: &'p str,
    /// The policy's own summary.
    pub summary: &'p str,
    /// The schema of its settings.
    pub schema: &'p SettingsSchema,
}

/// The JSON Schema of a manifest, in draft-07: what editors of TOML know best. The settings of a binding are those of
/// the policy at its path, where that is one of `policies`; else any table.
///
/// It says what [`Manifest::parse`](crate::Manifest::parse) takes, but for what a schema cannot
/// say: that names of bindings are there once, that the nil UUID is none, and the operator's own `[ceilings]`.
pub fn manifest_schema(policies: &[PolicySchema<'_>]) -> Value {
    let mut definitions = Map::new();
    let mut conditions = Vec::new();
    let mut used: BTreeMap<String, usize> = BTreeMap::new();
    for policy in policies {
        // Two components of one name may be two versions.
        let number = used.entry(policy.name.to_owned()).or_default();
        *number += 1;
        let name = match *number {
            1 => format!("settings-of-{}", policy.name),
            number => format!("settings-of-{}-{number}", policy.name),
        };
        for (own, mut schema) in policy.schema.draft7_definitions(&name) {
            if own == name
                && let Value::Object(members) = &mut schema
            {
                members.remove("title");
                members.entry("description").or_insert_with(|| policy.summary.into());
            }
            definitions.insert(own, schema);
        }
        conditions.push(condition(policy, &name));
    }
    tables::manifest(definitions, conditions)
}

/// The settings that a binding has whose policy is at a path.
fn condition(policy: &PolicySchema<'_>, definition: &str) -> Value {
    let settings = json!({ "$ref": format!("#/definitions/{definition}") });
    let mut then = json!({ "properties": { "settings": settings } });
    // Without settings they are `{}`, which the policy need not take.
    let empty = policy.schema.check(&Settings::default());
    if empty.is_ok_and(|problems| !problems.is_empty())
        && let Value::Object(then) = &mut then
    {
        let either = json!([{ "required": ["settings"] }, { "required": ["settings-file"] }]);
        then.insert("anyOf".to_owned(), either);
    }
    json!({
        "if": { "properties": { "policy": { "const": policy.path } }, "required": ["policy"] },
        "then": then,
    })
}
