//! The coverage of generated runs.

use std::collections::{BTreeMap, BTreeSet};

use countersign::{ClaimField, Claims, FieldForm};
use countersign_authoring::SettingsLiterals;
use countersign_replay::{Item, Summary};
use serde::Serialize;

/// Values of each claim that are told apart; more are as good as these.
const MAX_VALUES: usize = 1000;

/// The coverage of generated runs: what they met, and what they did not.
#[derive(Serialize)]
pub(super) struct Coverage {
    /// The runs that were asked for.
    requested: u64,
    /// The runs that there were: fewer where no further change led to a new one.
    pub(super) generated: u64,
    claims: Vec<ClaimCoverage>,
    literals: LiteralCoverage,
    /// Bindings of either policy set that applied to no run.
    pub(super) never_applied: Vec<String>,
    /// Bindings whose every verdict was of one kind in either policy set, with that kind: rules of theirs may not have been
    /// met.
    pub(super) one_verdict: BTreeMap<String, &'static str>,
}

#[derive(Serialize)]
struct ClaimCoverage {
    claim: &'static str,
    /// Distinct values, of which 1,000 are told apart.
    values: usize,
    /// The words of the contract that no run had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<&'static str>,
}

/// Literals of settings and scopes that were values of claims, of all that there are.
#[derive(Serialize)]
struct LiteralCoverage {
    workspaces: (usize, usize),
    definitions: (usize, usize),
    audiences: (usize, usize),
}

/// The values of claims that were met.
#[derive(Default)]
pub(super) struct Values {
    of: BTreeMap<ClaimField, BTreeSet<String>>,
    runs: u64,
}

impl Values {
    /// Takes down the values of each claim as they pass.
    pub(super) fn watch<'v>(
        &'v mut self,
        items: impl Iterator<Item = Item> + Send + 'v,
    ) -> impl Iterator<Item = Item> + Send + 'v {
        items.inspect(|item| {
            if let Item::Question(question) = item {
                self.add(&question.claims);
            }
        })
    }

    fn add(&mut self, claims: &Claims) {
        self.runs += 1;
        for field in ClaimField::ALL {
            let values = self.of.entry(*field).or_default();
            if values.len() < MAX_VALUES {
                values.insert(field.get(claims).to_string());
            }
        }
    }

    /// The coverage, of `requested` runs, once all were decided on. `bindings` are the names in both policy sets.
    pub(super) fn coverage(
        &self,
        requested: u64,
        literals: &SettingsLiterals,
        summary: &Summary,
        bindings: &BTreeSet<String>,
    ) -> Coverage {
        let claim = |(field, values): (&ClaimField, &BTreeSet<String>)| ClaimCoverage {
            claim: field.path(),
            values: values.len(),
            missing: match field.form() {
                FieldForm::Word(words) => {
                    words.iter().filter(|word| !values.contains(**word)).copied().collect()
                }
                _ => Vec::new(),
            },
        };
        let has = |field: ClaimField, value: &str| {
            self.of.get(&field).is_some_and(|values| values.contains(value))
        };
        let workspaces = literals.workspaces.iter().filter(|workspace| {
            has(ClaimField::OwningWorkspace, workspace.as_str())
                || has(ClaimField::DefinitionWorkspace, workspace.as_str())
        });
        let definitions =
            literals.definitions.iter().filter(|id| has(ClaimField::Definition, id.as_str()));
        let audiences = literals.audiences.iter().filter(|audience| {
            let values = self.of.get(&ClaimField::Audiences).into_iter().flatten();
            values.flat_map(|all| all.split(' ')).any(|one| one == audience.as_str())
        });
        let applied = |name: &&String| summary.bindings.keys().any(|one| one.as_str() == *name);
        Coverage {
            requested,
            generated: self.runs,
            claims: self.of.iter().map(claim).collect(),
            literals: LiteralCoverage {
                workspaces: (workspaces.count(), literals.workspaces.len()),
                definitions: (definitions.count(), literals.definitions.len()),
                audiences: (audiences.count(), literals.audiences.len()),
            },
            never_applied: bindings.iter().filter(|name| !applied(name)).cloned().collect(),
            one_verdict: one_verdict(summary),
        }
    }
}

impl Coverage {
    /// The coverage in lines, safe to show after escaping.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.generated < self.requested {
            lines.push(format!(
                "{} runs, fewer than {}: further changes lead to no new one",
                self.generated, self.requested
            ));
        }
        let LiteralCoverage { workspaces, definitions, audiences } = &self.literals;
        lines.push(format!(
            "of the literals of settings and scopes, {} of {} workspaces, {} of {} definitions and {} of {} audiences",
            workspaces.0, workspaces.1, definitions.0, definitions.1, audiences.0, audiences.1
        ));
        let values: Vec<_> =
            self.claims.iter().map(|claim| format!("{} {}", claim.values, claim.claim)).collect();
        lines.push(format!("distinct values: {}", values.join(", ")));
        for claim in self.claims.iter().filter(|claim| !claim.missing.is_empty()) {
            lines.push(format!("no run with {} {}", claim.claim, claim.missing.join(", ")));
        }
        for name in &self.never_applied {
            lines.push(format!("binding `{name}` applied to no run"));
        }
        for (name, verdict) in &self.one_verdict {
            lines.push(format!("binding `{name}` gave no other verdict than {verdict}"));
        }
        lines
    }
}

/// The bindings that gave one kind of verdict only.
fn one_verdict(summary: &Summary) -> BTreeMap<String, &'static str> {
    let only = |(name, counts): (&countersign::BindingName, &countersign_replay::BindingCounts)| {
        let both = [counts.before, counts.after];
        let kinds = [
            ("permit", both.map(|counts| counts.permit)),
            ("restrict", both.map(|counts| counts.restrict)),
            ("deny", both.map(|counts| counts.deny)),
            ("abstain", both.map(|counts| counts.abstain)),
            ("fault", both.map(|counts| counts.fault)),
        ];
        let mut given = kinds.into_iter().filter(|(_, counts)| counts.iter().any(|n| *n > 0));
        match (given.next(), given.next()) {
            (Some((kind, _)), None) => Some((name.as_str().to_owned(), kind)),
            _ => None,
        }
    };
    summary.bindings.iter().filter_map(only).collect()
}
