//! Translates draft 2020-12 to draft-07, which TOML editors support.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::keywords::{Holds, holds};
use crate::read::{DEFINITIONS, Read};

/// Returns the schema and its definitions with their names in a draft-07 document: `name`, and `name.DEFINITION`.
///
/// Keywords that draft-07 lacks (`unevaluated…`, `minContains`, `maxContains`) are dropped: the schema then accepts more
/// than before, never less. Patterns keep their original text. Null defaults are dropped, since TOML has no null.
pub(crate) fn definitions(read: &Read, name: &str) -> Vec<(String, Value)> {
    let translation = Translation { name, patterns: &read.patterns };
    let mut definitions = vec![(name.to_owned(), translation.schema(&read.root))];
    definitions.extend(
        read.definitions
            .iter()
            .map(|(own, schema)| (translation.definition(own), translation.schema(schema))),
    );
    definitions
}

struct Translation<'r> {
    name: &'r str,
    patterns: &'r BTreeMap<String, String>,
}

impl Translation<'_> {
    fn definition(&self, own: &str) -> String {
        format!("{}.{own}", self.name)
    }

    fn schema(&self, schema: &Value) -> Value {
        let Value::Object(schema) = schema else { return schema.clone() };
        let mut translated = Map::new();
        for (keyword, value) in schema {
            let (keyword, value) = match (keyword.as_str(), holds(keyword)) {
                (
                    "unevaluatedItems" | "unevaluatedProperties" | "minContains" | "maxContains",
                    _,
                ) => continue,
                // Draft-07 cannot express `minContains`, and its `contains` would demand one item even for 0.
                ("contains", _) if schema.contains_key("minContains") => continue,
                ("dependentRequired" | "dependentSchemas", _) => continue,
                ("default", _) if value.is_null() => continue,
                ("prefixItems", _) => ("items", self.schemas(value)),
                ("items", _) if schema.contains_key("prefixItems") => {
                    ("additionalItems", self.schema(value))
                }
                (keyword, Some(Holds::Schema)) => (keyword, self.schema(value)),
                (keyword, Some(Holds::Schemas)) => (keyword, self.schemas(value)),
                (keyword, Some(Holds::Named)) => (keyword, self.named(value, str::to_owned)),
                (keyword, Some(Holds::ByPattern)) => {
                    (keyword, self.named(value, |pattern| self.pattern(pattern)))
                }
                (keyword, Some(Holds::Pattern)) => {
                    (keyword, self.pattern(value.as_str().unwrap_or_default()).into())
                }
                (keyword, Some(Holds::Reference)) => (keyword, self.reference(value)),
                (keyword, _) => (keyword, value.clone()),
            };
            translated.insert(keyword.to_owned(), value);
        }
        let dependencies = self.dependencies(schema);
        if !dependencies.is_empty() {
            translated.insert("dependencies".to_owned(), Value::Object(dependencies));
        }
        // Draft-07 ignores keywords beside `$ref`.
        if translated.len() > 1
            && let Some(reference) = translated.remove("$ref")
        {
            let reference = json!({ "$ref": reference });
            match translated.get_mut("allOf").and_then(Value::as_array_mut) {
                Some(all) => all.push(reference),
                None => drop(translated.insert("allOf".to_owned(), json!([reference]))),
            }
        }
        Value::Object(translated)
    }

    fn schemas(&self, schemas: &Value) -> Value {
        schemas.as_array().into_iter().flatten().map(|schema| self.schema(schema)).collect()
    }

    fn named(&self, schemas: &Value, name: impl Fn(&str) -> String) -> Value {
        let named = schemas.as_object().into_iter().flatten();
        let named = named.map(|(own, schema)| (name(own), self.schema(schema)));
        Value::Object(named.collect())
    }

    /// Returns the original text of a pattern.
    fn pattern(&self, translated: &str) -> String {
        self.patterns.get(translated).map_or(translated, String::as_str).to_owned()
    }

    fn reference(&self, reference: &Value) -> Value {
        let own = reference.as_str().and_then(|text| text.strip_prefix(DEFINITIONS));
        format!("#/definitions/{}", self.definition(own.unwrap_or_default())).into()
    }

    fn dependencies(&self, schema: &Map<String, Value>) -> Map<String, Value> {
        let members = |keyword: &str| schema.get(keyword).and_then(Value::as_object);
        let mut dependencies = Map::new();
        for (key, required) in members("dependentRequired").into_iter().flatten() {
            dependencies.insert(key.clone(), required.clone());
        }
        for (key, inner) in members("dependentSchemas").into_iter().flatten() {
            let inner = self.schema(inner);
            let both = match dependencies.remove(key) {
                Some(required) => json!({ "allOf": [{ "required": required }, inner] }),
                None => inner,
            };
            dependencies.insert(key.clone(), both);
        }
        dependencies
    }
}
