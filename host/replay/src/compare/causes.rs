//! The causes of a difference: bindings, and the codes that they give or gave.

use countersign::{BindingName, Outcome, Projection, Reason, RecordedDecision};

use super::parts::{BindingChange, Part};
use super::{Class, differing_terms};

/// A cause of a difference: comparable and countable over many decisions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    /// The kind of the difference.
    pub kind: CauseKind,
    /// The binding, where it is one's.
    pub binding: Option<BindingName>,
    /// A code of a reason or of a fault; for other terms `ttl`, `audiences` or `claims`; for other verdicts the verdicts
    /// before and now.
    pub code: String,
}

/// The kind of difference that a cause is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CauseKind {
    /// A difference of this class.
    Class(Class),
    /// A binding faults now.
    Fault,
}

impl CauseKind {
    /// The word for output: that of the class, or `fault`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Fault => "fault",
        }
    }
}

/// The causes of a difference of a class, each once.
pub(super) fn of(
    class: Class,
    before: &RecordedDecision,
    after: &Projection,
    bindings: &[BindingChange],
) -> Vec<Cause> {
    let cause = |binding: Option<BindingName>, code: String| Cause {
        kind: CauseKind::Class(class),
        binding,
        code,
    };
    let of_reason = |reason: &Reason| cause(reason.binding.clone(), reason.code.clone());
    let mut causes: Vec<Cause> = match (class, &before.outcome, &after.outcome) {
        // The reasons that came, or that fell away.
        (Class::Lost, _, Outcome::Refused(reasons))
        | (Class::Gained, Outcome::Refused(reasons), _) => reasons.iter().map(of_reason).collect(),
        (Class::Reasons, Outcome::Refused(before), Outcome::Refused(after)) => {
            let came = after.iter().filter(|reason| !before.contains(reason));
            let gone = before.iter().filter(|reason| !after.contains(reason));
            came.chain(gone).map(of_reason).collect()
        }
        (Class::Wider | Class::Narrower, Outcome::Approved(before), Outcome::Approved(after)) => {
            let members = differing_terms(before, after).into_iter();
            members.flat_map(|member| of_member(member, bindings, &cause)).collect()
        }
        (Class::Verdicts, _, _) => {
            let word = |part: &Option<Part>| part.as_ref().map_or("none", Part::word);
            let code = |change: &BindingChange| {
                format!("{} → {}", word(&change.before), word(&change.after))
            };
            let of_change =
                |change: &BindingChange| cause(Some(change.binding.clone()), code(change));
            bindings.iter().map(of_change).collect()
        }
        _ => Vec::new(),
    };
    // Reasons that differ only in their order.
    if causes.is_empty() && class.is_visible() {
        causes.push(cause(None, "order".to_owned()));
    }
    causes.sort_unstable();
    causes.dedup();
    causes
}

/// The faults that are there now and were not before, each once.
pub(super) fn new_faults(bindings: &[BindingChange]) -> Vec<Cause> {
    let code = |part: &Option<Part>| {
        let fault = part.as_ref()?.result.as_ref().err()?;
        Some(fault.code.clone())
    };
    let new = bindings.iter().filter_map(|change| {
        let code = code(&change.after).filter(|now| code(&change.before).as_ref() != Some(now))?;
        Some(Cause { kind: CauseKind::Fault, binding: Some(change.binding.clone()), code })
    });
    new.collect()
}

/// The bindings whose grant differs in a member of the terms, or none where no single one explains it.
fn of_member(
    member: &'static str,
    bindings: &[BindingChange],
    cause: &dyn Fn(Option<BindingName>, String) -> Cause,
) -> Vec<Cause> {
    let differs = |change: &&BindingChange| {
        let grant = |part: &Option<Part>| part.as_ref().and_then(Part::grant).cloned();
        let (before, after) =
            (grant(&change.before).unwrap_or_default(), grant(&change.after).unwrap_or_default());
        match member {
            "ttl" => before.max_ttl != after.max_ttl,
            "audiences" => before.audiences != after.audiences,
            _ => before.claims != after.claims,
        }
    };
    let named: Vec<_> = bindings
        .iter()
        .filter(differs)
        .map(|change| cause(Some(change.binding.clone()), member.to_owned()))
        .collect();
    if named.is_empty() { vec![cause(None, member.to_owned())] } else { named }
}
