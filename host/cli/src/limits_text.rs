//! Limits, and what is used of them: for people and as JSON.

use std::collections::BTreeMap;

use countersign::{ConfigureUsage, LimitField, Limits, Policy};
use serde::{Serialize, Serializer};

/// The limits of a binding, or the defaults, with what is used of each: in the order of [`Limits::FIELDS`].
pub struct LimitsJson(Vec<(&'static LimitField, LimitJson)>);

/// The limits that must be raised, by their keys in a manifest.
#[derive(Serialize)]
pub struct Needs(BTreeMap<&'static str, u64>);

#[derive(Serialize)]
struct LimitJson {
    used: Option<u64>,
    limit: u64,
}

impl LimitsJson {
    /// The limits, with what a policy took of them before it evaluates.
    pub fn new(limits: &Limits, policy: &Policy, taken: Option<ConfigureUsage>) -> Self {
        let used = |field: &LimitField| match field.member {
            "component_bytes" => Some(policy.component_bytes() as u64),
            "configure_fuel" => taken.map(|taken| taken.fuel),
            "memory_bytes" => taken.map(|taken| taken.memory_bytes),
            _ => None,
        };
        let limit = |field| (field, LimitJson { used: used(field), limit: field.get(limits) });
        Self(Limits::FIELDS.iter().map(limit).collect())
    }

    /// A line for each limit.
    pub fn lines(&self) -> Vec<String> {
        let line = |(field, LimitJson { used, limit }): &(&LimitField, LimitJson)| match used {
            Some(used) => format!("{:<21} {used} of {limit}", field.key),
            None => format!("{:<21} {limit}", field.key),
        };
        self.0.iter().map(line).collect()
    }

    /// The limits that are not enough.
    pub fn needs(&self) -> Needs {
        let over = |limit: &LimitJson| limit.used.filter(|used| *used > limit.limit);
        Needs(self.0.iter().filter_map(|(field, limit)| Some((field.key, over(limit)?))).collect())
    }
}

impl Serialize for LimitsJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, limit)| (field.member, limit)))
    }
}

impl Needs {
    /// The line to write into a binding, unless the default limits are enough.
    pub fn line(&self) -> Option<String> {
        let keys: Vec<_> = self.0.iter().map(|(key, least)| format!("{key} = {least}")).collect();
        let keys = keys.join(", ");
        (!keys.is_empty()).then(|| {
            format!("more than the defaults: limits = {{ {keys} }}, or more, in its binding")
        })
    }
}
