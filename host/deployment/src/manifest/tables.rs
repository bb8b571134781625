//! The tables of a manifest.

use countersign::{LimitField, Limits};
use countersign_clouds::Cloud;
use serde_json::{Map, Value, json};

use super::PreparationEntry;

/// What TOML has for a whole number, at most.
const LARGEST: u64 = i64::MAX.unsigned_abs();

/// The whole, with definitions and what holds of bindings by their policy.
pub(super) fn manifest(definitions: Map<String, Value>, conditions: Vec<Value>) -> Value {
    let mut binding = binding();
    let mut manifest = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "countersign.toml",
        "description": "What decides about tokens, binding by binding.",
        "type": "object",
        "additionalProperties": false,
        "required": ["binding"],
        "properties": {
            "issuer": issuer(),
            "ceilings": limits("The most that a binding can ask for in its `limits`."),
            "preparation": preparation(),
        },
    });
    if !conditions.is_empty() {
        set(&mut binding, "allOf", Value::Array(conditions));
    }
    let bindings = json!({
        "description": "Which policy decides about which runs. All that apply are evaluated.",
        "type": "array",
        "minItems": 1,
        "items": binding,
    });
    if let Some(properties) = manifest.get_mut("properties") {
        set(properties, "binding", bindings);
    }
    if !definitions.is_empty() {
        set(&mut manifest, "definitions", Value::Object(definitions));
    }
    manifest
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(key.to_owned(), value);
    }
}

fn issuer() -> Value {
    let clouds = Cloud::ALL.map(Cloud::as_str);
    let profile = json!(["by-definition", "by-runner"]);
    json!({
        "description": "Who issues the tokens.",
        "type": "object",
        "additionalProperties": false,
        "required": ["meshstack-id"],
        "properties": {
            "url": { "description": "`iss` of every token.", "type": "string" },
            "meshstack-id": name("The installation that stands in every subject."),
            "subject-profile": {
                "description": "The form of subjects: by-definition unless given.",
                "enum": profile,
                "default": "by-definition",
            },
            "subject-profiles": {
                "description": "Definitions whose subjects have another form, by UUID.",
                "type": "object",
                "propertyNames": uuid(),
                "additionalProperties": { "enum": profile },
            },
            "subject-moves": {
                "description": "The file of definitions that are moved from one form to the other.",
                "type": "string",
            },
            "audiences": {
                "description": "Which cloud takes audiences that have no usual form.",
                "type": "object",
                "propertyNames": { "pattern": "^[!-~]{1,256}$" },
                "additionalProperties": { "enum": clouds },
            },
        },
    })
}

fn preparation() -> Value {
    let least = PreparationEntry::MIN_RESIDENT_BYTES;
    json!({
        "description": "When bindings are prepared, and what is held of them.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "bindings": {
                "description": "Before anything is decided, or when a run first needs one.",
                "enum": ["at-start", "when-needed"],
                "default": "at-start",
            },
            "resident-bytes": whole("The most bytes of compiled code that are held.", least, LARGEST),
        },
    })
}

fn binding() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "policy", "scope"],
        "not": { "required": ["settings", "settings-file"] },
        "properties": {
            "name": name("Unique in the manifest."),
            "policy": {
                "description": "The component; a path relative to the manifest.",
                "type": "string",
            },
            "digest": {
                "description": "The digest that the component must have; `countersign inspect` prints it.",
                "type": "string",
                "pattern": "^sha256:[0-9a-f]{64}$",
            },
            "scope": scope(),
            "mode": {
                "description": "Whether it decides, or is only evaluated and recorded.",
                "enum": ["enforce", "shadow"],
                "default": "enforce",
            },
            "settings": { "description": "The settings of the policy.", "type": "object" },
            "settings-file": {
                "description": "In the place of `settings`: a JSON file; a path relative to the manifest.",
                "type": "string",
            },
            "limits": limits("What it may use."),
            "claims": {
                "description": "Names of claims that the policy may add to a token; none unless given.",
                "type": "array",
                "items": { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._:/-]{0,127}$" },
            },
        },
    })
}

fn scope() -> Value {
    let one = |key: &str, schema: Value| {
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": [key],
            "properties": { key: schema },
        })
    };
    let mut definition = uuid();
    set(&mut definition, "description", "Runs of this definition.".into());
    json!({
        "description": "Which runs it applies to.",
        "oneOf": [
            { "const": "all" },
            one("definition-workspace", name("Runs of every definition of this workspace.")),
            one("definition", definition),
            one("owning-workspace", name("Runs of every building block of this workspace.")),
        ],
    })
}

/// The limits, as a binding has them and `[ceilings]`: a property for each row of their table.
fn limits(description: &str) -> Value {
    let limit = |field: &LimitField| {
        let property = match field.choices() {
            Some(choices) => json!({ "description": field.summary, "enum": choices }),
            None => whole(field.summary, field.min, field.get(&Limits::CEILING)),
        };
        (field.key.to_owned(), property)
    };
    let profile = json!({
        "description": "What the limits are that are not given.",
        "enum": ["compiled", "interpreter"],
    });
    let mut properties: Map<_, _> = Limits::FIELDS.iter().map(limit).collect();
    properties.insert("profile".to_owned(), profile);
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn whole(description: &str, least: u64, most: u64) -> Value {
    json!({ "description": description, "type": "integer", "minimum": least, "maximum": most })
}

fn name(description: &str) -> Value {
    json!({
        "description": description,
        "type": "string",
        "maxLength": 63,
        "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
    })
}

fn uuid() -> Value {
    json!({ "type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$" })
}
