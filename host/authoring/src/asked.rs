//! What claims are made of.

use countersign::{Claims, Facts, Run, RunnerId, SubjectError, SubjectTemplate, TokenRequest};

/// A run, and the token that is asked for: what claims are made of, so that parts can be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The run.
    pub run: Run,
    /// The runner that executes it, where it is known.
    pub runner: Option<RunnerId>,
    /// The facts that were registered with it.
    pub facts: Facts,
    /// How the subject is made.
    pub subject: SubjectTemplate,
    /// The token that is asked for.
    pub token: TokenRequest,
}

impl Asked {
    /// The claims, as policies see them.
    ///
    /// # Errors
    /// When the subject is the runner's, and there is none.
    pub fn claims(&self) -> Result<Claims, SubjectError> {
        let (run, runner, facts) = (self.run.clone(), self.runner.clone(), self.facts.clone());
        Claims::new(run, runner, facts, &self.subject, self.token.clone())
    }
}
