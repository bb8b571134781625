//! Decisions that cannot be decided again, with the reason.

use std::collections::{HashMap, HashSet};
use std::fmt;

use countersign::{BindingIdentity, Digest, PolicySet, RecordedDecision};

use crate::record::{Place, RecordError};

/// A decision that cannot be decided again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReplayable {
    /// The place that it is from.
    pub place: Place,
    /// The time, in seconds since 1970, where it is known.
    pub time: Option<u64>,
    /// The reason.
    pub reason: NotReplayableReason,
    /// The reason in words, safe to show: which binding, and what it had.
    pub detail: String,
}

/// The reason that a decision cannot be decided again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotReplayableReason {
    /// The record, its claims or its trace are of a version that is not read, or were never written by any.
    Unreadable,
    /// No policy set that was given has the component of a binding that decided.
    ComponentGone,
    /// A component is there, but with other settings than a binding that decided had.
    OtherSettings,
    /// A component is there with its settings, but with other limits or `claims`.
    OtherLimits,
    /// All bindings that decided are there, but the policy set that decided had another name, scope or mode for one of
    /// them, or other bindings beside them.
    OtherSet,
    /// A fault that depends on the machine (`deadline`, `stack`, `host`) is in the record, or came now: only where the same
    /// policies decide again.
    MachineFault,
}

impl NotReplayableReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Unreadable,
        Self::ComponentGone,
        Self::OtherSettings,
        Self::OtherLimits,
        Self::OtherSet,
        Self::MachineFault,
    ];

    /// The word for output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::ComponentGone => "component-gone",
            Self::OtherSettings => "other-settings",
            Self::OtherLimits => "other-limits",
            Self::OtherSet => "other-set",
            Self::MachineFault => "machine-fault",
        }
    }
}

impl fmt::Display for NotReplayableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl NotReplayable {
    /// `problem` is safe to show.
    pub(crate) fn unreadable_item(place: Place, problem: String) -> Self {
        let reason = NotReplayableReason::Unreadable;
        Self { place, time: None, reason, detail: problem }
    }

    pub(crate) fn unreadable(place: Place, time: Option<u64>, error: &RecordError) -> Self {
        let detail = countersign::visible(&error.to_string());
        Self { place, time, reason: NotReplayableReason::Unreadable, detail }
    }

    /// The reason that none of the sets is the one that decided.
    pub(crate) fn without_set(
        place: Place,
        time: u64,
        decision: &RecordedDecision,
        known: &KnownBindings<'_>,
    ) -> Self {
        // The most telling of all bindings: a component that is gone explains more than limits that differ.
        let missing = decision.trace.iter().filter_map(|entry| known.missing(&entry.binding)).min();
        let (reason, detail) = missing.unwrap_or_else(|| {
            let detail = format!("decided by the policy set {}", decision.policy_set);
            (NotReplayableReason::OtherSet, detail)
        });
        Self { place, time: Some(time), reason, detail }
    }
}

/// The bindings of all policy sets that were given, by what they evaluate with.
pub(crate) struct KnownBindings<'s> {
    components: HashSet<Digest>,
    by_settings: HashMap<(Digest, Digest), Vec<&'s BindingIdentity>>,
}

impl<'s> KnownBindings<'s> {
    pub(crate) fn new(sets: &'s [PolicySet]) -> Self {
        let mut known = Self { components: HashSet::new(), by_settings: HashMap::new() };
        for binding in sets.iter().flat_map(PolicySet::bindings) {
            let identity = binding.identity();
            known.components.insert(identity.policy);
            let key = (identity.policy, identity.settings);
            known.by_settings.entry(key).or_default().push(identity);
        }
        known
    }

    /// The part of a binding that none of these has.
    fn missing(&self, of: &BindingIdentity) -> Option<(NotReplayableReason, String)> {
        let (reason, part) = if !self.components.contains(&of.policy) {
            let (name, version) = (&of.policy_name, &of.policy_version);
            let part = format!("the component {} ({name} {version})", of.policy);
            (NotReplayableReason::ComponentGone, part)
        } else {
            match self.by_settings.get(&(of.policy, of.settings)) {
                None => {
                    let part = format!("the settings {}", of.settings);
                    (NotReplayableReason::OtherSettings, part)
                }
                Some(alike) if alike.iter().any(|other| other.evaluates_as(of)) => return None,
                Some(_) => (NotReplayableReason::OtherLimits, "the limits or `claims`".to_owned()),
            }
        };
        let detail = format!("binding `{}` had {part} that no policy set here has", of.name);
        Some((reason, countersign::visible(&detail)))
    }
}
