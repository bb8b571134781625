//! The engines behind one trait.

mod cedar;
mod cel;
mod plain;
mod rego;

use countersign::Claims;

pub use self::cedar::{Cedar, CedarRequestMade};
pub use self::cel::Cel;
pub use self::plain::Plain;
pub use self::rego::{Rego, RegoFromClaims};

/// An engine that was prepared with rules.
pub trait Peer {
    /// The engine's input, made of the claims before the time is taken if an engine is timed without it.
    type Input;

    /// Makes the input.
    fn input(&self, claims: &Claims) -> Self::Input;

    /// Decides.
    fn decide(&mut self, input: Self::Input) -> Answer;
}

/// The decision, which every engine must make alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A token may be issued with this lifetime, in seconds.
    Admitted(u32),
    /// No token may be issued: the codes of the reasons, in order, each once.
    Refused(Vec<String>),
}

impl Answer {
    /// Combines the codes of refusals, if any, and the granted lifetimes.
    pub(crate) fn new(
        codes: impl IntoIterator<Item = String>,
        lifetimes: impl IntoIterator<Item = u32>,
    ) -> Self {
        let mut codes: Vec<_> = codes.into_iter().collect();
        if codes.is_empty() {
            return Self::Admitted(lifetimes.into_iter().min().unwrap_or_default());
        }
        codes.sort();
        codes.dedup();
        Self::Refused(codes)
    }
}
