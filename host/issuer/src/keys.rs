//! The keys of an issuer over time.
//!
//! A key is published before it signs, for as long as verifiers keep an old key set; it is published
//! after it signed, until the last token that it signed has expired and nobody keeps an old set. The phase of a
//! key follows from times that are written down once, when it is made and when its
//! successor is: nothing has to happen for a key to become active.
//!
//! The plan ([`KeyPlan`]) is ours, in a file or in the database that replicas share ([`KeyPlans`]). The private keys are in
//! a [`KeyCustody`], which knows nothing of time: a [`KeyFolder`], [`SealedKeys`] in the database, or any other.

mod custody;
mod folder;
mod health;
mod plan;
mod plans;
mod ring;
mod sealed;

pub use custody::{CustodyError, KeyCustody};
pub(crate) use folder::write_private;
pub use folder::{KeyFolder, KeyFolderError};
pub use health::{CustodyFailure, CustodyHealth};
pub use plan::{KeyEntry, KeyPlan, KeyTimes, Phase, RotateError};
pub use plans::{DatabasePlans, KeyPlans, LoadedPlan};
pub use ring::{KeyRing, KeyRingError, Keys};
pub use sealed::{KeySealer, SealError, SealedKeys};
