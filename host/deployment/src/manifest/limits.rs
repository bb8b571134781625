//! Limits as they are written, and their bounds.

use std::borrow::Cow;

use countersign::Limits;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::file::ManifestError;
use super::schema;

// The tables `limits` of a binding and `[ceilings]`. They have a description each, so none stands here.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsTable {
    /// The defaults of the limits that are not given.
    profile: Option<LimitsProfile>,
    /// The size of the component, in bytes.
    #[schemars(range(min = 1, max = Limits::CEILING.component_bytes))]
    component_bytes: Option<LimitValue>,
    /// The fuel of an evaluation: about one an instruction.
    #[schemars(range(min = 1, max = Limits::CEILING.fuel))]
    fuel: Option<LimitValue>,
    /// The fuel of `configure`, which takes the settings.
    #[schemars(range(min = 1, max = Limits::CEILING.configure_fuel))]
    configure_fuel: Option<LimitValue>,
    /// The linear memory, in bytes.
    #[schemars(range(min = 1, max = Limits::CEILING.memory_bytes))]
    memory_bytes: Option<LimitValue>,
    /// The native stack, in bytes.
    #[serde(default)]
    #[schemars(schema_with = "schema::stack_bytes")]
    stack_bytes: Option<LimitValue>,
    /// The size of a verdict, in bytes.
    #[schemars(range(min = 1, max = Limits::CEILING.output_bytes))]
    output_bytes: Option<LimitValue>,
    /// The wall-clock time of an evaluation, in milliseconds: a backstop.
    #[schemars(range(min = 1, max = Limits::CEILING.wall_clock_ms))]
    wall_clock_ms: Option<LimitValue>,
    /// The time to check and compile the component in a child process, in milliseconds.
    #[schemars(range(min = 1, max = Limits::CEILING.prepare_ms))]
    prepare_ms: Option<LimitValue>,
    /// The memory to check and compile the component, in bytes.
    #[schemars(range(
        min = Limits::MIN_PREPARE_MEMORY_BYTES,
        max = Limits::CEILING.prepare_memory_bytes
    ))]
    prepare_memory_bytes: Option<LimitValue>,
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
        let bounded = |limit, given: Option<LimitValue>, default, ceiling| match given {
            None => Ok(default),
            Some(LimitValue(found)) if (1..=ceiling).contains(&found) => Ok(found),
            Some(LimitValue(found)) => {
                Err(ManifestError::Limit { place: place(), limit, found, ceiling })
            }
        };
        let bounded_u32 = |limit, given, default: u32, ceiling: u32| {
            bounded(limit, given, default.into(), ceiling.into())
                // The ceiling is 32 bits wide, so the value is.
                .map(|value| u32::try_from(value).unwrap_or(ceiling))
        };
        macro_rules! limits {
            ($($read:ident $field:ident $key:literal,)*) => {
                Limits { $($field: $read($key, self.$field, default.$field, ceiling.$field)?),* }
            };
        }
        let limits = limits! {
            bounded component_bytes "component-bytes",
            bounded fuel "fuel",
            bounded configure_fuel "configure-fuel",
            bounded memory_bytes "memory-bytes",
            bounded_u32 stack_bytes "stack-bytes",
            bounded_u32 output_bytes "output-bytes",
            bounded_u32 wall_clock_ms "wall-clock-ms",
            bounded_u32 prepare_ms "prepare-ms",
            bounded prepare_memory_bytes "prepare-memory-bytes",
        };
        let (found, min) = (limits.prepare_memory_bytes, Limits::MIN_PREPARE_MEMORY_BYTES);
        if found < min {
            let limit = "prepare-memory-bytes";
            return Err(ManifestError::TooLow { place: place(), limit, found, min });
        }
        let stacks = Limits::MIN_STACK_BYTES..=Limits::CEILING.stack_bytes;
        if !limits.stack_bytes.is_power_of_two() || !stacks.contains(&limits.stack_bytes) {
            return Err(ManifestError::Stack { place: place(), found: limits.stack_bytes });
        }
        Ok(limits)
    }
}
