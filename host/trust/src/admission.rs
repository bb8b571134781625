//! Whether trust lets a token in.

use std::collections::BTreeMap;

use countersign::Cloud;

use crate::condition::Comes;
use crate::files::TrustFiles;
use crate::glob;
use crate::trust_statement::{Grant, How, May, Part, Test};

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

    /// Whether the trust of a cloud lets a token in, into anything.
    ///
    /// An issuer that files name by a variable or a resource counts as the token's: what is asked is whether subject
    /// and audience match.
    pub fn admits(&self, cloud: Cloud, token: Presented<'_>) -> Admission {
        Admission::any(self.owners(cloud).into_values().map(|grants| self.lets_in(&grants, token)))
    }

    /// What trust of a cloud lets `one` in, or may, and is not known to let `other` in: the names of roles, identities,
    /// providers and accounts.
    pub fn only_for(&self, cloud: Cloud, one: Presented<'_>, other: Presented<'_>) -> Vec<String> {
        let owners = self.owners(cloud).into_iter().filter(|(_, grants)| {
            self.lets_in(grants, one) != Admission::NotAdmitted
                && self.lets_in(grants, other) != Admission::Admitted
        });
        owners.map(|(name, _)| name).collect()
    }

    /// All ways into each role, identity, provider and account of a cloud.
    fn owners(&self, cloud: Cloud) -> BTreeMap<String, Vec<&Grant>> {
        let mut owners: BTreeMap<String, Vec<&Grant>> = BTreeMap::new();
        for (file, grant) in &self.grants {
            if grant.cloud == cloud && grant.part != Part::Binding {
                let name = format!("{file} {}", grant.owner);
                owners.entry(name.trim_end().to_owned()).or_default().push(grant);
            }
        }
        owners
    }

    /// Whether one of the ways into one thing lets a token in, and none keeps it out. Of GCP, where files have bindings
    /// of principals, one must name it as well.
    fn lets_in(&self, grants: &[&Grant], token: Presented<'_>) -> Admission {
        let of = |denies| {
            let grants = grants.iter().filter(move |grant| grant.denies == denies);
            Admission::any(grants.map(|grant| admits(grant, token)))
        };
        let kept_out = match of(true) {
            Admission::Admitted => Admission::NotAdmitted,
            Admission::Unknown => Admission::Unknown,
            Admission::NotAdmitted => Admission::Admitted,
        };
        let is_provider = grants.iter().any(|grant| grant.part == Part::Provider);
        let mut bindings =
            self.grants.iter().map(|(_, grant)| grant).filter(|g| g.part == Part::Binding);
        let bound = if is_provider && bindings.clone().next().is_some() {
            Admission::any(bindings.by_ref().map(|grant| admits(grant, token)))
        } else {
            Admission::Admitted
        };
        of(false).and(kept_out).and(bound)
    }
}

fn admits(grant: &Grant, token: Presented<'_>) -> Admission {
    let issuer = match &grant.issuer {
        Some(issuer) if issuer.known => holds(issuer.text == token.issuer),
        _ => Admission::Admitted,
    };
    // A condition that is not followed comes to what is not known, and says it itself.
    let followed = grant.unread.iter().all(|unread| unread.may == May::Match);
    let unread = if followed { Admission::Admitted } else { Admission::Unknown };
    if let Some(condition) = &grant.condition {
        let condition = match condition.comes_to(token.issuer, token.subject, token.audience) {
            Comes::True => Admission::Admitted,
            Comes::False => Admission::NotAdmitted,
            Comes::Unknown => Admission::Unknown,
        };
        let allowed = || grant.audiences.iter().filter(|test| !test.in_condition);
        // Without any, it is the provider's own name, which a token of a run does not have.
        let has_allowed = holds(allowed().next().is_some());
        let mapped = grant.subjects.iter().filter(|test| !test.in_condition);
        return all(allowed(), token.audience)
            .and(all(mapped, token.subject))
            .and(has_allowed)
            .and(issuer)
            .and(unread)
            .and(condition);
    }
    let has_audience = grant.part != Part::Provider || !grant.audiences.is_empty();
    all(grant.subjects.iter(), token.subject)
        .and(all(grant.audiences.iter(), token.audience))
        .and(holds(has_audience))
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
