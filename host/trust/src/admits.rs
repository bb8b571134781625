//! Whether trust lets a token in.

use countersign::Cloud;

use crate::condition::Comes;
use crate::files::TrustFiles;
use crate::glob;
use crate::grant::{Grant, How, May, Part, Test};

/// What a token says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'t> {
    /// `iss`.
    pub issuer: &'t str,
    /// `sub`.
    pub subject: &'t str,
    /// `aud`, one.
    pub audience: &'t str,
}

/// Whether trust lets a token in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It does.
    Admitted,
    /// It does not.
    NotAdmitted,
    /// Files do not say: they have variables, or conditions that are not followed here.
    Unknown,
}

impl Admission {
    /// Holds only if both do.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotAdmitted, _) | (_, Self::NotAdmitted) => Self::NotAdmitted,
            (Self::Admitted, Self::Admitted) => Self::Admitted,
            _ => Self::Unknown,
        }
    }

    /// Holds if one does.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Admitted, _) | (_, Self::Admitted) => Self::Admitted,
            (Self::NotAdmitted, Self::NotAdmitted) => Self::NotAdmitted,
            _ => Self::Unknown,
        }
    }

    fn any(each: impl Iterator<Item = Self>) -> Self {
        each.fold(Self::NotAdmitted, Self::or)
    }
}

impl TrustFiles {
    /// The clouds that there is trust of.
    pub fn clouds(&self) -> Vec<Cloud> {
        let mut clouds: Vec<_> = self.grants.iter().map(|(_, grant)| grant.cloud).collect();
        clouds.sort_unstable();
        clouds.dedup();
        clouds
    }

    /// Whether the trust of a cloud lets a token in. An issuer that files name by a variable or a resource counts as
    /// the token's: what is asked is whether subject and audience match.
    ///
    /// Of GCP, a provider must believe the token; and where files have bindings of principals, one must name it.
    pub fn admits(&self, cloud: Cloud, token: Presented<'_>) -> Admission {
        let of = |part| {
            let grants = self.grants.iter().map(|(_, grant)| grant);
            grants.filter(move |grant| grant.cloud == cloud && grant.part == part)
        };
        let whole = Admission::any(of(Part::Whole).map(|grant| admits(grant, token)));
        let provider = Admission::any(of(Part::Provider).map(|grant| admits(grant, token)));
        let bindings: Vec<_> = of(Part::Binding).map(|grant| admits(grant, token)).collect();
        let bound = if bindings.is_empty() {
            Admission::Admitted
        } else {
            Admission::any(bindings.into_iter())
        };
        whole.or(provider.and(bound))
    }
}

fn admits(grant: &Grant, token: Presented<'_>) -> Admission {
    let issuer = match &grant.issuer {
        Some(issuer) if issuer.known => holds(issuer.text == token.issuer),
        _ => Admission::Admitted,
    };
    if let Some(condition) = &grant.condition {
        let condition = match condition.comes_to(token.issuer, token.subject, token.audience) {
            Comes::True => Admission::Admitted,
            Comes::False => Admission::NotAdmitted,
            Comes::Unknown => Admission::Unknown,
        };
        // The tests of the condition are in it.
        let allowed = grant.audiences.iter().filter(|test| test.written == "equals");
        return all(allowed, token.audience).and(issuer).and(condition);
    }
    let followed = grant.unread.iter().all(|unread| unread.may == May::Match);
    let unread = if followed { Admission::Admitted } else { Admission::Unknown };
    all(grant.subjects.iter(), token.subject)
        .and(all(grant.audiences.iter(), token.audience))
        .and(issuer)
        .and(unread)
}

fn all<'g>(tests: impl Iterator<Item = &'g Test>, claim: &str) -> Admission {
    tests.fold(Admission::Admitted, |all, test| all.and(passes(test, claim)))
}

fn passes(test: &Test, claim: &str) -> Admission {
    Admission::any(test.values.iter().map(|value| {
        if !value.known {
            return Admission::Unknown;
        }
        match test.how {
            How::Exact => holds(value.text == claim),
            How::IgnoreCase => holds(value.text.eq_ignore_ascii_case(claim)),
            How::Pattern => holds(glob::matches(&value.text, claim)),
            How::Prefix => holds(claim.starts_with(&value.text)),
            How::Other => Admission::Unknown,
        }
    }))
}

fn holds(holds: bool) -> Admission {
    if holds { Admission::Admitted } else { Admission::NotAdmitted }
}
