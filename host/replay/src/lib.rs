//! Decides recorded decisions again: proves that a log says what its policies say, and works out what a candidate policy
//! set would change.
//!
//! ```text
//! log ─VerifiedReader→ records ─┬ replay: PolicySet::evaluate → the same bytes, or not
//!                               └ impact: PolicySet::project (only bindings that changed) → Comparison → Summary
//! ```
//!
//! Policies are pure, so a verdict of the record stands for an evaluation as long as everything that it follows from is
//! the same ([`BindingIdentity::evaluates_as`](countersign::BindingIdentity::evaluates_as)). A [sample](Sampling) of
//! decisions is evaluated in full as well, to prove it.
//!
//! Nothing here prints or opens a file: records come from a [`Source`], and results go to the functions that the caller
//! gives. Memory is bounded, however long a log is: records are read, decided on and counted in batches, of which a few
//! are under way at a time.
//!
//! # Limitations
//! - Claims are those of the record. A candidate that gives tokens another subject is compared by its policies alone.
//! - A decision says what policies approved. Whether a cloud then rejected the token is not compared.

#![forbid(unsafe_code)]

mod compare;
mod evidence;
mod filter;
mod impact;
mod not_replayable;
mod pipeline;
mod record;
mod replay;
mod source;
mod summary;

pub use compare::{BindingChange, Cause, CauseKind, Class, Comparison, Part, compare};
pub use evidence::{Evidence, EvidenceSource};
pub use filter::Filter;
pub use impact::{Change, ImpactObserver, ImpactOptions, ImpactReport, Sampling, impact};
pub use not_replayable::{NotReplayable, NotReplayableReason};
pub use record::{Place, RecordError, RecordHead};
pub use replay::{Difference, ReplayCounts, ReplayObserver, ReplayReport, replay};
pub use source::{Item, Items, Question, Source, SourceError};
pub use summary::{BindingCounts, ClassCounts, Sample, Summary, VerdictCounts};
