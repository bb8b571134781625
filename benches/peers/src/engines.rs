//! The engines, all with one face.

mod cedar;
mod cel;
mod plain;
mod rego;

use countersign::Claims;

pub use self::cedar::{Cedar, CedarRequestMade};
pub use self::cel::Cel;
pub use self::plain::Plain;
pub use self::rego::{Rego, RegoFromClaims};

/// Decides by rules that it was given before.
pub trait Peer {
    /// What is made of the claims before the time is taken, where an engine is timed without it.
    type Input;

    /// Makes it.
    fn input(&self, claims: &Claims) -> Self::Input;

    /// Decides.
    fn decide(&mut self, input: Self::Input) -> Answer;
}

/// What every engine must answer alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A token may be issued, of this life in seconds.
    Admitted(u32),
    /// No token may be issued: the codes of the reasons, in order, each once.
    Refused(Vec<String>),
}

impl Answer {
    /// Of the codes that refuse, if any, and of the lives that are granted.
    pub(crate) fn new(
        codes: impl IntoIterator<Item = String>,
        lives: impl IntoIterator<Item = u32>,
    ) -> Self {
        let mut codes: Vec<_> = codes.into_iter().collect();
        if codes.is_empty() {
            return Self::Admitted(lives.into_iter().min().unwrap_or_default());
        }
        codes.sort();
        codes.dedup();
        Self::Refused(codes)
    }
}
