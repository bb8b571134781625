//! The keys of an issuer over time.
//!
//! A key is published before it signs, for as long as verifiers keep an old key set; it is published
//! after it signed, until the last token that it signed has expired and nobody keeps an old set. What a
//! key is at a moment follows from times that are written down once, when it is made and when its
//! successor is: nothing has to happen for a key to become active.

mod folder;
mod plan;

pub(crate) use folder::write_private;
pub use folder::{KeyFolder, KeyFolderError, Keys};
pub use plan::{KeyEntry, KeyPlan, KeyTimes, Phase, RotateError};
