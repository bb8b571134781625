//! The bindings that can permit a run, as far as it is known before there is one.
//!
//! Nothing is evaluated here. A binding can permit the runs of its scope when it enforces and may permit; whether
//! its policy ever answers `permit` is not known, so a binding whose policy only restricts is among them unless its
//! `may-permit` is false. Runs that no binding can permit are refused, whatever they are.

use std::collections::BTreeSet;

use crate::policy_set::identity::BindingIdentity;
use crate::policy_set::scope::{Mode, Scope};
use crate::request::identifier::{BindingName, DefinitionId, Workspace};

/// A set of runs, by what is known of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runs {
    /// The runs of a scope. A manifest does not say which workspace owns a definition, so the scope of a
    /// definition overlaps that of any definition workspace.
    InScope(Scope),
    /// The runs of a definition whose workspace is known.
    OfDefinition {
        /// The definition workspace.
        workspace: Workspace,
        /// The definition.
        definition: DefinitionId,
    },
}

/// The bindings that can permit runs of a set, in the order of names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permitters {
    /// Those that apply to each of the runs.
    pub all_runs: Vec<BindingName>,
    /// Those that apply to some of the runs, and to others not.
    pub some_runs: Vec<BindingName>,
}

impl Permitters {
    /// Tells whether no binding can permit any of the runs: each of them is refused.
    pub fn none(&self) -> bool {
        self.all_runs.is_empty() && self.some_runs.is_empty()
    }
}

/// A binding without which every decision comes to the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redundant {
    /// The binding.
    pub binding: BindingName,
    /// The binding that has the same policy, settings, scope, limits and claims, and decides at least as much.
    pub beside: BindingName,
}

/// The scopes of bindings, each once, in their order.
pub fn scopes<'b>(bindings: impl IntoIterator<Item = &'b BindingIdentity>) -> BTreeSet<Scope> {
    bindings.into_iter().map(|binding| binding.scope.clone()).collect()
}

/// The bindings that can permit the given runs.
pub fn permitters<'b>(
    bindings: impl IntoIterator<Item = &'b BindingIdentity>,
    runs: &Runs,
) -> Permitters {
    let mut permitters = Permitters::default();
    for binding in bindings {
        if binding.mode != Mode::Enforce || !binding.may_permit {
            continue;
        }
        match share(runs, &binding.scope) {
            Share::All => permitters.all_runs.push(binding.name.clone()),
            Share::Some => permitters.some_runs.push(binding.name.clone()),
            Share::None => {}
        }
    }
    permitters.all_runs.sort();
    permitters.some_runs.sort();
    permitters
}

/// The bindings that add nothing, in the order of names. All of them can be removed at once.
pub fn redundant<'b>(bindings: impl IntoIterator<Item = &'b BindingIdentity>) -> Vec<Redundant> {
    let mut bindings: Vec<_> = bindings.into_iter().collect();
    bindings.sort_by(|a, b| a.name.cmp(&b.name));
    // Of two that decide the same, the first by name stays. So whatever is replaced is replaced by one that stays.
    let replaces = |a: &BindingIdentity, b: &BindingIdentity| {
        decides_at_least(a, b) && (a.name < b.name || !decides_at_least(b, a))
    };
    let stays = |one: &&&BindingIdentity| !bindings.iter().any(|other| replaces(other, one));
    let kept: Vec<_> = bindings.iter().filter(stays).collect();
    let replaced = bindings.iter().filter_map(|binding| {
        let beside = kept.iter().find(|other| replaces(other, binding))?;
        Some(Redundant { binding: binding.name.clone(), beside: beside.name.clone() })
    });
    replaced.collect()
}

/// The share of the runs that are in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    Some,
    None,
}

fn share(runs: &Runs, scope: &Scope) -> Share {
    let equal = |equal: bool| if equal { Share::All } else { Share::None };
    match (runs, scope) {
        (_, Scope::All) => Share::All,
        // A run has one value of each kind, so two scopes of one kind are the same or apart.
        (Runs::InScope(Scope::DefinitionWorkspace(one)), Scope::DefinitionWorkspace(other))
        | (Runs::InScope(Scope::OwningWorkspace(one)), Scope::OwningWorkspace(other))
        | (Runs::OfDefinition { workspace: one, .. }, Scope::DefinitionWorkspace(other)) => {
            equal(one == other)
        }
        (Runs::InScope(Scope::Definition(one)), Scope::Definition(other))
        | (Runs::OfDefinition { definition: one, .. }, Scope::Definition(other)) => {
            equal(one == other)
        }
        (
            Runs::InScope(_) | Runs::OfDefinition { .. },
            Scope::DefinitionWorkspace(_) | Scope::Definition(_) | Scope::OwningWorkspace(_),
        ) => Share::Some,
    }
}

/// Tells whether `a` does to every decision what `b` does, or more. A policy is pure, so two bindings of one component
/// with one settings text get one answer; limits and claims decide whether that is a fault.
fn decides_at_least(a: &BindingIdentity, b: &BindingIdentity) -> bool {
    let claims = |of: &BindingIdentity| of.claims.iter().cloned().collect::<BTreeSet<_>>();
    let alike = a.policy == b.policy
        && a.settings == b.settings
        && a.scope == b.scope
        && a.limits == b.limits
        && claims(a) == claims(b);
    let permits_as_well = a.may_permit || !b.may_permit;
    alike && (b.mode == Mode::Shadow || (a.mode == Mode::Enforce && permits_as_well))
}

#[cfg(test)]
mod tests;
