//! The page of codes against the code.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use countersign::{Fault, GrantFault, LoadError, refusal};

const PAGE: &str = include_str!("../../../docs/codes.md");

/// The codes of the table with this heading.
fn page(heading: &str) -> BTreeSet<&'static str> {
    let (_, table) =
        PAGE.split_once(&format!("| {heading} | what it means |\n|---|---|\n")).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| `"));
    rows.map(|line| line.split('`').nth(1).unwrap()).collect()
}

#[test]
fn faults() {
    let text = String::new;
    let all = [
        Fault::OutOfFuel { limit: 0 },
        Fault::Deadline { limit_ms: 0 },
        Fault::Stack { limit: 0 },
        Fault::Memory { limit: 0 },
        Fault::Panic { message: text() },
        Fault::Trap { reason: text() },
        Fault::OutputTooLarge { limit: 0 },
        Fault::BadOutput,
        Fault::Host { problem: text() },
        Fault::Configure,
        Fault::Grant(GrantFault::Ttl { granted: 0, requested: 0 }),
        Fault::Grant(GrantFault::Audience { audience: text() }),
        Fault::Grant(GrantFault::ReservedClaim { name: text() }),
        Fault::Grant(GrantFault::UnlistedClaim { name: text() }),
        Fault::Grant(GrantFault::BadClaim { problem: text() }),
    ];
    // Does not compile when a fault is added: add it above and on the page.
    for fault in &all {
        match fault {
            Fault::OutOfFuel { .. }
            | Fault::Deadline { .. }
            | Fault::Stack { .. }
            | Fault::Memory { .. }
            | Fault::Panic { .. }
            | Fault::Trap { .. }
            | Fault::OutputTooLarge { .. }
            | Fault::BadOutput
            | Fault::Host { .. }
            | Fault::Configure => {}
            Fault::Grant(grant) => match grant {
                GrantFault::Ttl { .. }
                | GrantFault::Audience { .. }
                | GrantFault::ReservedClaim { .. }
                | GrantFault::UnlistedClaim { .. }
                | GrantFault::BadClaim { .. } => {}
            },
        }
    }
    assert_eq!(all.each_ref().map(Fault::code), Fault::CODES);
    assert_eq!(page("fault"), Fault::CODES.into());
}

#[test]
fn load_errors() {
    let text = String::new;
    let all = [
        LoadError::TooLarge { bytes: 0, limit: 0 },
        LoadError::NotWasm,
        LoadError::CoreModule,
        LoadError::Invalid { problem: text() },
        LoadError::Import { name: text() },
        LoadError::TooComplex { what: "".into(), found: 0, limit: 0 },
        LoadError::PrepareTime { limit_ms: 0 },
        LoadError::PrepareMemory { limit: 0 },
        LoadError::PrepareFailed { problem: text() },
        LoadError::HostPanic { problem: text() },
        LoadError::MissingInterface { exports: text() },
        LoadError::UnsupportedVersion { version: text(), remedy: "".into() },
        LoadError::MissingFunction { function: "".into() },
        LoadError::WrongType { function: "".into(), difference: text() },
        LoadError::Description { problem: text() },
    ];
    // Does not compile when an error is added: add it above and on the page.
    for error in &all {
        match error {
            LoadError::TooLarge { .. }
            | LoadError::NotWasm
            | LoadError::CoreModule
            | LoadError::Invalid { .. }
            | LoadError::Import { .. }
            | LoadError::TooComplex { .. }
            | LoadError::PrepareTime { .. }
            | LoadError::PrepareMemory { .. }
            | LoadError::PrepareFailed { .. }
            | LoadError::HostPanic { .. }
            | LoadError::MissingInterface { .. }
            | LoadError::UnsupportedVersion { .. }
            | LoadError::MissingFunction { .. }
            | LoadError::WrongType { .. }
            | LoadError::Description { .. } => {}
            // It has the code of its fault.
            LoadError::Describe { .. } => {}
        }
    }
    assert_eq!(page("load error"), all.iter().map(LoadError::code).collect());
    assert_eq!(LoadError::Describe { fault: Fault::Stack { limit: 0 } }.code(), "stack");
}

#[test]
fn refusals() {
    let all = [
        refusal::NO_APPLICABLE_BINDING,
        refusal::NO_PERMIT,
        refusal::NO_AUDIENCE_LEFT,
        refusal::CONFLICTING_CLAIM,
        refusal::NO_REASON_GIVEN,
    ];
    assert_eq!(all, refusal::ALL);
    assert_eq!(page("refusal"), all.into());
}

/// The version that is shown is the one that is compiled in.
#[test]
fn version_of_wasmtime() {
    let lock = include_str!("../../../Cargo.lock");
    let package = format!("name = \"wasmtime\"\nversion = \"{}\"\n", countersign::WASMTIME_VERSION);
    assert!(lock.contains(&package), "{package}");
}
