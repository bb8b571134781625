//! What the author of a policy needs: [cases](Cases) that are run through the real component in the real sandbox,
//! what happens when [each claim is changed](variations), which [lines of a policy](Coverage) they reach, and
//! [what a decision turned on](explain).
//!
//! It does no I/O and reads no clock: files and time are the caller's.

#![forbid(unsafe_code)]

mod asked;
mod cases;
mod coverage;
mod explain;
mod hints;
mod measure;
mod mutation;
mod trial;
mod variation;

pub use asked::Asked;
pub use cases::{Case, Cases, CasesError, Codes, Expectation, ExpectedGrant, SettingsCase};
pub use coverage::{CodeLine, Coverage, CoverageError, SourceFile};
pub use explain::{Change, Explanation, OfBinding, Outcome, explain};
pub use hints::Hints;
pub use measure::{Measured, Measurement, measure};
pub use mutation::{ClaimReport, Mutations};
pub use trial::{CaseOutcome, SettingsOutcome, Trial, TrialError, TrialReport};
pub use variation::{Claim, Variation, variations};
