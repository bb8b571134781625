//! Policies that attack their host, each with what must become of it.
//!
//! They come in rows: 1 loops, 2 recursion, 3 memory and tables, 4 bulk memory, 5 malformed values,
//! 6 large values, 7 texts, 8 allocators, 9 traps, 10 state, 11 other worlds, 12 doubling, 13 costly to
//! compile, 14 custom sections, 15 damaged files, 16 compiled code, 17 the bits of a NaN, 18 features,
//! 19 wide grants, 20 `configure`. Tests, benches and fuzzing take them from here; what needs more than
//! a component (two policies, 200 of them at once, a file that is swapped) is where that is at hand.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what is made here is constant")]

pub mod guest;

mod binary;
mod compiling;
mod files;
mod running;
mod values;

pub use binary::section;

/// A component, and where it must end.
#[derive(Debug, Clone)]
pub struct Case {
    /// The row.
    pub row: u8,
    /// What it does, in a few words.
    pub name: String,
    /// The code of the load error or of the fault that it must end with; or `settings` when it must
    /// not take its settings; or its verdict, where it must do no harm.
    pub code: &'static str,
    /// The component.
    pub component: Vec<u8>,
}

impl Case {
    fn new(row: u8, name: impl Into<String>, code: &'static str, component: Vec<u8>) -> Self {
        Self { row, name: name.into(), code, component }
    }
}

/// Every case, in the order of rows. It makes a few megabytes of components.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases = running::cases();
    cases.extend(values::cases());
    cases.extend(files::cases());
    cases.extend(compiling::cases());
    cases.sort_by_key(|case| case.row);
    cases
}

/// The loop that [`cases`] begins with: it burns all fuel that there is.
#[must_use]
pub fn endless_loop() -> Vec<u8> {
    guest::Guest { evaluate: running::FOREVER, ..guest::GUEST }.component()
}
