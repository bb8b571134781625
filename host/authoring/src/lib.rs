//! Tests, measures and explains policies for their authors.
//!
//! [Cases] are run through the real component in the real sandbox by a [`CaseRunner`], each again with
//! [every claim changed](claim_mutations), and it counts the [lines of a policy](Coverage) that they reach. [`explain`]
//! finds the claims that determined a decision. An [`EvaluationBudget`] bounds what all their evaluations take together.
//!
//! The crate does no I/O and reads no clock: files and time are the caller's.

#![forbid(unsafe_code)]

mod budget;
mod case_runner;
mod cases;
mod claim_mutation;
mod coverage;
mod decision_input;
mod explain;
mod generate;
mod measure;
mod mutation;
mod nearest;
mod settings_literals;
mod test_report;
mod verdict_text;

pub use budget::{EvaluationBudget, EvaluationCount, StoppedBy};
pub use case_runner::{CaseRunner, CaseRunnerError, Observed};
pub use cases::{Case, Cases, CasesError, Codes, Expectation, ExpectedGrant, SettingsCase};
pub use claim_mutation::{Claim, ClaimMutation, ValueOrigin, claim_mutations};
pub use coverage::{CodeLine, Coverage, CoverageError, SourceFile};
pub use decision_input::DecisionInput;
pub use explain::{BindingExplanation, Change, DeterminedBy, Explanation, Outcome, explain};
pub use generate::GeneratedInputs;
pub use measure::{Measured, Measurement, measure};
pub use mutation::{ClaimReport, MutationFault, Mutations};
pub use nearest::{did_you_mean, nearest};
pub use settings_literals::SettingsLiterals;
pub use test_report::{CaseOutcome, CaseProblem, SettingsOutcome, TestReport};
pub use verdict_text::verdict_text;
