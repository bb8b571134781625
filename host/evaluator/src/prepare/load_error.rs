//! Errors of loading a component as a policy.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::contract::{INTERFACE, INTERFACE_STEM};
use crate::decision::fault::Fault;

/// The reason that a component cannot be a policy.
///
/// The list is exhaustive: [`LoadError::code`] is stable, and matching on it needs no default arm.
// What can be found while a component is checked and compiled crosses the pipe of a child process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LoadError {
    /// The file is larger than the binding's limit; it was not read further.
    #[error(
        "the component has {bytes} bytes, at most {limit} are allowed; a binding can raise `component-bytes`"
    )]
    TooLarge {
        /// Size of the component.
        bytes: usize,
        /// The limit.
        limit: u64,
    },
    /// The file does not begin as a WebAssembly file does.
    #[error("not a WebAssembly component: the file does not begin with `\\0asm`")]
    NotWasm,
    /// The file is a core module.
    #[error(
        "a core WebAssembly module, expected a component; `wasm-tools component new` makes one, and so does the policy SDK"
    )]
    CoreModule,
    /// The component does not validate, or uses a feature that policies may not.
    #[error("not a valid component for a policy: {problem}")]
    Invalid {
        /// The validator's message, escaped and cut.
        problem: String,
    },
    /// The component imports something.
    #[error(
        "imports `{name}`, but a policy imports nothing: everything it may know is an argument"
    )]
    Import {
        /// Name of the first import, escaped and cut.
        name: String,
    },
    /// The component would cost too much to compile or to instantiate; it was not compiled.
    #[error("too complex: {found} {what}, at most {limit} are allowed")]
    TooComplex {
        /// The thing that there is too much of.
        what: Cow<'static, str>,
        /// The count, at least.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Checking and compiling took longer than it may. Another machine may not reproduce it.
    #[error(
        "checking and compiling took longer than {limit_ms} ms; a binding can raise `prepare-ms`"
    )]
    PrepareTime {
        /// The limit in milliseconds.
        limit_ms: u32,
    },
    /// Checking and compiling took more memory than it may. Another machine may not reproduce it.
    #[error(
        "checking and compiling took more than {limit} bytes of memory; a binding can raise `prepare-memory-bytes`"
    )]
    PrepareMemory {
        /// The limit in bytes.
        limit: u64,
    },
    /// The process that checks and compiles crashed or could not be used. Another machine may not
    /// reproduce it.
    #[error("could not be checked and compiled: {problem}")]
    PrepareFailed {
        /// The problem, escaped and cut.
        problem: String,
    },
    /// The host panicked over the component while it was checked, compiled or asked what it is: a defect of the host, the
    /// same on every machine.
    #[error(
        "the host panicked over it, which is a defect of this version and may be reported: {problem}"
    )]
    HostPanic {
        /// The message of the panic, escaped and cut, without its place.
        problem: String,
    },
    /// The component does not export the contract's interface in any version.
    #[serde(skip)]
    #[error("does not export `{INTERFACE}`; its exports are: {exports}")]
    MissingInterface {
        /// Its exports instead, escaped and cut.
        exports: String,
    },
    /// The component exports the contract's interface in a version that this host does not serve.
    #[serde(skip)]
    #[error("exports `{INTERFACE_STEM}{version}`, but this host serves 1.0.0: {remedy}")]
    UnsupportedVersion {
        /// The version that the component was built for, escaped and cut.
        version: String,
        /// The remedy.
        remedy: Cow<'static, str>,
    },
    /// The interface lacks a function.
    #[serde(skip)]
    #[error("its interface `{INTERFACE}` has no function `{function}`")]
    MissingFunction {
        /// Name of the function.
        function: Cow<'static, str>,
    },
    /// A function has another type than the contract gives it.
    #[serde(skip)]
    #[error("its function `{function}` has not the contract's type: {difference}")]
    WrongType {
        /// Name of the function.
        function: Cow<'static, str>,
        /// The difference of the types, escaped and cut.
        difference: String,
    },
    /// The policy faulted while it was instantiated or while it described itself.
    #[serde(skip)]
    #[error("could not say what it is: it {fault}")]
    Describe {
        /// The fault.
        fault: Fault,
    },
    /// The description breaks the contract.
    #[serde(skip)]
    #[error("its description is out of form: {problem}")]
    Description {
        /// The problem.
        problem: String,
    },
}

impl LoadError {
    /// The stable code: lower-case words joined by dashes. A policy that faults when it is
    /// instantiated or asked what it is has the code of the [`Fault`].
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotWasm => "not-wasm",
            Self::CoreModule => "core-module",
            Self::Invalid { .. } => "invalid",
            Self::Import { .. } => "import",
            Self::MissingInterface { .. } => "missing-interface",
            Self::UnsupportedVersion { .. } => "unsupported-version",
            Self::MissingFunction { .. } => "missing-function",
            Self::WrongType { .. } => "wrong-type",
            Self::TooComplex { .. } => "too-complex",
            Self::PrepareTime { .. } => "prepare-time",
            Self::PrepareMemory { .. } => "prepare-memory",
            Self::PrepareFailed { .. } => "prepare-failed",
            Self::HostPanic { .. } => "host-panic",
            Self::Describe { fault } => fault.code(),
            Self::Description { .. } => "description",
        }
    }
}
