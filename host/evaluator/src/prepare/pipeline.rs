//! The one way from a component to a guest: taken from the cache, or else compiled in the form that is
//! wanted, or else compiled unmodified, and then put into the cache.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use super::cache::{CacheEntry, EntryOf};
use super::compile::{CompileError, CompiledCode, Form, Preparation};
use super::component::{Shape, WrongType, check_size, functions, invalid};
use super::engine::Engine;
use super::guarded::guarded;
use super::load_error::LoadError;
use super::snapshot::State;
use super::template::{self, Template};
use crate::contract::Description;
use crate::digest::Digest;
use crate::limits::{ConfigureUsage, Limits};
use crate::policy_set::settings::Settings;
use crate::sandbox::code_cache::CodeSlot;
use crate::sandbox::failure::ConfigureFault;
use crate::sandbox::guest::{Guest, Placement, Rejection};
use crate::sandbox::scheduler::WorkerSlot;
use crate::sandbox::wasmtime_config::{Optimization, stack_of};
use crate::sandbox::wiping::Wiping;
use crate::text::escape;

/// Raised whenever the same key would have to mean another entry.
const FORMAT: u32 = 5;

/// A component that is loaded, with the guest that takes settings.
pub(crate) struct LoadedComponent {
    engine: Engine,
    digest: Digest,
    bytes: Box<[u8]>,
    /// The limits that it was loaded under.
    limits: Limits,
    /// The reason why its state cannot be read, if it cannot.
    no_snapshot: Option<String>,
    shape: Shape,
    guest: CodeSlot<Guest>,
}

/// The result of preparing a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The policy's usage of its limits when it was given its settings.
    pub usage: ConfigureUsage,
    /// The reason why there is no snapshot of the policy with its settings, where there is none: it works
    /// all the same, and is given its settings in each evaluation. The reason is for people: escaped and
    /// cut.
    pub no_snapshot: Option<String>,
}

/// The reason why a policy cannot be prepared with its settings.
pub(crate) enum PrepareError {
    /// The component cannot be compiled or instantiated.
    Load(LoadError),
    /// The policy faulted while it took the settings.
    Configure(ConfigureFault),
    /// The policy rejects the settings.
    Settings(Rejection),
}

impl From<LoadError> for PrepareError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl LoadedComponent {
    /// Compiles a component, and asks the policy in it to describe itself.
    pub(crate) fn load(
        engine: &Engine,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<(Self, Description, ConfigureUsage), LoadError> {
        guarded(|| Self::load_unguarded(engine, bytes, limits))
    }

    fn load_unguarded(
        engine: &Engine,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<(Self, Description, ConfigureUsage), LoadError> {
        check_size(bytes, limits)?;
        let digest = Digest::of(bytes);
        let shape = Shape::of(bytes);
        let (about, guest) = prepare(engine, &Policy { engine, digest, bytes, shape, limits })?;
        let permit = engine.scheduler().acquire_to_prepare();
        let guest = on_slot(engine, &guest, engine.code_slot(permit.slot))?;
        let describe = |fault| LoadError::Describe { fault };
        guest.check_types(limits).map_err(describe)?.map_err(
            |WrongType { function, difference }| LoadError::WrongType {
                function: function.into(),
                difference,
            },
        )?;
        let (description, usage) = guest.describe(limits).map_err(describe)?;
        drop(permit);
        let slot = engine.new_code_slot();
        slot.put(guest.slot(), &guest);
        let loaded = Self {
            engine: engine.clone(),
            digest,
            bytes: bytes.into(),
            limits: *limits,
            no_snapshot: about.no_snapshot,
            shape,
            guest: slot,
        };
        Ok((loaded, description, usage))
    }

    /// Configures the policy, and makes the guest that every evaluation of the binding begins with;
    /// or takes it from the cache.
    pub(crate) fn bind(
        &self,
        settings: &Settings,
        limits: &Limits,
    ) -> Result<(Prepared, Arc<Guest>), PrepareError> {
        guarded(|| {
            let (About { usage, no_snapshot }, guest) =
                prepare(&self.engine, &Binding { component: self, settings, limits })?;
            Ok((Prepared { usage, no_snapshot }, guest))
        })
    }

    /// The guest for a worker slot. One that all bindings of this component share is copied there once.
    pub(crate) fn instantiate_for(
        &self,
        guest: &Arc<Guest>,
        slot: WorkerSlot,
    ) -> Result<Arc<Guest>, LoadError> {
        let shared = self.guest.at(guest.slot()).is_some_and(|own| Arc::ptr_eq(&own, guest));
        if !shared {
            return guarded(|| on_slot(&self.engine, guest, slot));
        }
        if let Some(there) = self.guest.at(slot) {
            return Ok(there);
        }
        let there = guarded(|| on_slot(&self.engine, guest, slot))?;
        self.guest.put(slot, &there);
        Ok(there)
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The guest that takes settings, on any worker slot, with the stack that these limits give it.
    fn guest(&self, limits: &Limits) -> Result<Arc<Guest>, LoadError> {
        let (engine, bytes) = (&self.engine, &*self.bytes);
        let guest = self.guest.any_or_make(|| {
            let Self { digest, shape, ref limits, .. } = *self;
            let policy = Policy { engine, digest, bytes, shape, limits };
            prepare(engine, &policy).map(|(_, guest)| (guest.slot(), guest))
        })?;
        if stack_of(limits.stack_bytes) == stack_of(self.limits.stack_bytes) {
            return Ok(guest);
        }
        recompile_for(engine, &guest, guest.slot(), limits.stack_bytes)
    }

    /// Configures the policy, and reads the resulting state. The inner error is the reason
    /// why it cannot be read.
    fn configure(
        &self,
        settings: &Settings,
        limits: &Limits,
    ) -> Result<(ConfigureUsage, Result<State, String>), PrepareError> {
        let guest = self.guest(limits)?;
        let permit = self.engine.scheduler().acquire_to_prepare();
        let guest = self.instantiate_for(&guest, self.engine.code_slot(permit.slot))?;
        let settings = settings.as_json();
        let configured = match &self.no_snapshot {
            None => guest.configure_and_read(limits, settings),
            Some(reason) => guest
                .configure(limits, settings)
                .map(|accepted| accepted.map(|usage| (usage, Err(reason.clone())))),
        };
        configured.map_err(PrepareError::Configure)?.map_err(PrepareError::Settings)
    }

    /// Compiles the component in a state, or fills the state into its template.
    fn in_state(&self, state: &State) -> Result<CompiledCode, CompileError> {
        let Self { engine, digest, bytes, limits, .. } = self;
        let compile = |state: &State| compile(engine, bytes, Form::Snapshot(state), limits);
        let template = has_templates(engine, bytes).then(|| Template::of(state)).flatten();
        let Some(template) = template else { return compile(state) };
        let key = Key::new(engine, *digest, None, &format!("template {}", template.shape()));
        let code = match get::<()>(engine, &key) {
            Some(((), code)) => code,
            None => {
                let code = compile(template.state())?;
                put(engine, &key, (), &code);
                code
            }
        };
        template.fill(code).map_or_else(|| compile(state), Ok)
    }
}

/// True where a component is compiled once for all settings: it is large, and there is a place to keep its template.
fn has_templates(engine: &Engine, component: &[u8]) -> bool {
    engine.cache().is_some() && component.len() >= template::MIN_COMPONENT_BYTES
}

/// One thing that is prepared.
trait Stage {
    type Usage: Serialize + for<'de> Deserialize<'de>;
    type Error: From<LoadError>;

    /// The key that it is cached under.
    fn key(&self) -> Key;

    /// Compiles it in the form that is wanted.
    #[expect(
        clippy::type_complexity,
        reason = "it may fail, and the form may be one that it does not have"
    )]
    fn wanted(&self) -> Result<(Self::Usage, Result<CompiledCode, CompileError>), Self::Error>;

    /// Compiles it unmodified, where it does not have that form.
    fn unmodified(&self) -> Result<CompiledCode, LoadError>;

    /// Links its code, in the form that is wanted or unmodified.
    fn link(&self, code: &CompiledCode, is_wanted: bool) -> Result<Arc<Guest>, LoadError>;
}

/// The facts that are cached beside code.
#[derive(Serialize, Deserialize)]
struct About<U> {
    usage: U,
    /// The reason why the code is that of the unmodified component, where it is.
    no_snapshot: Option<String>,
}

/// A guest, and the facts that are cached beside its code.
type Made<S> = (About<<S as Stage>::Usage>, Arc<Guest>);

/// Takes the guest from the cache, or else makes it and puts it there.
fn prepare<S: Stage>(engine: &Engine, stage: &S) -> Result<Made<S>, S::Error> {
    let key = stage.key();
    if let Some((about, code)) = get::<About<S::Usage>>(engine, &key)
        && let Ok(guest) = stage.link(&code, about.no_snapshot.is_none())
    {
        return Ok((about, guest));
    }
    let (usage, wanted) = stage.wanted()?;
    let (no_snapshot, code) = match wanted {
        Ok(code) => (None, code),
        Err(CompileError::Load(error)) => return Err(error.into()),
        Err(CompileError::NoSnapshot { reason }) => (Some(reason), stage.unmodified()?),
    };
    let guest = stage.link(&code, no_snapshot.is_none())?;
    let about = About { usage, no_snapshot };
    put(engine, &key, &about, &code);
    Ok((about, guest))
}

/// A policy before it has any settings: wanted with its state readable, so that it can become a snapshot.
struct Policy<'p> {
    engine: &'p Engine,
    digest: Digest,
    bytes: &'p [u8],
    shape: Shape,
    limits: &'p Limits,
}

impl Stage for Policy<'_> {
    type Usage = ();
    type Error = LoadError;

    fn key(&self) -> Key {
        Key::new(self.engine, self.digest, None, "")
    }

    fn wanted(&self) -> Result<((), Result<CompiledCode, CompileError>), LoadError> {
        let code = match self.engine.optimization() {
            Optimization::Speed => {
                compile(self.engine, self.bytes, Form::Instrumented, self.limits)
            }
            // Compiled once for all settings, that is soon worth it.
            Optimization::None if has_templates(self.engine, self.bytes) => {
                compile(self.engine, self.bytes, Form::Instrumented, self.limits)
            }
            Optimization::None => Err(CompileError::NoSnapshot {
                reason: "the engine prepares for a single evaluation".to_owned(),
            }),
        };
        Ok(((), code))
    }

    fn unmodified(&self) -> Result<CompiledCode, LoadError> {
        unmodified(self.engine, self.bytes, self.limits)
    }

    fn link(&self, code: &CompiledCode, _: bool) -> Result<Arc<Guest>, LoadError> {
        link(self.engine, code, self.shape, self.limits).map(Arc::new)
    }
}

/// A policy with the settings of a binding: wanted as a snapshot of the state that they lead to.
struct Binding<'b> {
    component: &'b LoadedComponent,
    settings: &'b Settings,
    limits: &'b Limits,
}

impl Stage for Binding<'_> {
    type Usage = ConfigureUsage;
    type Error = PrepareError;

    fn key(&self) -> Key {
        let Self { component, settings, limits } = self;
        // That the settings were accepted depends on them, and whether there is a snapshot on the last one.
        let limits = [
            limits.configure_fuel,
            limits.memory_bytes,
            stack_of(limits.stack_bytes).into(),
            limits.wall_clock_ms.into(),
            limits.prepare_memory_bytes,
        ];
        let settings = settings.digest();
        let binding = format!("{settings} {limits:?}");
        Key::new(&component.engine, component.digest, Some(settings), &binding)
    }

    fn wanted(&self) -> Result<(ConfigureUsage, Result<CompiledCode, CompileError>), PrepareError> {
        let (usage, state) = self.component.configure(self.settings, self.limits)?;
        let code = state
            .map_err(|reason| CompileError::NoSnapshot { reason })
            .and_then(|state| self.component.in_state(&state));
        Ok((usage, code))
    }

    /// No code where the component is unmodified already: its bindings share the guest.
    fn unmodified(&self) -> Result<CompiledCode, LoadError> {
        let LoadedComponent { engine, bytes, limits, no_snapshot, .. } = self.component;
        match no_snapshot {
            None => unmodified(engine, bytes, limits),
            Some(_) => Ok(CompiledCode::none()),
        }
    }

    fn link(&self, code: &CompiledCode, is_snapshot: bool) -> Result<Arc<Guest>, LoadError> {
        if !is_snapshot && code.as_bytes().is_empty() {
            return self.component.guest(self.limits);
        }
        let guest = link(&self.component.engine, code, self.component.shape, self.limits)?;
        Ok(Arc::new(if is_snapshot { guest.configured() } else { guest }))
    }
}

/// Checks and compiles a component wherever the engine does that.
fn compile(
    engine: &Engine,
    component: &[u8],
    form: Form<'_>,
    limits: &Limits,
) -> Result<CompiledCode, CompileError> {
    let optimization = engine.optimization();
    match engine.preparation() {
        Preparation::InProcess => CompiledCode::compile(component, form, optimization, limits),
        Preparation::External(compiler) => compiler.compile(component, form, optimization, limits),
    }
}

/// Compiles a component unmodified.
fn unmodified(
    engine: &Engine,
    component: &[u8],
    limits: &Limits,
) -> Result<CompiledCode, LoadError> {
    compile(engine, component, Form::Original, limits).map_err(|error| match error {
        CompileError::Load(error) => error,
        CompileError::NoSnapshot { reason } => LoadError::PrepareFailed { problem: reason },
    })
}

/// Links compiled code on the thread's preferred worker slot.
fn link(
    engine: &Engine,
    code: &CompiledCode,
    shape: Shape,
    limits: &Limits,
) -> Result<Guest, LoadError> {
    let (slot, stack_bytes) = (engine.preferred_code_slot(), limits.stack_bytes);
    let likely = Wiping::likely(code.as_bytes().len());
    let component = load_on(engine, slot, stack_bytes, likely, code)?;
    // The size of its memory is known now.
    let wiping = Wiping::of(&component);
    let component = match wiping == likely {
        true => component,
        false => load_on(engine, slot, stack_bytes, wiping, code)?,
    };
    guest_of(engine, (slot, stack_bytes), &component, code, shape)
}

fn load_on(
    engine: &Engine,
    slot: WorkerSlot,
    stack_bytes: u32,
    wiping: Wiping,
    code: &CompiledCode,
) -> Result<Component, LoadError> {
    let wasmtime = engine
        .on_slot(slot, stack_bytes, wiping)
        .map_err(|problem| LoadError::PrepareFailed { problem: escape(&problem, 512) })?;
    code.load(wasmtime)
}

fn guest_of(
    engine: &Engine,
    (slot, stack_bytes): (WorkerSlot, u32),
    component: &Component,
    code: &CompiledCode,
    shape: Shape,
) -> Result<Guest, LoadError> {
    let functions = functions(component)?;
    let code = engine.code_cache().count(code.as_bytes().len() as u64);
    Guest::new(component, functions, shape, Placement { slot, stack_bytes, code })
        .map_err(|error| invalid(&error))
}

/// The same guest on a worker slot.
fn on_slot(engine: &Engine, guest: &Arc<Guest>, slot: WorkerSlot) -> Result<Arc<Guest>, LoadError> {
    if guest.slot() == slot {
        return Ok(Arc::clone(guest));
    }
    recompile_for(engine, guest, slot, guest.stack_bytes())
}

/// The same guest on a worker slot, with a stack.
fn recompile_for(
    engine: &Engine,
    guest: &Guest,
    slot: WorkerSlot,
    stack_bytes: u32,
) -> Result<Arc<Guest>, LoadError> {
    let code = CompiledCode::of(guest.component())?;
    let component = load_on(engine, slot, stack_bytes, Wiping::of(guest.component()), &code)?;
    let copy = guest_of(engine, (slot, stack_bytes), &component, &code, guest.shape())?;
    Ok(Arc::new(if guest.is_configured() { copy.configured() } else { copy }))
}

/// The key of a cache entry, and what the entry must be of.
struct Key {
    digest: Digest,
    of: EntryOf,
}

impl Key {
    /// The key of everything that the entry depends on; `binding` is empty for a policy.
    fn new(engine: &Engine, component: Digest, settings: Option<Digest>, binding: &str) -> Self {
        let evaluator = env!("CARGO_PKG_VERSION");
        let optimized = engine.optimization() == Optimization::Speed;
        let engine = engine.compatibility();
        // None of them has a line break, so no two keys are written alike.
        let key = format!("{FORMAT}\n{evaluator}\n{engine}\n{optimized}\n{component}\n{binding}");
        let of = EntryOf { component, settings, evaluator: evaluator.to_owned(), optimized };
        Self { digest: Digest::of(key.as_bytes()), of }
    }
}

/// Takes an entry from the engine's cache, if it has one.
fn get<A: for<'de> Deserialize<'de>>(engine: &Engine, key: &Key) -> Option<(A, CompiledCode)> {
    engine.cache()?.get(&key.digest)?.parts(&key.of)
}

/// Puts an entry into the engine's cache, if it has one.
fn put(engine: &Engine, key: &Key, about: impl Serialize, code: &CompiledCode) {
    if let Some(cache) = engine.cache() {
        cache.put(&key.digest, &CacheEntry::new(&key.of, about, code.as_bytes()));
    }
}
