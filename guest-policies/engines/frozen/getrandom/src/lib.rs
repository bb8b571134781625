//! Stands in for the crate of this name, which asks the system for random bytes. A policy has none.
//!
//! Interpreters seed their hash tables with them, and cannot be built without. No function of their languages gives them
//! to a policy.

use std::fmt;

/// The error of the function that it stands in for. It never occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no random bytes")
    }
}

impl std::error::Error for Error {}

/// Fills a buffer with the same bytes every time.
///
/// # Errors
/// Never; the signature is that of the function that it stands in for.
pub fn fill(buffer: &mut [u8]) -> Result<(), Error> {
    buffer.fill(7);
    Ok(())
}
