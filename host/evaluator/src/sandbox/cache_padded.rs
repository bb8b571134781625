//! What processors write to, each for itself.

/// So that what one processor writes to is in no cache line of another's: two lines, since they are fetched
/// in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Apart<T>(pub(crate) T);
