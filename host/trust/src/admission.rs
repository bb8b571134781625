//! Admission: evaluates trust statements for the claims of a token.

use std::collections::BTreeMap;

use countersign_clouds::Cloud;

use crate::condition::Evaluation;
use crate::files::TrustFiles;
use crate::glob;
use crate::trust_statement::{MatchKind, StatementKind, Test, TrustStatement, UnknownEffect};

/// The claims of a token that trust statements compare.
#[derive(Debug, Clone, Copy)]
pub struct TokenClaims<'t> {
    /// `iss`.
    pub issuer: &'t str,
    /// `sub`.
    pub subject: &'t str,
    /// `aud`, a single one.
    pub audience: &'t str,
}

/// The result of evaluating trust statements for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The token is admitted.
    Admitted,
    /// The token is refused.
    NotAdmitted,
    /// The files do not determine it: they contain variables, or conditions that are not evaluated here.
    Unknown,
}

impl Admission {
    /// The conjunction: a refusal wins over an unknown.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::NotAdmitted, _) | (_, Self::NotAdmitted) => Self::NotAdmitted,
            (Self::Admitted, Self::Admitted) => Self::Admitted,
            _ => Self::Unknown,
        }
    }

    /// The disjunction: an admission wins over an unknown.
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
    /// The clouds that the files have trust statements of.
    pub fn clouds(&self) -> Vec<Cloud> {
        let mut clouds: Vec<_> =
            self.statements.iter().map(|(_, statement)| statement.cloud).collect();
        clouds.sort_unstable();
        clouds.dedup();
        clouds
    }

    /// Evaluates whether any role, identity, provider or account of a cloud admits a token.
    ///
    /// An issuer that the files name by a variable or a resource counts as the token's: only subject and audience
    /// are compared then.
    pub fn admits(&self, cloud: Cloud, token: TokenClaims<'_>) -> Admission {
        Admission::any(
            self.owners(cloud)
                .into_values()
                .map(|statements| self.owner_admits(&statements, token)),
        )
    }

    /// Names the roles, identities, providers and accounts of a cloud that admit `one`, or may, and are not known to
    /// admit `other`.
    pub fn granted_only_to(
        &self,
        cloud: Cloud,
        one: TokenClaims<'_>,
        other: TokenClaims<'_>,
    ) -> Vec<String> {
        let owners = self.owners(cloud).into_iter().filter(|(_, statements)| {
            self.owner_admits(statements, one) != Admission::NotAdmitted
                && self.owner_admits(statements, other) != Admission::Admitted
        });
        owners.map(|(name, _)| name).collect()
    }

    /// Groups the trust statements of a cloud by role, identity, provider and account.
    fn owners(&self, cloud: Cloud) -> BTreeMap<String, Vec<&TrustStatement>> {
        let mut owners: BTreeMap<String, Vec<&TrustStatement>> = BTreeMap::new();
        for (file, statement) in &self.statements {
            if statement.cloud == cloud && statement.kind != StatementKind::Binding {
                let name = format!("{file} {}", statement.owner);
                owners.entry(name.trim_end().to_owned()).or_default().push(statement);
            }
        }
        owners
    }

    /// Evaluates the statements of one owner: one must admit the token, and no deny statement may match it. For
    /// GCP, if the files have bindings of principals, one of those must name the token's as well.
    fn owner_admits(&self, statements: &[&TrustStatement], token: TokenClaims<'_>) -> Admission {
        let of = |is_deny| {
            let statements =
                statements.iter().filter(move |statement| statement.is_deny == is_deny);
            Admission::any(statements.map(|statement| statement_admits(statement, token)))
        };
        let not_denied = match of(true) {
            Admission::Admitted => Admission::NotAdmitted,
            Admission::Unknown => Admission::Unknown,
            Admission::NotAdmitted => Admission::Admitted,
        };
        let is_provider =
            statements.iter().any(|statement| statement.kind == StatementKind::Provider);
        let mut bindings = self
            .statements
            .iter()
            .map(|(_, statement)| statement)
            .filter(|statement| statement.kind == StatementKind::Binding);
        let bound = if is_provider && bindings.clone().next().is_some() {
            Admission::any(bindings.by_ref().map(|statement| statement_admits(statement, token)))
        } else {
            Admission::Admitted
        };
        of(false).and(not_denied).and(bound)
    }
}

fn statement_admits(statement: &TrustStatement, token: TokenClaims<'_>) -> Admission {
    let issuer = match &statement.issuer {
        Some(issuer) if issuer.known => holds(issuer.text == token.issuer),
        _ => Admission::Admitted,
    };
    // A condition that cannot be evaluated yields `Unknown` by itself; any other unresolved part would be forgotten.
    let followed =
        statement.unresolved.iter().all(|unresolved| unresolved.effect == UnknownEffect::AddsValue);
    let unresolved = if followed { Admission::Admitted } else { Admission::Unknown };
    if let Some(condition) = &statement.condition {
        let condition = match condition.evaluate(token.issuer, token.subject, token.audience) {
            Evaluation::True => Admission::Admitted,
            Evaluation::False => Admission::NotAdmitted,
            Evaluation::Unknown => Admission::Unknown,
        };
        let allowed = || statement.audiences.iter().filter(|test| !test.in_condition);
        // Without allowed audiences GCP expects the provider's own name, which no token of a run has.
        let has_allowed = holds(allowed().next().is_some());
        let mapped = statement.subjects.iter().filter(|test| !test.in_condition);
        return all(allowed(), token.audience)
            .and(all(mapped, token.subject))
            .and(has_allowed)
            .and(issuer)
            .and(unresolved)
            .and(condition);
    }
    let has_audience = statement.kind != StatementKind::Provider || !statement.audiences.is_empty();
    all(statement.subjects.iter(), token.subject)
        .and(all(statement.audiences.iter(), token.audience))
        .and(holds(has_audience))
        .and(issuer)
        .and(unresolved)
}

fn all<'t>(tests: impl Iterator<Item = &'t Test>, claim: &str) -> Admission {
    tests.fold(Admission::Admitted, |all, test| all.and(passes(test, claim)))
}

fn passes(test: &Test, claim: &str) -> Admission {
    Admission::any(test.values.iter().map(|value| {
        if !value.known {
            return Admission::Unknown;
        }
        match test.kind {
            MatchKind::Exact => holds(value.text == claim),
            MatchKind::IgnoreCase => holds(value.text.eq_ignore_ascii_case(claim)),
            MatchKind::Pattern => holds(glob::matches(&value.text, claim)),
            MatchKind::Prefix => holds(claim.starts_with(&value.text)),
            MatchKind::Other => Admission::Unknown,
        }
    }))
}

fn holds(holds: bool) -> Admission {
    if holds { Admission::Admitted } else { Admission::NotAdmitted }
}
