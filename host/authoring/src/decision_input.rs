//! The input of a decision, in parts that can be changed.

use countersign::{Claims, Facts, Run, RunnerId, SubjectError, SubjectTemplate, TokenRequest};

/// A run and the token requested for it: what [`Claims`] are made from, in parts that can be changed one by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionInput {
    /// The run.
    pub run: Run,
    /// The runner that executes it, if known.
    pub runner: Option<RunnerId>,
    /// The facts that were registered with it.
    pub facts: Facts,
    /// The form of the subject.
    pub subject: SubjectTemplate,
    /// The requested token.
    pub token: TokenRequest,
}

impl DecisionInput {
    /// Makes the claims that policies see.
    ///
    /// # Errors
    /// When the subject is the runner's, and there is none.
    pub fn claims(&self) -> Result<Claims, SubjectError> {
        let (run, runner, facts) = (self.run.clone(), self.runner.clone(), self.facts.clone());
        Claims::new(run, runner, facts, &self.subject, self.token.clone())
    }
}
