//! Limits, and what is used of them: for people and as JSON.

use std::collections::BTreeMap;

use countersign::{ConfigureUsage, Limits, Policy};
use serde::Serialize;

/// The limits of a binding, or the defaults, with what is used of each.
#[derive(Serialize)]
pub struct LimitsJson {
    component_bytes: LimitJson,
    configure_fuel: LimitJson,
    memory_bytes: LimitJson,
    fuel: LimitJson,
    stack_bytes: LimitJson,
    output_bytes: LimitJson,
    wall_clock_ms: LimitJson,
    prepare_ms: LimitJson,
    prepare_memory_bytes: LimitJson,
}

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
        let used = |used, limit| LimitJson { used, limit };
        let unread = |limit| LimitJson { used: None, limit };
        Self {
            component_bytes: used(Some(policy.component_bytes() as u64), limits.component_bytes),
            configure_fuel: used(taken.map(|taken| taken.fuel), limits.configure_fuel),
            memory_bytes: used(taken.map(|taken| taken.memory_bytes), limits.memory_bytes),
            fuel: unread(limits.fuel),
            stack_bytes: unread(limits.stack_bytes.into()),
            output_bytes: unread(limits.output_bytes.into()),
            wall_clock_ms: unread(limits.wall_clock_ms.into()),
            prepare_ms: unread(limits.prepare_ms.into()),
            prepare_memory_bytes: unread(limits.prepare_memory_bytes),
        }
    }

    /// A line for each limit.
    pub fn lines(&self) -> Vec<String> {
        self.named()
            .map(|(key, LimitJson { used, limit })| match used {
                Some(used) => format!("{key:<21} {used} of {limit}"),
                None => format!("{key:<21} {limit}"),
            })
            .into()
    }

    /// The limits that are not enough.
    pub fn needs(&self) -> Needs {
        let over = |limit: &LimitJson| limit.used.filter(|used| *used > limit.limit);
        Needs(self.named().into_iter().filter_map(|(k, limit)| Some((k, over(limit)?))).collect())
    }

    fn named(&self) -> [(&'static str, &LimitJson); 9] {
        [
            ("component-bytes", &self.component_bytes),
            ("configure-fuel", &self.configure_fuel),
            ("memory-bytes", &self.memory_bytes),
            ("fuel", &self.fuel),
            ("stack-bytes", &self.stack_bytes),
            ("output-bytes", &self.output_bytes),
            ("wall-clock-ms", &self.wall_clock_ms),
            ("prepare-ms", &self.prepare_ms),
            ("prepare-memory-bytes", &self.prepare_memory_bytes),
        ]
    }
}

impl Needs {
    /// What to write into a binding, unless it is nothing.
    pub fn line(&self) -> Option<String> {
        let keys: Vec<_> = self.0.iter().map(|(key, least)| format!("{key} = {least}")).collect();
        let keys = keys.join(", ");
        (!keys.is_empty()).then(|| {
            format!("more than the defaults: limits = {{ {keys} }}, or more, in its binding")
        })
    }
}
