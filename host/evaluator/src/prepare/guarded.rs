//! The one place where a panic of the host over a component is caught.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::load_error::LoadError;
use crate::text::escape;

/// Runs work on a component, and takes a panic for an error.
///
/// Wasmtime's compiler has assertions that a component can fail. What they leave behind is dropped with the work: engines
/// are shared, and their locks have no state that is half done.
pub(crate) fn guarded<T, E: From<LoadError>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(LoadError::HostPanic { problem: escape(&message(&*panic), 512) }.into())
    })
}

/// The message of a panic, without the place in a source file, which is of the machine that built the host.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it gave no message".to_owned())
}
