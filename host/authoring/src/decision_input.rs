//! The input of a decision, in parts that can be changed.

use countersign::{
    Claims, Facts, Run, RunnerId, SubjectError, SubjectFormat, SubjectParts, SubjectTemplate,
    TokenRequest,
};

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
    /// Takes claims apart, such as those of a record. The subject keeps its form and installation.
    ///
    /// # Errors
    /// When the subject has none of the forms, which claims never have.
    pub fn of(claims: &Claims) -> Result<Self, SubjectError> {
        let (profile, meshstack_id) = match SubjectParts::parse(claims.subject().as_str())? {
            SubjectParts::ByRunner { meshstack, .. } => (SubjectFormat::ByRunner, meshstack),
            SubjectParts::ByDefinition { meshstack, .. } => {
                (SubjectFormat::ByDefinition, meshstack)
            }
        };
        Ok(Self {
            run: claims.run().clone(),
            runner: claims.runner().cloned(),
            facts: claims.facts().clone(),
            subject: SubjectTemplate { profile, meshstack_id },
            token: claims.token().clone(),
        })
    }

    /// Makes the claims that policies see.
    ///
    /// # Errors
    /// When the subject is the runner's, and there is none.
    pub fn claims(&self) -> Result<Claims, SubjectError> {
        let (run, runner, facts) = (self.run.clone(), self.runner.clone(), self.facts.clone());
        Claims::new(run, runner, facts, &self.subject, self.token.clone())
    }
}
