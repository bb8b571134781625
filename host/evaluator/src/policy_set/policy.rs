//! A policy: a component that was checked against the contract.

use std::sync::Arc;

use wasmparser::{Parser, Payload};
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::cache::{self, PolicyEntry};
use crate::compile::{self, CompileError, CompiledCode, Form};
use crate::contract::{self, INTERFACE, INTERFACE_STEM};
use crate::digest::Digest;
use crate::engine::{Engine, Optimization, stack_of};
use crate::identifier::is_name;
use crate::json::{self, JsonLimits};
use crate::lane::Seat;
use crate::limits::Limits;
pub use crate::prepare::load_error::LoadError;
use crate::prepare::precheck;
use crate::resident::Resident;
use crate::sandbox::{Functions, Guest, Seated, Taken};
use crate::snapshot::{STATE_INSTANCE, State};
use crate::text::{escape, is_misleading};

/// The most core instances of a policy. `componentize-py` makes 38.
pub(crate) const CORE_INSTANCES: u32 = 64;

/// The most component instances of a policy, those made of exports included.
pub(crate) const COMPONENT_INSTANCES: u32 = 128;

/// The most memories and tables of a policy, counted over all instances.
pub(crate) const MEMORIES_AND_TABLES: u32 = 16;

/// The most elements of all tables of a component together when they are made. How many an instance may
/// have is another matter.
pub(crate) const MAX_LOADED_TABLE_ELEMENTS: usize = 1_000_000;

const FUNCTIONS: [&str; 3] = ["describe", "configure", "evaluate"];
const MAX_SCHEMA_BYTES: usize = 65_536;
const MAX_SUMMARY_BYTES: usize = 512;
const MAX_VERSION_BYTES: usize = 64;

/// A component that imports nothing, exports the contract with its exact types, and says what it
/// is. It has no settings yet: see [`Binding`](crate::Binding).
pub struct Policy {
    digest: Digest,
    component: Box<[u8]>,
    description: Description,
    described: Taken,
    engine: Engine,
    /// What it was loaded under.
    limits: Limits,
    /// Why its state cannot be read, if it cannot.
    no_snapshot: Option<String>,
    guest: Resident,
}

/// What a policy says about itself. Texts are checked or escaped, but they are the policy's: only
/// the digest identifies a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The policy's name: lower-case words joined by dashes, 1 to 63 bytes.
    pub name: String,
    /// Its version, by Semantic Versioning, at most 64 bytes.
    pub version: String,
    /// One sentence on what it decides, 1 to 512 bytes.
    pub summary: String,
    /// JSON Schema of its settings as JSON text of at most 64 KiB, or `None` when it has none.
    pub settings_schema: Option<String>,
}

impl Policy {
    /// Checks and compiles a component, where the engine does that: its digest is of exactly the
    /// bytes that are compiled.
    ///
    /// Of `limits`, `component_bytes` and those of preparing bound that; then those of `configure`
    /// bound its instantiation and `describe`.
    ///
    /// Exports beside the contract's interface are ignored: they are never called.
    ///
    /// # Errors
    /// When the component is not a policy, with the reason.
    pub fn load(engine: &Engine, bytes: &[u8], limits: &Limits) -> Result<Self, LoadError> {
        too_large(bytes, limits)?;
        let digest = Digest::of(bytes);
        let (no_snapshot, guest) = compiled(engine, digest, bytes, limits)?;
        let turn = engine.turns().take_to_prepare();
        let guest = guest.for_seat(turn.seat)?;
        guest.check_types(limits).map_err(|fault| LoadError::Describe { fault })?.map_err(
            |wrong| LoadError::WrongType {
                function: wrong.function.into(),
                difference: wrong.difference,
            },
        )?;
        let (description, described) =
            guest.describe(limits).map_err(|fault| LoadError::Describe { fault })?;
        drop(turn);
        let resident = Resident::new(engine.residents(), engine.seats());
        resident.put(&guest);
        Ok(Self {
            digest,
            component: bytes.into(),
            description: Description::check(description)?,
            described,
            engine: engine.clone(),
            limits: *limits,
            no_snapshot,
            guest: resident,
        })
    }

    /// The guest to be configured, at any seat, with the stack that these limits give it; and whether its
    /// state can be read then, or why not.
    pub(crate) fn guest(
        &self,
        limits: &Limits,
    ) -> Result<(Arc<Guest>, Result<(), &str>), LoadError> {
        let guest = self.guest.get(|| {
            compiled(&self.engine, self.digest, &self.component, &self.limits)
                .map(|(_, guest)| guest)
        })?;
        let observable = self.no_snapshot.as_deref().map_or(Ok(()), Err);
        if stack_of(limits.stack_bytes) == stack_of(self.limits.stack_bytes) {
            return Ok((guest, observable));
        }
        Ok((guest.with_stack(limits.stack_bytes)?, observable))
    }

    /// The guest to be configured in each evaluation.
    pub(crate) fn as_it_is(&self, limits: &Limits) -> Result<Arc<Guest>, LoadError> {
        let (guest, observable) = self.guest(limits)?;
        if observable.is_err() {
            return Ok(guest);
        }
        let code = compile::compile_as_it_is(&self.engine, &self.component, &self.limits)?;
        Ok(Arc::new(Guest::link(&self.engine, &code, limits)?))
    }

    /// Brings a guest to a seat. One that all bindings of this policy share is brought there once.
    pub(crate) fn bring(&self, guest: &Arc<Guest>, seat: Seat) -> Result<Arc<Guest>, LoadError> {
        let shared = self.guest.at(guest.seat()).is_some_and(|own| Arc::ptr_eq(&own, guest));
        if !shared {
            return guest.for_seat(seat);
        }
        if let Some(there) = self.guest.at(seat) {
            return Ok(there);
        }
        let there = guest.for_seat(seat)?;
        self.guest.put(&there);
        Ok(there)
    }

    /// Compiles the component in another state, or says why there is no such thing.
    pub(crate) fn in_state(&self, state: &State) -> Result<CompiledCode, CompileError> {
        compile::compile(&self.engine, &self.component, Form::InState(state), &self.limits)
    }

    /// Readies the code of a snapshot.
    pub(crate) fn snapshot(
        &self,
        code: &CompiledCode,
        limits: &Limits,
    ) -> Result<Arc<Guest>, LoadError> {
        Ok(Arc::new(Guest::link(&self.engine, code, limits)?.configured()))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Digest of the component's bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Size of the component in bytes.
    pub fn component_bytes(&self) -> usize {
        self.component.len()
    }

    /// What it took of the limits of `configure` to be instantiated and to describe itself.
    pub fn described(&self) -> Taken {
        self.described
    }

    /// What the policy says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Policy({} {})", self.description.name, self.digest)
    }
}

/// The names that a component imports, without compiling it.
///
/// # Errors
/// When the bytes are no component, end early or are malformed.
pub fn imports(component: &[u8]) -> Result<Vec<String>, LoadError> {
    if !component.starts_with(b"\0asm") {
        return Err(LoadError::NotWasm);
    }
    if Parser::is_core_wasm(component) {
        return Err(LoadError::CoreModule);
    }
    let mut names = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(precheck::malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    names.push(import.map_err(precheck::malformed)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Checks everything that can be checked before a component is compiled.
pub(crate) fn check_component(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    too_large(bytes, limits)?;
    if let Some(name) = imports(bytes)?.first() {
        return Err(LoadError::Import { name: escape(name, 256) });
    }
    precheck::precheck(bytes)
}

fn too_large(bytes: &[u8], limits: &Limits) -> Result<(), LoadError> {
    let limit = limits.component_bytes;
    if bytes.len() as u64 > limit {
        return Err(LoadError::TooLarge { bytes: bytes.len(), limit });
    }
    Ok(())
}

pub(crate) fn invalid(error: &wasmtime::Error) -> LoadError {
    LoadError::Invalid { problem: escape(&format!("{error:#}"), 512) }
}

impl Guest {
    /// Readies compiled code, at the thread's usual seat: finds the contract's functions in it, and links
    /// it.
    fn link(engine: &Engine, code: &CompiledCode, limits: &Limits) -> Result<Self, LoadError> {
        let seat = Seat::usual(engine.seats());
        Self::link_at(engine, seat, limits.stack_bytes, code)
    }

    /// The same guest at a seat.
    pub(crate) fn for_seat(self: &Arc<Self>, seat: Seat) -> Result<Arc<Self>, LoadError> {
        if self.seat() == seat {
            return Ok(Arc::clone(self));
        }
        self.again(seat, self.stack_bytes())
    }

    /// The same guest with another stack.
    fn with_stack(&self, stack_bytes: u32) -> Result<Arc<Self>, LoadError> {
        self.again(self.seat(), stack_bytes)
    }

    fn again(&self, seat: Seat, stack_bytes: u32) -> Result<Arc<Self>, LoadError> {
        let code = compile::again(self.component())?;
        let again = Self::link_at(self.engine(), seat, stack_bytes, &code)?;
        Ok(Arc::new(if self.is_configured() { again.configured() } else { again }))
    }

    fn link_at(
        engine: &Engine,
        seat: Seat,
        stack_bytes: u32,
        code: &CompiledCode,
    ) -> Result<Self, LoadError> {
        let wasmtime = engine
            .at(seat, stack_bytes)
            .map_err(|problem| LoadError::PrepareFailed { problem: escape(&problem, 512) })?;
        let component = code.load(wasmtime)?;
        let functions = functions(&component)?;
        let loaded = engine.residents().load(code.as_bytes().len() as u64);
        Self::new(engine.clone(), &component, functions, Seated { seat, stack_bytes, loaded })
            .map_err(|error| invalid(&error))
    }
}

/// Compiles a component so that its state can be read, where it is worth it and can be done; and says
/// why not, where not.
fn compiled(
    engine: &Engine,
    digest: Digest,
    component: &[u8],
    limits: &Limits,
) -> Result<(Option<String>, Arc<Guest>), LoadError> {
    let key = cache::policy_key(engine, digest);
    if let Some((PolicyEntry { no_snapshot }, code)) = cache::get(engine, &key)
        && let Ok(guest) = Guest::link(engine, &code, limits)
    {
        return Ok((no_snapshot, Arc::new(guest)));
    }
    let observable = match engine.optimization() {
        Optimization::Speed => compile::compile(engine, component, Form::Observable, limits),
        Optimization::None => Err(CompileError::NoSnapshot {
            reason: "the engine prepares for a single evaluation".to_owned(),
        }),
    };
    let (no_snapshot, code) = match observable {
        Ok(code) => (None, code),
        Err(CompileError::Load(error)) => return Err(error),
        Err(CompileError::NoSnapshot { reason }) => {
            (Some(reason), compile::compile_as_it_is(engine, component, limits)?)
        }
    };
    let guest = Guest::link(engine, &code, limits)?;
    let entry = PolicyEntry { no_snapshot };
    cache::put(engine, &key, &entry, code.as_bytes());
    Ok((entry.no_snapshot, Arc::new(guest)))
}

/// Finds the contract's functions. The version must match to the digit: Wasmtime would also take
/// a compatible one, but a newer minor version may call on what this host does not have.
fn functions(component: &Component) -> Result<Functions, LoadError> {
    let ty = component.component_type();
    let exports: Vec<String> = ty
        .exports(component.engine())
        // The host's own, by which state is read.
        .filter(|(name, _)| *name != STATE_INSTANCE)
        .map(|(name, _)| name.to_owned())
        .collect();
    if !exports.iter().any(|name| name == INTERFACE) {
        return Err(missing_interface(&exports));
    }
    let Some((ComponentItem::ComponentInstance(_), interface)) =
        component.get_export(None, INTERFACE)
    else {
        return Err(missing_interface(&exports));
    };
    let [describe, configure, evaluate] =
        FUNCTIONS.map(|function| match component.get_export(Some(&interface), function) {
            Some((ComponentItem::ComponentFunc(_), index)) => Ok(index),
            _ => Err(LoadError::MissingFunction { function: function.into() }),
        });
    Ok(Functions { describe: describe?, configure: configure?, evaluate: evaluate? })
}

fn missing_interface(exports: &[String]) -> LoadError {
    let other = exports.iter().find_map(|name| name.strip_prefix(INTERFACE_STEM));
    match other {
        Some(version) if version != "1.0.0" => LoadError::UnsupportedVersion {
            version: escape(version, 64),
            remedy: match semver::Version::parse(version) {
                Ok(v) if (v.major, v.minor, v.patch) > contract::VERSION => {
                    "use a newer host, or build the policy for 1.0.0".into()
                }
                _ => "build the policy for 1.0.0".into(),
            },
        },
        _ => {
            let list =
                exports.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let exports = if list.is_empty() { "none".to_owned() } else { escape(&list, 512) };
            LoadError::MissingInterface { exports }
        }
    }
}

impl Description {
    fn check(raw: contract::Description) -> Result<Self, LoadError> {
        let problem = |problem: String| Err(LoadError::Description { problem });
        if !is_name(&raw.name) {
            return problem(format!(
                "the name `{}` is not 1 to 63 lower-case letters and digits with single dashes between them",
                escape(&raw.name, 80)
            ));
        }
        if raw.version.len() > MAX_VERSION_BYTES || semver::Version::parse(&raw.version).is_err() {
            return problem(format!(
                "the version `{}` does not follow Semantic Versioning",
                escape(&raw.version, 80)
            ));
        }
        if !(1..=MAX_SUMMARY_BYTES).contains(&raw.summary.len()) {
            return problem(format!(
                "the summary has {} bytes, expected 1 to 512",
                raw.summary.len()
            ));
        }
        let limits = JsonLimits { bytes: MAX_SCHEMA_BYTES, depth: 64 };
        let settings_schema = match raw.settings_schema {
            empty if empty.is_empty() => None,
            schema => match json::parse(schema.as_bytes(), limits) {
                // It is printed as it is, so nothing in it may mislead a terminal.
                Ok(_) if schema.contains(|c| c != '\n' && is_misleading(c)) => {
                    return problem("the settings schema has control characters".to_owned());
                }
                Ok(_) => Some(schema),
                Err(error) => return problem(format!("the settings schema: {error}")),
            },
        };
        let summary = escape(&raw.summary, MAX_SUMMARY_BYTES);
        Ok(Self { name: raw.name, version: raw.version, summary, settings_schema })
    }
}
