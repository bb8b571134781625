//! The parts of single bindings in two decisions.

use std::collections::BTreeMap;

use countersign::{
    BindingIdentity, BindingName, BindingTrace, Fault, Grant, Mode, RecordedFault, RecordedTrace,
    Verdict,
};

/// A binding whose part in the decision differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingChange {
    /// The binding.
    pub binding: BindingName,
    /// Its part before; `None` where it did not apply.
    pub before: Option<Part>,
    /// Its part now; `None` where it does not apply.
    pub after: Option<Part>,
}

/// A binding's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The verdict, or the fault that stands in its place.
    pub result: Result<Verdict, RecordedFault>,
    /// A shadow binding, which decides nothing.
    pub is_shadow: bool,
    /// Counts a permit as one; if false, it counts as a restriction.
    pub may_permit: bool,
}

impl Part {
    /// The word for the verdict: `permit`, `restrict`, `deny`, `abstain` or `fault`. A permit that does not count as one
    /// is `restrict`.
    pub fn word(&self) -> &'static str {
        match &self.result {
            Ok(Verdict::Permit(_)) if self.may_permit => "permit",
            Ok(Verdict::Permit(_) | Verdict::Restrict(_)) => "restrict",
            Ok(Verdict::Deny(_)) => "deny",
            Ok(Verdict::Abstain) => "abstain",
            Err(_) => "fault",
        }
    }

    /// The part on one line: the verdict with its grant, or the codes of its reasons. Not escaped.
    pub fn line(&self) -> String {
        let mut line = self.word().to_owned();
        match &self.result {
            Ok(Verdict::Permit(grant) | Verdict::Restrict(grant)) => {
                line.push_str(&narrowing(grant))
            }
            Ok(Verdict::Deny(reasons)) => {
                for reason in reasons {
                    line.push(' ');
                    line.push_str(&reason.code);
                }
            }
            Ok(Verdict::Abstain) => {}
            Err(fault) => {
                line.push(' ');
                line.push_str(&fault.code);
            }
        }
        if self.is_shadow {
            line.push_str(" (shadow)");
        }
        line
    }

    /// The grant, where the part decides and has one.
    pub(super) fn grant(&self) -> Option<&Grant> {
        match &self.result {
            Ok(Verdict::Permit(grant) | Verdict::Restrict(grant)) if !self.is_shadow => Some(grant),
            _ => None,
        }
    }

    fn recorded(entry: &RecordedTrace) -> Self {
        Self::new(&entry.binding, entry.result.clone())
    }

    fn projected(entry: &BindingTrace) -> Self {
        Self::new(&entry.binding, entry.result.clone().map_err(|fault| recorded_fault(&fault)))
    }

    fn new(of: &BindingIdentity, result: Result<Verdict, RecordedFault>) -> Self {
        Self { result, is_shadow: of.mode == Mode::Shadow, may_permit: of.may_permit }
    }
}

/// The bindings whose part differs, in the order of names.
pub(super) fn changes(before: &[RecordedTrace], after: &[BindingTrace]) -> Vec<BindingChange> {
    // Nearly all decisions are the same: nothing is copied for these.
    let alike = before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| is_same(before, after));
    if alike {
        return Vec::new();
    }
    let mut parts: BTreeMap<&BindingName, (Option<Part>, Option<Part>)> = BTreeMap::new();
    for entry in before {
        parts.entry(&entry.binding.name).or_default().0 = Some(Part::recorded(entry));
    }
    for entry in after {
        parts.entry(&entry.binding.name).or_default().1 = Some(Part::projected(entry));
    }
    let differing = parts.into_iter().filter(|(_, (before, after))| before != after);
    differing
        .map(|(binding, (before, after))| BindingChange { binding: binding.clone(), before, after })
        .collect()
}

/// Tells whether bindings of one name that have the same verdict used other amounts of their limits.
pub(super) fn usage_differs(before: &[RecordedTrace], after: &[BindingTrace]) -> bool {
    before.len() != after.len()
        || before.iter().zip(after).any(|(before, after)| before.used != after.used)
}

fn is_same(before: &RecordedTrace, after: &BindingTrace) -> bool {
    let (one, other) = (&before.binding, &after.binding);
    let is_same_result = match (&before.result, &after.result) {
        (Ok(before), Ok(after)) => before == after,
        (Err(before), Err(after)) => *before == recorded_fault(after),
        _ => false,
    };
    is_same_result
        && one.name == other.name
        && one.mode == other.mode
        && one.may_permit == other.may_permit
}

fn recorded_fault(fault: &Fault) -> RecordedFault {
    RecordedFault { code: fault.code().to_owned(), detail: fault.to_string() }
}

/// The narrowing of a grant, after a space; empty where it grants all that is requested.
fn narrowing(grant: &Grant) -> String {
    let mut text = String::new();
    if let Some(ttl) = grant.max_ttl {
        text.push_str(&format!(" ttl {ttl}"));
    }
    if let Some(audiences) = &grant.audiences {
        let audiences: Vec<_> = audiences.iter().map(|audience| audience.as_str()).collect();
        text.push_str(&format!(" audiences [{}]", audiences.join(" ")));
    }
    for (name, value) in &grant.claims {
        text.push_str(&format!(" {name}={value}"));
    }
    text
}
