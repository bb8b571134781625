//! Compiles a component's bytes to machine code, in this process or in another.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use super::component::{check_component, invalid};
use super::guarded::guarded;
use super::load_error::LoadError;
use super::metered::metered;
use super::snapshot::{self, State};
use crate::limits::Limits;
use crate::sandbox::wasmtime_config::{Optimization, compiling};
use crate::text::escape;

/// The place where components are checked and compiled.
///
/// Compiling is the one place where Wasmtime promises nothing. What is known to be costly is refused
/// before it, but only a process of its own can be held to a time and to an amount of memory, and can
/// crash alone. A service, and whoever loads components that strangers made, compiles elsewhere: the
/// crate `countersign-compiler-worker` has a child process that does.
#[derive(Clone, Default)]
pub enum Preparation {
    /// In this process, without a bound on time and memory: [`Limits::prepare_ms`] and
    /// [`Limits::prepare_memory_bytes`] do nothing.
    #[default]
    InProcess,
    /// Outside of this process, by this compiler.
    External(Arc<dyn Compile>),
}

/// Compiles components outside of the process that evaluates them.
pub trait Compile: Send + Sync {
    /// Checks and compiles a component, as [`CompiledCode::compile`] does, within
    /// [`Limits::prepare_ms`] and [`Limits::prepare_memory_bytes`].
    ///
    /// # Errors
    /// Those of [`CompiledCode::compile`]; and [`LoadError::PrepareTime`],
    /// [`LoadError::PrepareMemory`] and [`LoadError::PrepareFailed`].
    fn compile(
        &self,
        component: &[u8],
        form: Form<'_>,
        optimization: Optimization,
        limits: &Limits,
    ) -> Result<CompiledCode, CompileError>;

    /// A name for people, such as `a child process`.
    fn name(&self) -> &'static str;
}

/// The form in which a component is compiled.
#[derive(Debug, Clone, Copy)]
pub enum Form<'s> {
    /// The unmodified component.
    Original,
    /// The component with exports beside its own, by which its state can be read: to be configured
    /// once, so it is never optimised.
    Instrumented,
    /// The component in this state, in the place of the one that it begins with.
    Snapshot(&'s State),
}

/// The reason why a component was not compiled in a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CompileError {
    /// The component cannot be a policy, in whatever form.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its state cannot be read, or not be put in the place of the one that it begins with. It can still
    /// be compiled unmodified.
    #[error("it has no snapshot: {reason}")]
    NoSnapshot {
        /// The reason, escaped and cut.
        reason: String,
    },
}

/// Machine code of a component, for this build of this crate on this kind of processor.
pub struct CompiledCode(Vec<u8>);

impl CompiledCode {
    /// Checks and compiles a component in this process. Nothing of it is run.
    ///
    /// Of `limits`, only `component_bytes` applies.
    ///
    /// # Errors
    /// When the component is too large, malformed, imports something, would cost too much to
    /// compile, does not validate, or has not the form; and when the compiler panics over it.
    pub fn compile(
        component: &[u8],
        form: Form<'_>,
        optimization: Optimization,
        limits: &Limits,
    ) -> Result<Self, CompileError> {
        guarded(|| Self::compile_unguarded(component, form, optimization, limits))
    }

    fn compile_unguarded(
        component: &[u8],
        form: Form<'_>,
        optimization: Optimization,
        limits: &Limits,
    ) -> Result<Self, CompileError> {
        check_component(component, limits)?;
        let no_snapshot = |reason| CompileError::NoSnapshot { reason };
        let formed = match form {
            Form::Original => metered(component)?.map_or(Cow::Borrowed(component), Cow::Owned),
            Form::Instrumented => {
                Cow::Owned(snapshot::instrumented(component).map_err(no_snapshot)?)
            }
            Form::Snapshot(state) => {
                Cow::Owned(snapshot::rewritten(component, state).map_err(no_snapshot)?)
            }
        };
        if let Form::Snapshot(_) = form {
            // It is larger by its state, which has a bound of its own.
            let limits = Limits { component_bytes: u64::MAX, ..*limits };
            check_component(&formed, &limits)
                .map_err(|error| no_snapshot(escape(&error.to_string(), 256)))?;
        }
        let optimization = match form {
            Form::Instrumented => Optimization::None,
            Form::Original | Form::Snapshot(_) => optimization,
        };
        let engine = compiling(optimization).map_err(|error| failed(&error))?;
        match (engine.precompile_component(&formed), form) {
            (Ok(code), _) => Ok(Self(code)),
            (Err(error), Form::Original) => Err(invalid(&error).into()),
            // Unmodified, it may be valid.
            (Err(error), _) => Err(no_snapshot(escape(&format!("{error:#}"), 256))),
        }
    }

    /// Takes back what [`CompiledCode::into_bytes`] gave.
    ///
    /// # Safety
    /// The bytes are run as machine code. They must be what `into_bytes` gave in a process of this
    /// same build, and nobody else may have been able to change them since: they come over a pipe
    /// from a child of one's own, or are authenticated.
    #[expect(unsafe_code, reason = "the caller vouches for machine code")]
    #[must_use]
    pub unsafe fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The code as bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Code of nothing.
    pub(super) fn none() -> Self {
        Self(Vec::new())
    }

    /// The code of a component, for an engine with another stack or on another worker slot.
    pub(super) fn of(component: &Component) -> Result<Self, LoadError> {
        component.serialize().map(Self).map_err(|error| failed(&error))
    }

    /// Maps the code into memory, to be run.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> Result<Component, LoadError> {
        // SAFETY: this process compiled it, or its maker has vouched for it.
        #[expect(unsafe_code, reason = "the only place where compiled code is taken")]
        let component = unsafe { Component::deserialize(engine, &self.0) };
        component.map_err(|error| failed(&error.context("the compiled code was rejected")))
    }
}

impl Preparation {
    /// A name for people, such as `this process`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::InProcess => "this process",
            Self::External(compiler) => compiler.name(),
        }
    }
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for CompiledCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompiledCode({} bytes)", self.0.len())
    }
}

/// An error that is not the component's.
fn failed(error: &wasmtime::Error) -> LoadError {
    LoadError::PrepareFailed { problem: escape(&format!("{error:#}"), 512) }
}
