//! The rules that read each other: recursion, and rules that no verdict reads.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Rule, RuleHead};

use super::findings::Findings;
use super::index::{Group, Index, Shape};
use super::nearest::nearest;
use crate::tree::{self, Place};

/// The rules that a verdict is read from.
pub const VERDICTS: [&str; 3] = ["permit", "restrict", "deny"];

/// Names that authors know from elsewhere for a rule of verdicts.
const ELSEWHERE: [(&str, &str); 14] = [
    ("allow", "permit"),
    ("allowed", "permit"),
    ("approve", "permit"),
    ("authorize", "permit"),
    ("permitted", "permit"),
    ("permits", "permit"),
    ("denied", "deny"),
    ("denies", "deny"),
    ("forbid", "deny"),
    ("reject", "deny"),
    ("violation", "deny"),
    ("violations", "deny"),
    ("warn", "restrict"),
    ("limit", "restrict"),
];

/// The rules that each rule reads, by their indices.
pub struct Graph {
    reads: Vec<BTreeSet<usize>>,
}

impl Graph {
    /// A graph of what each rule reads.
    pub fn new(reads: Vec<BTreeSet<usize>>) -> Self {
        Self { reads }
    }

    /// The rules that are reached from these, themselves included.
    pub fn reached(&self, from: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut left: Vec<usize> = from.into_iter().collect();
        while let Some(rule) = left.pop() {
            if reached.insert(rule) {
                left.extend(self.reads.get(rule).into_iter().flatten());
            }
        }
        reached
    }

    /// The rules that are on a way back to themselves, or lead to one: those that stay when each that reads nothing more is
    /// taken away.
    fn unresolved(&self) -> BTreeSet<usize> {
        let mut read_by: Vec<Vec<usize>> = vec![Vec::new(); self.reads.len()];
        let mut counts: Vec<usize> = self.reads.iter().map(BTreeSet::len).collect();
        for (rule, reads) in self.reads.iter().enumerate() {
            for read in reads {
                read_by.get_mut(*read).into_iter().for_each(|readers| readers.push(rule));
            }
        }
        let mut left: Vec<usize> =
            (0..counts.len()).filter(|rule| counts.get(*rule) == Some(&0)).collect();
        while let Some(rule) = left.pop() {
            for reader in read_by.get(rule).into_iter().flatten() {
                if let Some(count) = counts.get_mut(*reader) {
                    *count -= 1;
                    if *count == 0 {
                        left.push(*reader);
                    }
                }
            }
        }
        (0..counts.len()).filter(|rule| counts.get(*rule).is_some_and(|count| *count > 0)).collect()
    }

    /// A way from a rule back to itself, if there is one: the shortest.
    fn cycle(&self, from: usize) -> Option<Vec<usize>> {
        let mut before = vec![None; self.reads.len()];
        let mut left = std::collections::VecDeque::from([from]);
        while let Some(rule) = left.pop_front() {
            for next in self.reads.get(rule)? {
                if *next == from {
                    let mut way = vec![from];
                    let mut at = rule;
                    while at != from {
                        way.push(at);
                        at = (*before.get(at)?)?;
                    }
                    way.push(from);
                    way.reverse();
                    return Some(way);
                }
                if let Some(slot @ None) = before.get_mut(*next) {
                    *slot = Some(rule);
                    left.push_back(*next);
                }
            }
        }
        None
    }
}

/// Reports rules that read themselves, each cycle once.
pub fn check_recursion(index: &Index<'_>, graph: &Graph, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for number in graph.unresolved() {
        let Some(group) = index.groups.get(number).filter(|_| !seen.contains(&number)) else {
            continue;
        };
        let Some(way) = graph.cycle(number) else { continue };
        seen.extend(way.iter().copied());
        let Some(first) = group.definitions.first() else { continue };
        let names: Vec<_> =
            way.iter().filter_map(|at| index.groups.get(*at)).map(Group::name).collect();
        let message = format!("rule `{}` is recursive: {}", group.name(), names.join(" → "));
        findings.error("recursion", Place::of(first.span()), message);
    }
}

/// Reports rules that nothing reads. `main` is the package of the verdicts.
pub fn check_reach(
    index: &Index<'_>,
    reached: &BTreeSet<usize>,
    main: &str,
    findings: &mut Findings,
) {
    let is_main = |group: &Group<'_>| group.path.get(..group.package) == Some(&[main.to_owned()]);
    let defined = |name: &str| index.group(&[main.to_owned(), name.to_owned()]).is_some();
    for (number, group) in index.groups.iter().enumerate() {
        let Some(first) = group.definitions.first() else { continue };
        let is_of_tests =
            index.files.get(first.module).is_some_and(super::index::File::is_of_tests);
        if reached.contains(&number) || group.is_test() || is_of_tests {
            continue;
        }
        let (name, place) = (group.name(), Place::of(first.span()));
        if !is_main(group) {
            // A library may have more than one policy needs, but what is no function of it has no other readers.
            if !matches!(first.shape, Shape::Function(_)) {
                let package = group.path.get(..group.package).unwrap_or_default().join(".");
                let message = format!(
                    "rule `{name}` of package `{package}` is not read by any rule of the policy"
                );
                findings.warn("unused-rule", place, message);
            }
            continue;
        }
        let meant = group_meant(group, &defined);
        match meant {
            Some(meant) => {
                let message = format!(
                    "no verdict is read from rule `{name}`, and neither `permit`, `restrict` nor `deny` reads it; did you mean `{meant}`?"
                );
                findings.error("unreached-rule", place, message);
            }
            None => {
                let message = format!(
                    "rule `{name}` is read by neither `permit`, `restrict` nor `deny`; use it, or remove it"
                );
                findings.warn("unused-rule", place, message);
            }
        }
    }
}

/// The verdict that the name of a rule is near to, or means elsewhere.
pub fn verdict_meant(name: &str) -> Option<&'static str> {
    let elsewhere = || ELSEWHERE.iter().find(|(word, _)| word.eq_ignore_ascii_case(name));
    nearest(name, VERDICTS).or_else(|| elsewhere().map(|(_, meant)| *meant))
}

/// The verdict that a rule was meant to be: by a name that is near, one that is known from elsewhere, or values that are
/// reasons.
fn group_meant(group: &Group<'_>, defined: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    if let Some(meant) = verdict_meant(group.first_name()) {
        // Beside `permit`, a rule `allow` may be a note of something else.
        let is_near = nearest(group.first_name(), VERDICTS).is_some();
        return (is_near || meant == "deny" || !defined(meant)).then_some(meant);
    }
    let gives_reasons = group.definitions.iter().any(|definition| match definition.rule {
        Rule::Spec { head: RuleHead::Set { key: Some(key), .. }, .. } => match key.as_ref() {
            Expr::Object { fields, .. } => {
                let has = |wanted| fields.iter().any(|(_, key, _)| tree::key(key) == Some(wanted));
                has("code") && has("message")
            }
            _ => false,
        },
        _ => false,
    });
    gives_reasons.then_some("deny")
}
