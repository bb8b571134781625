//! The JSON Schema of `countersign.toml`, for editors.

use std::collections::BTreeMap;

use countersign::{Settings, SubjectFormat};
use countersign_clouds::Cloud;
use countersign_schema::SettingsSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::file::ManifestFile;

/// The characters of a registry's name, and of a repository with the ones above it.
const REGISTRY: &str = "^[a-z0-9.:\\[\\]-]+$";
const REPOSITORY_PREFIX: &str = "^[a-z0-9.:\\[\\]-]+(/[a-z0-9._-]+)*$";

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
/// It is derived from the tables of the parser, so that a key cannot be in one and not in the other, and takes what
/// [`Manifest::parse`](crate::Manifest::parse) takes, but for what a schema cannot say: that names of bindings are there once, that the nil UUID is none, and the operator's own `[ceilings]`.
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
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    settings.transforms.push(Box::new(WithoutNull));
    let mut manifest = settings.into_generator().into_root_schema_for::<ManifestFile>().to_value();
    let binding = manifest.pointer_mut("/properties/binding/items").and_then(Value::as_object_mut);
    if let Some(binding) = binding.filter(|_| !conditions.is_empty()) {
        binding.insert("allOf".to_owned(), Value::Array(conditions));
    }
    if let Value::Object(members) = &mut manifest
        && !definitions.is_empty()
    {
        members.insert("definitions".to_owned(), Value::Object(definitions));
    }
    manifest
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

/// Removes `null`, which TOML does not have: an optional key is one that may be left out.
#[derive(Debug, Clone)]
struct WithoutNull;

impl Transform for WithoutNull {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(members) = schema.as_object_mut() else { return };
        if members.get("default").is_some_and(Value::is_null) {
            members.remove("default");
        }
        if let Some(Value::Array(words)) = members.get_mut("enum") {
            words.retain(|word| !word.is_null());
        }
        if let Some(Value::Array(types)) = members.get_mut("type") {
            types.retain(|word| word != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                members.insert("type".to_owned(), only);
            }
        }
        // An optional table: the table alone, with the description of its key.
        if let Some(Value::Array(mut either)) = members.remove("anyOf") {
            either.retain(|schema| schema != &json!({ "type": "null" }));
            match either.as_mut_slice() {
                [Value::Object(only)] => {
                    for (keyword, value) in std::mem::take(only) {
                        members.entry(keyword).or_insert(value);
                    }
                }
                _ => drop(members.insert("anyOf".to_owned(), Value::Array(either))),
            }
        }
    }
}

pub(super) fn name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 63, "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$" })
}

pub(super) fn digest(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
}

pub(super) fn registry(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "maxLength": 255, "pattern": REGISTRY })
}

pub(super) fn registries(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": registry(generator) })
}

pub(super) fn repository_prefix(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": REPOSITORY_PREFIX })
}

/// A date and time, which is no string in TOML, and has no type that a schema could name.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({})
}

pub(super) fn table(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

pub(super) fn claims(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._:/-]{0,127}$" },
    })
}

pub(super) fn subject_format(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": SubjectFormat::ALL.map(SubjectFormat::as_str) })
}

pub(super) fn subject_formats(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": uuid(),
        "additionalProperties": subject_format(generator),
    })
}

pub(super) fn audiences(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "propertyNames": { "pattern": "^[!-~]{1,256}$" },
        "additionalProperties": { "enum": Cloud::ALL.map(Cloud::as_str) },
    })
}

pub(super) fn scope(generator: &mut SchemaGenerator) -> Schema {
    let one = |key: &str, description: &str, mut schema: Value| {
        if let Value::Object(members) = &mut schema {
            members.insert("description".to_owned(), description.into());
        }
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": [key],
            "properties": { key: schema },
        })
    };
    let name = name(generator).to_value();
    let of_definitions = "Runs of every definition of this workspace.";
    let of_building_blocks = "Runs of every building block of this workspace.";
    json_schema!({
        "oneOf": [
            { "const": "all" },
            one("definition-workspace", of_definitions, name.clone()),
            one("definition", "Runs of this definition.", uuid()),
            one("owning-workspace", of_building_blocks, name),
        ],
    })
}

fn uuid() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" })
}
