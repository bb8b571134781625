//! Policies that attack their host, each with the outcome that it must have.
//!
//! They come in rows: 1 loops, 2 recursion, 3 memory and tables, 4 bulk memory, 5 malformed values,
//! 6 large values, 7 texts, 8 allocators, 9 traps, 10 state, 11 other worlds, 12 doubling, 13 costly to
//! compile, 14 custom sections, 15 damaged files, 16 compiled code, 17 the bits of a NaN, 18 features,
//! 19 wide grants, 20 `configure`, 22 components composed of others, 23 values that blocks and calls carry, 24 what
//! instances initialise, 25 large texts in other encodings, 26 characters that are invisible or none, 27 handles, 28 storms
//! of them. Tests, benches and fuzzing take them from here; attacks that need
//! more than one component (two policies, 200 at once, a swapped file) are in the tests of the crate concerned.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "all components are constant")]

use std::sync::LazyLock;

pub mod guest;

mod binary;
mod compiling;
mod composed;
mod files;
mod running;
mod values;

pub use binary::section;

/// A component, and the outcome that it must have.
#[derive(Debug, Clone)]
pub struct Case {
    /// The row.
    pub row: u8,
    /// The attack, in a few words.
    pub name: String,
    /// The code of the expected load error or fault; `settings` when `configure` must fail; the
    /// verdict where the component must be harmless.
    pub code: &'static str,
    /// The component.
    pub component: Vec<u8>,
}

impl Case {
    fn new(row: u8, name: impl Into<String>, code: &'static str, component: Vec<u8>) -> Self {
        Self { row, name: name.into(), code, component }
    }
}

/// Every case, in the order of rows: a few megabytes of components, made once.
#[must_use]
pub fn cases() -> Vec<Case> {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(all);
    CASES.clone()
}

fn all() -> Vec<Case> {
    let mut cases = running::cases();
    cases.extend(values::cases());
    cases.extend(files::cases());
    cases.extend(compiling::cases());
    cases.extend(composed::cases());
    cases.sort_by_key(|case| case.row);
    cases
}

/// The loop that [`cases`] begins with, which burns all its fuel.
#[must_use]
pub fn endless_loop() -> Vec<u8> {
    guest::Guest { evaluate: running::FOREVER, ..guest::GUEST }.component()
}
