//! The sum of the comparisons of many decisions.

use std::collections::BTreeMap;

use countersign::{
    BindingName, BindingTrace, Claims, DefinitionId, Digest, RecordedTrace, Verdict, Workspace,
};

use crate::compare::{Cause, Class, Comparison};
use crate::not_replayable::NotReplayableReason;

/// Keys of each table that are kept: a policy may give every run a code of its own.
const MAX_KEYS: usize = 10_000;

/// The counts of a comparison, each of which is the same whatever order the decisions were compared in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records or questions that were read.
    pub read: u64,
    /// Records without a decision, by kind: `refused` are those that a rule of the host refused before any policy was
    /// asked, and which no policy set could change.
    pub without_decision: BTreeMap<String, u64>,
    /// Decisions that the filter leaves out.
    pub left_out: u64,
    /// Decisions that were compared, by class.
    pub classes: ClassCounts,
    /// Decisions that cannot be decided again, by reason.
    pub not_replayable: BTreeMap<NotReplayableReason, u64>,
    /// Differences by cause. One decision can have several causes.
    pub causes: BTreeMap<Cause, u64>,
    /// Compared decisions by definition workspace and definition.
    pub definitions: BTreeMap<(Workspace, DefinitionId), ClassCounts>,
    /// Compared decisions by owning workspace.
    pub workspaces: BTreeMap<Workspace, ClassCounts>,
    /// Verdicts by binding, before and now.
    pub bindings: BTreeMap<BindingName, BindingCounts>,
    /// Decisions that are not in all of the tables above because these are full at 10,000 keys each.
    pub beyond_tables: u64,
    /// Compared decisions by the policy set that decided before.
    pub policy_sets: BTreeMap<Digest, u64>,
    /// The time of the first and of the last decision that was compared, in seconds since 1970.
    pub times: Option<(u64, u64)>,
    /// Verdicts that were taken from the records.
    pub reused: u64,
    /// Verdicts that were evaluated.
    pub evaluated: u64,
    /// Fuel of all bindings before, as far as it is known.
    pub fuel_before: u64,
    /// Fuel of all bindings now, as far as it is known.
    pub fuel_after: u64,
    /// The decisions that were evaluated in full to prove that recorded verdicts stand for evaluations.
    pub sample: Sample,
}

/// Comparisons by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassCounts {
    by_class: [u64; Class::ALL.len()],
    /// Those in which a binding faults that did not before: they are in their class as well.
    pub faults: u64,
}

/// Verdicts of a binding, before and now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BindingCounts {
    /// Verdicts of the decisions before.
    pub before: VerdictCounts,
    /// Verdicts of the candidate.
    pub after: VerdictCounts,
}

/// Verdicts by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerdictCounts {
    /// Permits.
    pub permit: u64,
    /// Restrictions.
    pub restrict: u64,
    /// Denials.
    pub deny: u64,
    /// Abstentions.
    pub abstain: u64,
    /// Faults.
    pub fault: u64,
}

impl VerdictCounts {
    /// The number of all verdicts and faults.
    pub fn total(&self) -> u64 {
        self.permit + self.restrict + self.deny + self.abstain + self.fault
    }

    fn add<F>(&mut self, result: &Result<Verdict, F>) {
        let count = match result {
            Ok(Verdict::Permit(_)) => &mut self.permit,
            Ok(Verdict::Restrict(_)) => &mut self.restrict,
            Ok(Verdict::Deny(_)) => &mut self.deny,
            Ok(Verdict::Abstain) => &mut self.abstain,
            Err(_) => &mut self.fault,
        };
        *count += 1;
    }

    fn merge(&mut self, other: &Self) {
        self.permit += other.permit;
        self.restrict += other.restrict;
        self.deny += other.deny;
        self.abstain += other.abstain;
        self.fault += other.fault;
    }
}

/// Decisions with recorded verdicts that were evaluated in full as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// The number of decisions.
    pub decisions: u64,
    /// Those in which an evaluation gave another verdict than the record: recorded verdicts do not stand for evaluations
    /// then, and the comparison proves nothing.
    pub differ: u64,
    /// Those with the same verdicts, in which an evaluation took another amount of fuel, memory or output.
    pub usage_differs: u64,
}

impl ClassCounts {
    /// The number of comparisons of a class.
    pub fn of(&self, class: Class) -> u64 {
        let place = Class::ALL.iter().position(|one| *one == class);
        place.and_then(|place| self.by_class.get(place)).copied().unwrap_or(0)
    }

    /// The number of all comparisons.
    pub fn total(&self) -> u64 {
        self.by_class.iter().sum()
    }

    /// The number of comparisons with another outcome, other terms or other reasons.
    pub fn visible(&self) -> u64 {
        Class::ALL.iter().filter(|class| class.is_visible()).map(|class| self.of(*class)).sum()
    }

    fn add(&mut self, comparison: &Comparison) {
        let place = Class::ALL.iter().position(|class| *class == comparison.class);
        if let Some(count) = place.and_then(|place| self.by_class.get_mut(place)) {
            *count += 1;
        }
        self.faults += u64::from(comparison.faults);
    }

    fn merge(&mut self, other: &Self) {
        for (count, more) in self.by_class.iter_mut().zip(other.by_class) {
            *count += more;
        }
        self.faults += other.faults;
    }
}

impl Summary {
    /// The number of decisions that were compared.
    pub fn compared(&self) -> u64 {
        self.classes.total()
    }

    /// The number of decisions that cannot be decided again.
    pub fn not_replayable(&self) -> u64 {
        self.not_replayable.values().sum()
    }

    /// Counts a comparison of a decision on claims.
    pub(crate) fn add(
        &mut self,
        claims: &Claims,
        time: u64,
        policy_set: Digest,
        comparison: &Comparison,
    ) {
        self.classes.add(comparison);
        let run = claims.run();
        let definition = (run.definition.workspace.clone(), run.definition.id.clone());
        let owner = run.building_block.workspace.clone();
        let mut is_within = true;
        is_within &= with(&mut self.definitions, definition, |counts| counts.add(comparison));
        is_within &= with(&mut self.workspaces, owner, |counts| counts.add(comparison));
        is_within &= with(&mut self.policy_sets, policy_set, |count| *count += 1);
        for cause in &comparison.causes {
            is_within &= with(&mut self.causes, cause.clone(), |count| *count += 1);
        }
        self.beyond_tables += u64::from(!is_within);
        self.spans((time, time));
    }

    /// Counts the verdicts and the usage of a decision before and now.
    pub(crate) fn add_traces(&mut self, before: &[RecordedTrace], after: &[BindingTrace]) {
        for entry in before {
            self.fuel_before += entry.used.fuel.unwrap_or(0);
            self.with_binding(&entry.binding.name, |counts| counts.before.add(&entry.result));
        }
        for entry in after {
            self.fuel_after += entry.used.fuel.unwrap_or(0);
            self.with_binding(&entry.binding.name, |counts| counts.after.add(&entry.result));
        }
    }

    /// Changes the counts of a binding. Its name is copied only when it is new.
    fn with_binding(&mut self, name: &BindingName, change: impl FnOnce(&mut BindingCounts)) {
        match self.bindings.get_mut(name) {
            Some(counts) => change(counts),
            None => {
                with(&mut self.bindings, name.clone(), change);
            }
        }
    }

    pub(crate) fn add_not_replayable(&mut self, reason: NotReplayableReason) {
        *self.not_replayable.entry(reason).or_default() += 1;
    }

    pub(crate) fn add_without_decision(&mut self, kind: &str) {
        match self.without_decision.get_mut(kind) {
            Some(count) => *count += 1,
            None => {
                self.without_decision.insert(kind.to_owned(), 1);
            }
        }
    }

    /// Adds the counts of other decisions.
    pub(crate) fn merge(&mut self, other: Self) {
        self.read += other.read;
        self.left_out += other.left_out;
        self.classes.merge(&other.classes);
        for (kind, count) in other.without_decision {
            *self.without_decision.entry(kind).or_default() += count;
        }
        for (reason, count) in other.not_replayable {
            *self.not_replayable.entry(reason).or_default() += count;
        }
        let mut beyond = other.beyond_tables;
        for (key, counts) in other.definitions {
            beyond += beyond_of(
                with(&mut self.definitions, key, |all| all.merge(&counts)),
                counts.total(),
            );
        }
        for (key, counts) in other.workspaces {
            beyond += beyond_of(
                with(&mut self.workspaces, key, |all| all.merge(&counts)),
                counts.total(),
            );
        }
        for (key, count) in other.policy_sets {
            beyond += beyond_of(with(&mut self.policy_sets, key, |all| *all += count), count);
        }
        for (key, count) in other.causes {
            beyond += beyond_of(with(&mut self.causes, key, |all| *all += count), count);
        }
        for (key, counts) in other.bindings {
            with(&mut self.bindings, key, |all| {
                all.before.merge(&counts.before);
                all.after.merge(&counts.after);
            });
        }
        self.beyond_tables += beyond;
        if let Some(times) = other.times {
            self.spans(times);
        }
        self.reused += other.reused;
        self.evaluated += other.evaluated;
        self.fuel_before += other.fuel_before;
        self.fuel_after += other.fuel_after;
        self.sample.decisions += other.sample.decisions;
        self.sample.differ += other.sample.differ;
        self.sample.usage_differs += other.sample.usage_differs;
    }

    fn spans(&mut self, (first, last): (u64, u64)) {
        let (before, after) = self.times.unwrap_or((first, last));
        self.times = Some((before.min(first), after.max(last)));
    }
}

/// Changes the value of a key, which is new unless the table is full. Tells whether it is there.
fn with<K: Ord, V: Default>(
    table: &mut BTreeMap<K, V>,
    key: K,
    change: impl FnOnce(&mut V),
) -> bool {
    if table.len() >= MAX_KEYS && !table.contains_key(&key) {
        return false;
    }
    change(table.entry(key).or_default());
    true
}

fn beyond_of(is_within: bool, decisions: u64) -> u64 {
    if is_within { 0 } else { decisions }
}
