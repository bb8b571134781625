//! Admission: evaluates trust statements for the claims of a token.

use std::collections::BTreeMap;

use countersign_clouds::Cloud;

use crate::condition::{self, Evaluation};
use crate::files::TrustFiles;
use crate::glob;
use crate::trust_statement::{
    Effect, MatchKind, StatementKind, Test, TrustStatement, UnknownEffect,
};

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
    /// Only what the files say counts: an issuer that is a variable, an effect that may be `Deny`, the condition of a
    /// binding, a document that no role uses and a pool without bindings are all unknown.
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
        let mut names: Vec<_> = owners.map(|(name, _)| name).collect();
        if cloud == Cloud::Gcp {
            names.extend(self.bound_only_to(one, other));
        }
        names
    }

    /// Names the resources whose bindings have the one token's principal, or may, and not the other's.
    fn bound_only_to(&self, one: TokenClaims<'_>, other: TokenClaims<'_>) -> Vec<String> {
        let mut names = Vec::new();
        for provider in self.owners(Cloud::Gcp).into_values() {
            let mut resources: BTreeMap<&str, Vec<&TrustStatement>> = BTreeMap::new();
            for binding in self.bindings(&provider).filter(|binding| !binding.is_aside) {
                resources.entry(&binding.owner).or_default().push(binding);
            }
            let bound = |bindings: &[&TrustStatement], token| {
                Admission::any(
                    bindings.iter().map(|binding| binding_admits(binding, &provider, token)),
                )
            };
            let provided = |token| statements_admit(&provider, token);
            if provided(one) == Admission::NotAdmitted {
                continue;
            }
            names.extend(resources.into_iter().filter_map(|(owner, bindings)| {
                let is_lost = bound(&bindings, one) != Admission::NotAdmitted
                    && bound(&bindings, other).and(provided(other)) != Admission::Admitted;
                is_lost.then(|| owner.to_owned())
            }));
        }
        names
    }

    /// Lists the places that cannot be evaluated at all: files, and modules that are not in the files.
    pub fn gaps(&self) -> Vec<String> {
        let gaps = self.unreadable.iter().chain(&self.unresolved);
        gaps.map(|(file, place, what)| format!("{file}:{place}: {what}")).collect()
    }

    /// Lists the reasons for which a token is not known to be admitted, and what would make it known.
    pub fn reasons(&self, cloud: Cloud, token: TokenClaims<'_>) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut say = |file: &str, place: &dyn std::fmt::Display, what: &str| {
            let reason = format!("{file}:{place}: {what}");
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        };
        for (file, statement) in &self.statements {
            if statement.cloud != cloud
                || statement.kind == StatementKind::Binding
                || statement_admits(statement, token) == Admission::NotAdmitted
            {
                continue;
            }
            for unresolved in
                statement.unresolved.iter().filter(|u| u.effect != UnknownEffect::AddsValue)
            {
                say(
                    file,
                    &unresolved.place,
                    &format!(
                        "{} is not known; a plan (`tofu show -json`) has its value",
                        unresolved.what
                    ),
                );
            }
            if !statement.issuer.as_ref().is_some_and(|issuer| issuer.known) {
                say(
                    file,
                    &statement.place,
                    "the issuer is not known; a plan (`tofu show -json`) has it",
                );
            }
            if statement.is_unused {
                say(
                    file,
                    &statement.place,
                    "no role in the files has this document; give the role, or `aws iam get-role`",
                );
            }
            if statement.kind == StatementKind::Provider {
                self.binding_reasons(file, statement, token, &mut say);
            }
        }
        reasons
    }

    fn binding_reasons(
        &self,
        file: &str,
        provider: &TrustStatement,
        token: TokenClaims<'_>,
        say: &mut dyn FnMut(&str, &dyn std::fmt::Display, &str),
    ) {
        let pool = provider
            .pool
            .as_ref()
            .map_or_else(|| "the pool".to_owned(), |pool| format!("pool `{pool}`"));
        let of_provider = [provider];
        let of_pool: Vec<_> = self.bindings(&of_provider).collect();
        let bound = of_pool.iter().map(|binding| binding_admits(binding, &of_provider, token));
        if Admission::any(bound) == Admission::Admitted {
            return;
        }
        if of_pool.is_empty() {
            let what = format!(
                "no binding of {pool} is in the files; give the IAM policy of what its principals use"
            );
            say(file, &provider.place, &what);
        } else {
            say(
                file,
                &provider.place,
                &format!("{pool} has no binding that is known to have the subject"),
            );
        }
        for (file, other) in &self.statements {
            let is_elsewhere =
                other.kind == StatementKind::Binding && !other.may_be_of_pool(provider);
            if is_elsewhere
                && tests_admit(other, token) == Admission::Admitted
                && let Some(pool) = &other.pool
            {
                say(file, &other.place, &format!("the binding that has it is of pool `{pool}`"));
            }
            if other.kind == StatementKind::Binding && other.may_be_of_pool(provider) {
                for unresolved in &other.unresolved {
                    say(file, &unresolved.place, &format!("{} is not known", unresolved.what));
                }
            }
        }
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

    /// The bindings that may be of the pool of a provider.
    fn bindings<'s>(
        &'s self,
        provider: &'s [&'s TrustStatement],
    ) -> impl Iterator<Item = &'s TrustStatement> {
        let bindings = self.statements.iter().map(|(_, statement)| statement);
        bindings.filter(|binding| {
            binding.kind == StatementKind::Binding
                && provider.iter().any(|provider| binding.may_be_of_pool(provider))
        })
    }

    /// Evaluates the statements of one owner: one must admit the token, and no deny statement may match it. For
    /// GCP, a binding of the provider's pool must name the token's principal as well.
    fn owner_admits(&self, statements: &[&TrustStatement], token: TokenClaims<'_>) -> Admission {
        let admitted = statements_admit(statements, token);
        if !statements.iter().any(|statement| statement.kind == StatementKind::Provider) {
            return admitted;
        }
        let mut bindings = self.bindings(statements).peekable();
        // Bindings that the files do not have may be anywhere.
        let bound = match bindings.peek() {
            None => Admission::Unknown,
            Some(_) => {
                Admission::any(bindings.map(|binding| binding_admits(binding, statements, token)))
            }
        };
        admitted.and(bound)
    }
}

/// Evaluates the statements of one owner, without bindings.
fn statements_admit(statements: &[&TrustStatement], token: TokenClaims<'_>) -> Admission {
    let matched = |is_deny: bool| {
        let statements = statements.iter().filter(move |statement| match statement.effect {
            Effect::Allow => !is_deny,
            Effect::Deny => is_deny,
            // It may be either, and the match is unknown in both.
            Effect::Unknown => true,
        });
        Admission::any(statements.map(|statement| statement_admits(statement, token)))
    };
    let not_denied = match matched(true) {
        Admission::Admitted => Admission::NotAdmitted,
        Admission::Unknown => Admission::Unknown,
        Admission::NotAdmitted => Admission::Admitted,
    };
    matched(false).and(not_denied)
}

/// Evaluates a binding for the principal that a provider makes of a token.
fn binding_admits(
    binding: &TrustStatement,
    provider: &[&TrustStatement],
    token: TokenClaims<'_>,
) -> Admission {
    let certain = provider.iter().any(|provider| binding.is_of_pool(provider));
    let of_pool = if certain { Admission::Admitted } else { Admission::Unknown };
    let mapping = provider
        .iter()
        .flat_map(|provider| &provider.subjects)
        .find(|test| test.kind == MatchKind::Mapping)
        .and_then(|test| test.values.first());
    let tests = match mapping {
        None => tests_admit(binding, token),
        Some(mapping) => {
            let TokenClaims { issuer, subject, audience } = token;
            let mapped = mapping
                .known
                .then(|| condition::mapped_subject(&mapping.text, issuer, subject, audience));
            match mapped.flatten() {
                Some(subject) => tests_admit(binding, TokenClaims { subject: &subject, ..token }),
                None => Admission::Unknown,
            }
        }
    };
    tests.and(of_pool).and(resolved(binding))
}

/// Evaluates the tests of a statement alone.
fn tests_admit(statement: &TrustStatement, token: TokenClaims<'_>) -> Admission {
    all(statement.subjects.iter(), token.subject)
        .and(all(statement.audiences.iter(), token.audience))
}

/// A part that is not resolved leaves the statement unknown, unless it is one more value of a test.
fn resolved(statement: &TrustStatement) -> Admission {
    let is_resolved =
        statement.unresolved.iter().all(|unresolved| unresolved.effect == UnknownEffect::AddsValue);
    if is_resolved { Admission::Admitted } else { Admission::Unknown }
}

fn statement_admits(statement: &TrustStatement, token: TokenClaims<'_>) -> Admission {
    if !statement.never.is_empty() {
        return Admission::NotAdmitted;
    }
    let issuer = match &statement.issuer {
        Some(issuer) if issuer.known => holds(issuer.text == token.issuer),
        _ => Admission::Unknown,
    };
    let is_used = if statement.is_unused { Admission::Unknown } else { Admission::Admitted };
    let resolved = resolved(statement).and(is_used);
    if let Some(condition) = &statement.condition {
        // A condition that cannot be evaluated yields `Unknown` by itself.
        let condition = match condition.evaluate(token.issuer, token.subject, token.audience) {
            Evaluation::True => Admission::Admitted,
            Evaluation::False => Admission::NotAdmitted,
            Evaluation::Unknown => Admission::Unknown,
        };
        let allowed = || statement.audiences.iter().filter(|test| !test.in_condition);
        // Without allowed audiences GCP expects the provider's own name, which no token of a run has.
        let has_allowed = holds(allowed().next().is_some());
        return all(allowed(), token.audience)
            .and(has_allowed)
            .and(issuer)
            .and(resolved)
            .and(condition);
    }
    let has_audience = statement.kind != StatementKind::Provider || !statement.audiences.is_empty();
    // STS compares the audience with the provider's client ids, too.
    let is_client = match &statement.client_ids {
        Some(ids) => Admission::any(ids.iter().map(|id| match id.known {
            true => holds(id.text == token.audience),
            false => Admission::Unknown,
        })),
        None => Admission::Admitted,
    };
    tests_admit(statement, token).and(holds(has_audience)).and(is_client).and(issuer).and(resolved)
}

fn all<'t>(tests: impl Iterator<Item = &'t Test>, claim: &str) -> Admission {
    tests.fold(Admission::Admitted, |all, test| all.and(passes(test, claim)))
}

fn passes(test: &Test, claim: &str) -> Admission {
    if test.kind == MatchKind::Mapping {
        return Admission::Admitted;
    }
    let matched = Admission::any(test.values.iter().map(|value| {
        if !value.known {
            return Admission::Unknown;
        }
        match test.kind {
            MatchKind::Exact => holds(value.text == claim),
            MatchKind::IgnoreCase => holds(value.text.eq_ignore_ascii_case(claim)),
            MatchKind::Pattern => holds(glob::matches(&value.text, claim)),
            MatchKind::Prefix => holds(claim.starts_with(&value.text)),
            MatchKind::Other | MatchKind::Mapping => Admission::Unknown,
        }
    }));
    match (test.negated, matched) {
        (true, Admission::Admitted) => Admission::NotAdmitted,
        (true, Admission::NotAdmitted) => Admission::Admitted,
        (_, matched) => matched,
    }
}

fn holds(holds: bool) -> Admission {
    if holds { Admission::Admitted } else { Admission::NotAdmitted }
}
