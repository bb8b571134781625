//! Limits as they are written, and their bounds.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::file::ManifestError;
use crate::limits::Limits;
use crate::sandbox::wasmtime_config::stack_of;

/// The tables `limits` of a binding and `[ceilings]`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct LimitsTable {
    profile: Option<ProfileWord>,
    component_bytes: Option<LimitValue>,
    fuel: Option<LimitValue>,
    configure_fuel: Option<LimitValue>,
    memory_bytes: Option<LimitValue>,
    stack_bytes: Option<LimitValue>,
    output_bytes: Option<LimitValue>,
    wall_clock_ms: Option<LimitValue>,
    prepare_ms: Option<LimitValue>,
    prepare_memory_bytes: Option<LimitValue>,
}

/// What the limits are that are not given.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum ProfileWord {
    Compiled,
    Interpreter,
}

/// A limit as it is written; its bounds are checked where the limit is known.
#[derive(Clone, Copy)]
pub(super) struct LimitValue(pub(super) u64);

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
            Some(ProfileWord::Compiled) => Limits::DEFAULT.at_most(ceiling),
            Some(ProfileWord::Interpreter) => Limits::INTERPRETER.at_most(ceiling),
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
        let (found, least) = (limits.prepare_memory_bytes, Limits::MIN_PREPARE_MEMORY_BYTES);
        if found < least {
            let limit = "prepare-memory-bytes";
            return Err(ManifestError::TooLow { place: place(), limit, found, least });
        }
        if limits.stack_bytes != stack_of(limits.stack_bytes) {
            return Err(ManifestError::Stack { place: place(), found: limits.stack_bytes });
        }
        Ok(limits)
    }
}
