//! Trust statements: one statement of a role's trust policy, one federated credential, one provider or binding.

use countersign_clouds::Cloud;

use crate::condition::Condition;
use crate::node::{Place, Text};

/// One trust statement. A token matches if it passes every test, and it passes a test if one of the test's values
/// matches.
#[derive(Debug)]
pub(crate) struct TrustStatement {
    pub(crate) cloud: Cloud,
    pub(crate) place: Place,
    /// The role, identity, provider or account that the statement gives access to. Credentials are counted by it.
    pub(crate) owner: String,
    pub(crate) issuer: Option<Text>,
    pub(crate) subjects: Vec<Test>,
    pub(crate) audiences: Vec<Test>,
    pub(crate) kind: StatementKind,
    /// Set for IAM's `"Effect": "Deny"`: the statement refuses the tokens that it matches.
    pub(crate) is_deny: bool,
    /// The attribute condition of GCP's provider.
    pub(crate) condition: Option<Condition>,
    /// AWS: the characters of the whole policy without white space, if all of it is known.
    pub(crate) policy_characters: Option<usize>,
    /// The parts that the files do not determine.
    pub(crate) unresolved: Vec<Unresolved>,
}

/// A part of a statement that the files do not determine, or that is not evaluated here.
#[derive(Debug)]
pub(crate) struct Unresolved {
    pub(crate) place: Place,
    pub(crate) what: String,
    pub(crate) effect: UnknownEffect,
}

/// The effect that an unresolved part may have on the tokens that a statement admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownEffect {
    /// It may contain tests of the subject or the audience, so their absence proves nothing.
    HidesTests,
    /// It may only admit fewer tokens.
    Narrows,
    /// It is one more value of a test that was read.
    AddsValue,
}

/// The part that a statement plays in admitting a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementKind {
    /// Admits by itself.
    Whole,
    /// GCP's provider: determines which tokens are accepted at all.
    Provider,
    /// GCP's IAM binding: determines which of the provider's principals have a role.
    Binding,
}

/// A test of one claim.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) kind: MatchKind,
    pub(crate) values: Vec<Text>,
    pub(crate) place: Place,
    /// The operator as the file writes it: `StringLike`, `startsWith`.
    pub(crate) written: String,
    /// Set within a CEL condition, which is evaluated as a whole and not test by test.
    pub(crate) in_condition: bool,
}

/// The comparison of a claim with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MatchKind {
    /// Equality of bytes.
    Exact,
    /// Equality except for ASCII case.
    IgnoreCase,
    /// IAM's patterns with `*` and `?`.
    Pattern,
    /// A prefix.
    Prefix,
    /// Any other comparison, which is not evaluated here.
    Other,
}

impl TrustStatement {
    pub(crate) fn new(cloud: Cloud, place: Place, owner: String) -> Self {
        Self {
            cloud,
            place,
            owner,
            issuer: None,
            subjects: Vec::new(),
            audiences: Vec::new(),
            kind: StatementKind::Whole,
            is_deny: false,
            condition: None,
            policy_characters: None,
            unresolved: Vec::new(),
        }
    }
}

impl TrustStatement {
    /// Records a part that could not be resolved.
    pub(crate) fn note(&mut self, effect: UnknownEffect, place: &Place, what: impl Into<String>) {
        self.unresolved.push(Unresolved { place: place.clone(), what: what.into(), effect });
    }

    /// Returns true if there may be tests that were not read.
    pub(crate) fn may_hide_tests(&self) -> bool {
        self.unresolved.iter().any(|unresolved| unresolved.effect == UnknownEffect::HidesTests)
    }
}

impl Test {
    pub(crate) fn new(kind: MatchKind, values: Vec<Text>, place: Place, written: &str) -> Self {
        Self { kind, values, place, written: written.to_owned(), in_condition: false }
    }

    pub(crate) fn exact(values: Vec<Text>, place: Place) -> Self {
        Self::new(MatchKind::Exact, values, place, "equals")
    }
}
