//! From a component's bytes to compiled code, in this process or elsewhere.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use crate::engine::{Engine, Optimization, compiling};
use crate::limits::Limits;
use crate::policy::{LoadError, check_component, invalid};
use crate::snapshot::{self, State};
use crate::text::escape;

/// Where components are checked and compiled.
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
    /// Wherever this compiles.
    Elsewhere(Arc<dyn Compile>),
}

/// Compiles components in another place than the process that evaluates them.
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

    /// The place in words, such as `a child process`.
    fn place(&self) -> &'static str;
}

/// What of a component is compiled.
#[derive(Debug, Clone, Copy)]
pub enum Form<'s> {
    /// The component as it is.
    AsItIs,
    /// The component with exports beside its own, by which its state can be read: to be configured
    /// once, so it is never optimised.
    Observable,
    /// The component in another state than the one it begins with.
    InState(&'s State),
}

/// Why a component was not compiled in a form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CompileError {
    /// The component cannot be a policy, in whatever form.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Its state cannot be read, or not be put in the place of the one it begins with. It can still
    /// be compiled as it is.
    #[error("there is no snapshot of it: {reason}")]
    NoSnapshot {
        /// Why not, escaped and cut.
        reason: String,
    },
}

/// Machine code of a component, for this build of this crate on this kind of processor.
pub struct CompiledCode(Vec<u8>);

impl CompiledCode {
    /// Checks and compiles a component in this process. Nothing of it is run.
    ///
    /// Of `limits`, only `component_bytes` is looked at.
    ///
    /// # Errors
    /// When the component is too large, malformed, imports something, would cost too much to
    /// compile, does not validate, or has not the form.
    pub fn compile(
        component: &[u8],
        form: Form<'_>,
        optimization: Optimization,
        limits: &Limits,
    ) -> Result<Self, CompileError> {
        check_component(component, limits)?;
        let no_snapshot = |reason| CompileError::NoSnapshot { reason };
        let formed = match form {
            Form::AsItIs => Cow::Borrowed(component),
            Form::Observable => Cow::Owned(snapshot::observable(component).map_err(no_snapshot)?),
            Form::InState(state) => {
                Cow::Owned(snapshot::with_state(component, state).map_err(no_snapshot)?)
            }
        };
        if let Form::InState(_) = form {
            // It is larger by its state, which has a bound of its own.
            let limits = Limits { component_bytes: u64::MAX, ..*limits };
            check_component(&formed, &limits)
                .map_err(|error| no_snapshot(escape(&error.to_string(), 256)))?;
        }
        let optimization = match form {
            Form::Observable => Optimization::None,
            Form::AsItIs | Form::InState(_) => optimization,
        };
        let engine = compiling(optimization).map_err(|error| failed(&error))?;
        match (engine.precompile_component(&formed), form) {
            (Ok(code), _) => Ok(Self(code)),
            (Err(error), Form::AsItIs) => Err(invalid(&error).into()),
            // It may be valid as it is.
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

    /// Readies the code to be run.
    pub(crate) fn load(&self, engine: &wasmtime::Engine) -> Result<Component, LoadError> {
        // SAFETY: `self` was compiled by this process, or its maker has vouched for it.
        #[expect(unsafe_code, reason = "the only place where compiled code is taken")]
        let component = unsafe { Component::deserialize(engine, &self.0) };
        component.map_err(|error| failed(&error.context("the compiled code was not taken")))
    }
}

impl Preparation {
    /// The place in words, such as `this process`.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match self {
            Self::InProcess => "this process",
            Self::Elsewhere(compiler) => compiler.place(),
        }
    }
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place())
    }
}

impl fmt::Debug for CompiledCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CompiledCode({} bytes)", self.0.len())
    }
}

/// Checks and compiles a component wherever the engine does that.
pub(crate) fn compile(
    engine: &Engine,
    component: &[u8],
    form: Form<'_>,
    limits: &Limits,
) -> Result<CompiledCode, CompileError> {
    let optimization = engine.optimization();
    match engine.preparation() {
        Preparation::InProcess => CompiledCode::compile(component, form, optimization, limits),
        Preparation::Elsewhere(compiler) => compiler.compile(component, form, optimization, limits),
    }
}

/// Compiles a component as it is.
pub(crate) fn compile_as_it_is(
    engine: &Engine,
    component: &[u8],
    limits: &Limits,
) -> Result<CompiledCode, LoadError> {
    compile(engine, component, Form::AsItIs, limits).map_err(|error| match error {
        CompileError::Load(error) => error,
        CompileError::NoSnapshot { reason } => LoadError::PrepareFailed { problem: reason },
    })
}

/// The same code for an engine with another stack.
pub(crate) fn again(component: &Component) -> Result<CompiledCode, LoadError> {
    component.serialize().map(CompiledCode).map_err(|error| failed(&error))
}

/// An error that is not the component's.
fn failed(error: &wasmtime::Error) -> LoadError {
    LoadError::PrepareFailed { problem: escape(&format!("{error:#}"), 512) }
}
