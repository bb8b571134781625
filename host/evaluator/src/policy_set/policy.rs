//! A policy: a component that was checked against the contract.

use std::sync::Arc;

use super::description::Description;
use super::settings::Settings;
use crate::digest::Digest;
use crate::limits::{ConfigureUsage, Limits};
use crate::prepare::engine::Engine;
use crate::prepare::load_error::LoadError;
use crate::prepare::pipeline::{LoadedComponent, PrepareError, Prepared};
use crate::sandbox::guest::Guest;
use crate::sandbox::scheduler::WorkerSlot;

/// A component that imports nothing, exports the contract with its exact types, and describes itself. It
/// has no settings yet: see [`Binding`](crate::Binding).
pub struct Policy {
    component: LoadedComponent,
    description: Description,
    describe_usage: ConfigureUsage,
}

impl Policy {
    /// Checks and compiles a component, in the place where the engine does that: its digest is of exactly
    /// the bytes that are compiled.
    ///
    /// Of `limits`, `component_bytes` and those of preparing bound that; then those of `configure`
    /// bound its instantiation and `describe`.
    ///
    /// Exports beside the contract's interface are ignored: they are never called.
    ///
    /// # Errors
    /// When the component is not a policy, with the reason.
    pub fn load(engine: &Engine, bytes: &[u8], limits: &Limits) -> Result<Self, LoadError> {
        let (component, description, describe_usage) =
            LoadedComponent::load(engine, bytes, limits)?;
        Ok(Self { component, description: Description::check(description)?, describe_usage })
    }

    /// Configures the policy, and makes the guest that evaluates with these settings.
    pub(super) fn bind(
        &self,
        settings: &Settings,
        limits: &Limits,
    ) -> Result<(Prepared, Arc<Guest>), PrepareError> {
        self.component.bind(settings, limits)
    }

    /// A guest of the policy on a worker slot.
    pub(super) fn instantiate_for(
        &self,
        guest: &Arc<Guest>,
        slot: WorkerSlot,
    ) -> Result<Arc<Guest>, LoadError> {
        self.component.instantiate_for(guest, slot)
    }

    pub(super) fn engine(&self) -> &Engine {
        self.component.engine()
    }

    /// Digest of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.component.digest()
    }

    /// Size of the component in bytes.
    pub fn component_bytes(&self) -> usize {
        self.component.bytes().len()
    }

    /// Usage of the limits of `configure` when it was instantiated and described itself.
    pub fn describe_usage(&self) -> ConfigureUsage {
        self.describe_usage
    }

    /// The policy's description of itself.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({} {})", self.description.name, self.digest())
    }
}
