//! The difference between a decision and what another policy set would have decided.

mod causes;
mod parts;

use std::fmt;

use countersign::{Outcome, Projection, RecordedDecision, Terms};

pub use self::causes::{Cause, CauseKind};
pub use self::parts::{BindingChange, Part};

/// The kind of a difference. Each comparison has one: the first of these that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Refused before, approved now.
    Gained,
    /// Approved before, refused now.
    Lost,
    /// Approved both times, and the terms allow something now that they did not: a longer lifetime, another audience, or
    /// other claims. A cloud alone knows what a claim gives, so any difference of the claims that policies add is here.
    Wider,
    /// Approved both times, and the terms allow less now.
    Narrower,
    /// Refused both times, for other reasons.
    Reasons,
    /// The same outcome, and a binding gives another verdict, applies no more or applies now. Shadow bindings are among
    /// them.
    Verdicts,
    /// The same outcome and verdicts, and a binding takes another amount of fuel, memory or output.
    Fuel,
    /// No difference.
    Same,
}

/// The difference between a decision and what another policy set would have decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The kind of the difference.
    pub class: Class,
    /// A binding faults now that did not fault before, or with another code: beside the class, since a fault of a shadow
    /// binding changes nothing else.
    pub faults: bool,
    /// The causes: at least one, unless the class is [`Class::Same`] or [`Class::Fuel`].
    pub causes: Vec<Cause>,
    /// The bindings whose part differs, in the order of names. Usage is not compared.
    pub bindings: Vec<BindingChange>,
}

impl Class {
    /// Every class, in the order of weight.
    pub const ALL: [Self; 8] = [
        Self::Gained,
        Self::Lost,
        Self::Wider,
        Self::Narrower,
        Self::Reasons,
        Self::Verdicts,
        Self::Fuel,
        Self::Same,
    ];

    /// The word for output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gained => "gained",
            Self::Lost => "lost",
            Self::Wider => "wider",
            Self::Narrower => "narrower",
            Self::Reasons => "reasons",
            Self::Verdicts => "verdicts",
            Self::Fuel => "fuel",
            Self::Same => "same",
        }
    }

    /// The class in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Gained => "refused → approved",
            Self::Lost => "approved → refused",
            Self::Wider => "approved, wider terms",
            Self::Narrower => "approved, narrower terms",
            Self::Reasons => "refused, other reasons",
            Self::Verdicts => "same outcome, other verdicts",
            Self::Fuel => "same verdicts, other usage",
            Self::Same => "no difference",
        }
    }

    /// Tells whether the answer to the requester differs: its outcome, terms or reasons.
    pub fn is_visible(self) -> bool {
        !matches!(self, Self::Verdicts | Self::Fuel | Self::Same)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Compares a decision with what another policy set would have decided on the same claims.
pub fn compare(before: &RecordedDecision, after: &Projection) -> Comparison {
    let bindings = parts::changes(&before.trace, &after.trace);
    let class = match class_of(&before.outcome, &after.outcome) {
        Some(class) => class,
        None if !bindings.is_empty() => Class::Verdicts,
        None if parts::usage_differs(&before.trace, &after.trace) => Class::Fuel,
        None => Class::Same,
    };
    let mut causes = causes::of(class, before, after, &bindings);
    let faults = causes::new_faults(&bindings);
    causes.extend(faults.iter().cloned());
    Comparison { class, faults: !faults.is_empty(), causes, bindings }
}

/// The class by the outcomes alone; `None` where they are the same.
fn class_of(before: &Outcome, after: &Outcome) -> Option<Class> {
    Some(match (before, after) {
        (Outcome::Approved(_), Outcome::Refused(_)) => Class::Lost,
        (Outcome::Refused(_), Outcome::Approved(_)) => Class::Gained,
        (Outcome::Approved(before), Outcome::Approved(after)) if before == after => return None,
        (Outcome::Approved(before), Outcome::Approved(after)) => {
            if is_wider(before, after) {
                Class::Wider
            } else {
                Class::Narrower
            }
        }
        (Outcome::Refused(before), Outcome::Refused(after)) if before == after => return None,
        (Outcome::Refused(_), Outcome::Refused(_)) => Class::Reasons,
    })
}

/// Tells whether terms allow anything that others do not.
fn is_wider(before: &Terms, after: &Terms) -> bool {
    after.ttl_seconds > before.ttl_seconds
        || after.audiences.iter().any(|audience| !before.audiences.contains(audience))
        || after.claims != before.claims
}

/// The members of terms that differ, by the words of records.
fn differing_terms(before: &Terms, after: &Terms) -> Vec<&'static str> {
    let differs = [
        ("ttl", before.ttl_seconds != after.ttl_seconds),
        ("audiences", before.audiences != after.audiences),
        ("claims", before.claims != after.claims),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(member, _)| member).collect()
}
