//! Trust statements: one statement of a role's trust policy, one federated credential, one provider or binding.

use std::fmt;

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
    pub(crate) effect: Effect,
    /// GCP: the pool of a provider, or of a binding's principals; `None` if it is not known.
    pub(crate) pool: Option<Pool>,
    /// The reasons why no token can match: a key that no token of the provider has.
    pub(crate) never: Vec<(Place, String)>,
    /// GCP: set for a binding of everybody, with or without a token.
    pub(crate) is_public: bool,
    /// GCP: set for a member that is not known, of a resource whose members are rarely principals of pools.
    pub(crate) is_aside: bool,
    /// Set for a statement in a document that no role of its files uses.
    pub(crate) is_unused: bool,
    /// AWS: the client ids of the provider, if a file has them: STS compares the audience with these.
    pub(crate) client_ids: Option<Vec<Text>>,
    /// GCP: the attributes of a provider's principals, `attribute.NAME`, with the expressions that they are mapped from.
    pub(crate) attributes: Vec<(String, Text)>,
    /// The attribute condition of GCP's provider.
    pub(crate) condition: Option<Condition>,
    /// AWS: the characters of the whole policy without white space, if all of it is known.
    pub(crate) policy_characters: Option<usize>,
    /// The parts that the files do not determine.
    pub(crate) unresolved: Vec<Unresolved>,
}

/// The effect of a statement of IAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    /// The statement refuses the tokens that it matches.
    Deny,
    /// The files do not determine it.
    Unknown,
}

/// A workload identity pool of GCP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pool {
    /// Its id.
    Id(String),
    /// The expression of its id, with the folder that it is in: the same expression is the same pool.
    Expression(String),
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Id(name) | Self::Expression(name)) = self;
        f.write_str(name)
    }
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
    /// It may only admit fewer tokens, by what no token decides: the address of the caller, how often a block is
    /// repeated, a further claim beside an exact subject. That is no finding by itself.
    NarrowsAside,
    /// It is one more value of a test that was read.
    AddsValue,
    /// It names the provider in the key of a test. That is no finding by itself: the same name is used in both places.
    NamesProvider,
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
#[derive(Debug, Clone)]
pub(crate) struct Test {
    pub(crate) kind: MatchKind,
    pub(crate) values: Vec<Text>,
    pub(crate) place: Place,
    /// The operator as the file writes it: `StringLike`, `startsWith`.
    pub(crate) written: String,
    /// Set within a CEL condition, which is evaluated as a whole and not test by test.
    pub(crate) in_condition: bool,
    /// Set for `StringNotEquals` and its like: the test passes if none of the values matches.
    pub(crate) negated: bool,
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
    /// The mapping of GCP's `google.subject`, which bindings compare in place of the subject.
    Mapping,
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
            effect: Effect::Allow,
            pool: None,
            never: Vec::new(),
            is_unused: false,
            is_public: false,
            is_aside: false,
            client_ids: None,
            attributes: Vec::new(),
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

    pub(crate) fn is_deny(&self) -> bool {
        self.effect == Effect::Deny
    }

    /// Returns true if a binding can be of the pool of this provider. A pool that is not known may be any.
    pub(crate) fn may_be_of_pool(&self, other: &Self) -> bool {
        match (&self.pool, &other.pool) {
            (Some(Pool::Id(one)), Some(Pool::Id(other))) => one == other,
            _ => true,
        }
    }

    /// Returns true if both are of one pool for certain.
    pub(crate) fn is_of_pool(&self, other: &Self) -> bool {
        self.pool.is_some() && self.pool == other.pool
    }

    /// GCP: the mapping of `google.subject`, if it uses no claim, so that every token is the same principal.
    pub(crate) fn constant_mapping(&self) -> Option<&Test> {
        let mut mappings = self.subjects.iter().filter(|test| test.kind == MatchKind::Mapping);
        mappings.find(|test| {
            test.values.iter().all(|value| value.known && !value.text.contains("assertion"))
        })
    }

    /// Returns true if a test compares the whole subject for equality, and all tests have to hold: no other one admits
    /// more.
    pub(crate) fn is_exact(&self) -> bool {
        let is_exact = |test: &Test| test.kind == MatchKind::Exact && !test.negated;
        self.kind == StatementKind::Whole && self.subjects.iter().any(is_exact)
    }

    /// Returns true if there may be tests that were not read.
    pub(crate) fn may_hide_tests(&self) -> bool {
        self.unresolved.iter().any(|unresolved| unresolved.effect == UnknownEffect::HidesTests)
    }
}

impl Test {
    pub(crate) fn new(kind: MatchKind, values: Vec<Text>, place: Place, written: &str) -> Self {
        Self {
            kind,
            values,
            place,
            written: written.to_owned(),
            in_condition: false,
            negated: false,
        }
    }

    /// GCP: returns true for a test of an attribute or a group of principals.
    pub(crate) fn is_principal_set(&self) -> bool {
        self.kind == MatchKind::Other && self.written == "principalSet"
    }

    pub(crate) fn exact(values: Vec<Text>, place: Place) -> Self {
        Self::new(MatchKind::Exact, values, place, "equals")
    }
}
