//! One way into a cloud: who is let in, and on which conditions.

use countersign::Cloud;

use crate::condition::Condition;
use crate::node::{Place, Text};

/// One way in. Every test must hold; of the values of a test, one.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) cloud: Cloud,
    pub(crate) place: Place,
    /// What it lets one be: credentials are counted by it.
    pub(crate) owner: String,
    pub(crate) issuer: Option<Text>,
    pub(crate) subjects: Vec<Test>,
    pub(crate) audiences: Vec<Test>,
    /// GCP's provider, of whose tokens bindings say which subjects may what; or such a binding.
    pub(crate) part: Part,
    /// Whether it keeps out whom it matches.
    pub(crate) denies: bool,
    /// GCP's condition of a provider.
    pub(crate) condition: Option<Condition>,
    /// AWS: how long the whole policy is, without white space, where that is known.
    pub(crate) policy_characters: Option<usize>,
    /// What could not be read.
    pub(crate) unread: Vec<Unread>,
}

/// Something that could not be read, or is not followed here.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) place: Place,
    pub(crate) what: String,
    pub(crate) may: May,
}

/// What something that was not read may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum May {
    /// Have tests of the claims in it.
    Hide,
    /// Let in fewer.
    Narrow,
    /// Be another value of a test that was read.
    Match,
}

/// Which part of a way in it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// A provider: it says which tokens are believed.
    Provider,
    /// A binding: it says which subjects may something.
    Binding,
}

/// A test of a claim.
#[derive(Debug)]
pub(crate) struct Test {
    pub(crate) how: How,
    pub(crate) values: Vec<Text>,
    pub(crate) place: Place,
    /// As it is written: `StringLike`, `startsWith`.
    pub(crate) written: String,
    /// Whether it stands in a condition in CEL, which is evaluated as a whole.
    pub(crate) in_condition: bool,
}

/// How a claim is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Byte by byte.
    Exact,
    /// But for the case.
    IgnoreCase,
    /// By IAM's patterns.
    Pattern,
    /// By its beginning.
    Prefix,
    /// In another way, which is not followed here.
    Other,
}

impl Grant {
    pub(crate) fn new(cloud: Cloud, place: Place, owner: String) -> Self {
        Self {
            cloud,
            place,
            owner,
            issuer: None,
            subjects: Vec::new(),
            audiences: Vec::new(),
            part: Part::Whole,
            denies: false,
            condition: None,
            policy_characters: None,
            unread: Vec::new(),
        }
    }
}

impl Grant {
    /// Notes what could not be read.
    pub(crate) fn note(&mut self, may: May, place: &Place, what: impl Into<String>) {
        self.unread.push(Unread { place: place.clone(), what: what.into(), may });
    }

    /// Whether there may be tests that were not read.
    pub(crate) fn hides(&self) -> bool {
        self.unread.iter().any(|unread| unread.may == May::Hide)
    }
}

impl Test {
    pub(crate) fn new(how: How, values: Vec<Text>, place: Place, written: &str) -> Self {
        Self { how, values, place, written: written.to_owned(), in_condition: false }
    }

    pub(crate) fn exact(values: Vec<Text>, place: Place) -> Self {
        Self::new(How::Exact, values, place, "equals")
    }
}
