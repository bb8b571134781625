//! What the author of a policy needs: [cases](Cases) that are run through the real component in the real sandbox,
//! what happens when [each claim is changed](variations), which [lines of a policy](Coverage) they reach, and
//! [what a decision turned on](explain).
//!
//! It does no I/O and reads no clock: files and time are the caller's.

#![forbid(unsafe_code)]

mod case_runner;
mod cases;
mod claim_mutation;
mod coverage;
mod decision_input;
mod explain;
mod measure;
mod mutation;
mod settings_literals;

pub use case_runner::{CaseOutcome, SettingsOutcome, Trial, TrialError, TrialReport};
pub use cases::{Case, Cases, CasesError, Codes, Expectation, ExpectedGrant, SettingsCase};
pub use claim_mutation::{Claim, Variation, variations};
pub use coverage::{CodeLine, Coverage, CoverageError, SourceFile};
pub use decision_input::Asked;
pub use explain::{Change, Explanation, OfBinding, Outcome, explain};
pub use measure::{Measured, Measurement, measure};
pub use mutation::{ClaimReport, Mutations};
pub use settings_literals::Hints;
