//! Limits as they are written, and their bounds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use countersign::{LimitField, Limits};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, json};

use super::file::ManifestError;

/// The tables `limits` of a binding and `[ceilings]`: a profile, and values by the keys of [`Limits::FIELDS`].
#[derive(Default)]
pub(super) struct LimitsTable {
    profile: Option<LimitsProfile>,
    values: BTreeMap<&'static str, u64>,
}

/// Key of the profile, beside those of limits.
const PROFILE: &str = "profile";

/// The keys that such a table can have.
static KEYS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    [PROFILE].into_iter().chain(Limits::FIELDS.iter().map(|field| field.key)).collect()
});

impl<'de> Deserialize<'de> for LimitsTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LimitsVisitor)
    }
}

struct LimitsVisitor;

impl<'de> Visitor<'de> for LimitsVisitor {
    type Value = LimitsTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table of limits")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LimitsTable, A::Error> {
        let mut table = LimitsTable::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key.0 {
                PROFILE => table.profile = Some(map.next_value()?),
                limit => {
                    let LimitValue(value) = map.next_value()?;
                    table.values.insert(limit, value);
                }
            }
        }
        Ok(table)
    }
}

/// One of [`KEYS`]. Parsed as a key, so that the error of another one has its line and column.
struct Key(&'static str);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = KEYS.iter().find(|key| **key == text);
        known.map(|key| Self(key)).ok_or_else(|| D::Error::unknown_field(&text, &KEYS))
    }
}

impl JsonSchema for LimitsTable {
    fn schema_name() -> Cow<'static, str> {
        "limits".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let property = |field: &LimitField| {
            // The smallest and the ceiling, or the few values between them.
            let property = match field.choices() {
                Some(choices) => json!({ "description": field.summary, "enum": choices }),
                None => json!({
                    "description": field.summary,
                    "type": "integer",
                    "minimum": field.min,
                    "maximum": field.get(&Limits::CEILING),
                }),
            };
            (field.key.to_owned(), property)
        };
        let mut properties: Map<_, _> = Limits::FIELDS.iter().map(property).collect();
        let mut profile = generator.subschema_for::<LimitsProfile>();
        let description = "The defaults of the limits that are not given.";
        profile.insert("description".to_owned(), description.into());
        properties.insert(PROFILE.to_owned(), profile.to_value());
        json_schema!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
        })
    }
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum LimitsProfile {
    Compiled,
    Interpreter,
}

/// A limit as it is written; its bounds are checked where the limit is known.
#[derive(Clone, Copy)]
pub(super) struct LimitValue(pub(super) u64);

impl JsonSchema for LimitValue {
    fn schema_name() -> Cow<'static, str> {
        "limit".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer" })
    }
}

impl<'de> Deserialize<'de> for LimitValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
        .map(Self)
        .ok_or_else(|| D::Error::custom("expected a whole number from 0 to 2^63 - 1"))
    }
}

impl LimitsTable {
    /// The limits, each from 1 to its ceiling and, where it is not given, the profile's, or else
    /// `default`. `place` is where the table is, for errors.
    pub(super) fn within(
        &self,
        place: &dyn Fn() -> String,
        default: &Limits,
        ceiling: &Limits,
    ) -> Result<Limits, ManifestError> {
        let default = &match self.profile {
            Some(LimitsProfile::Compiled) => Limits::DEFAULT.at_most(ceiling),
            Some(LimitsProfile::Interpreter) => Limits::INTERPRETER.at_most(ceiling),
            None => *default,
        };
        let value = |field: &LimitField| {
            self.values.get(field.key).copied().unwrap_or_else(|| field.get(default))
        };
        Limits::bounded(value, ceiling)
            .map_err(|problem| ManifestError::Limit { place: place(), problem })
    }
}
