//! The WebAssembly engine, configured so that a guest has nothing but its arguments.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use wasmtime::InstanceAllocationStrategy;

use super::cache::Cache;
use super::compile::Preparation;
use crate::limits::Limits;
use crate::policy_set::settings_check::SettingsValidator;
use crate::sandbox::bounds::TICK;
use crate::sandbox::code_cache::{CodeCache, CodeSlot};
use crate::sandbox::guest::Guest;
use crate::sandbox::scheduler::{Scheduler, WorkerSlot};
use crate::sandbox::wasmtime_config::{Optimization, compatibility, config, pool, stack_of};
use crate::sandbox::wiping::Wiping;

/// The maximum of evaluations at a time, whatever the machine has.
const MAX_WORKER_SLOTS: usize = 128;

/// Makes all worker slots share one set of Wasmtime engines, pools and compiled code: to measure what
/// engines of their own bring.
const SHARE_ENGINES: bool = false;

/// Compiles and runs policies. Cheap to clone; make one per process.
///
/// It owns one thread, which wakes every [`Engine::TICK`] and moves the epoch that the wall-clock
/// limit is counted in. The thread ends when the last clone is dropped.
///
/// An evaluation runs on the thread that asks for it, which needs 1 MiB of stack more than the
/// largest [`Limits::stack_bytes`] in use, 2 MiB at most: a host thread without room for what a
/// guest may use would abort the process.
///
/// Each of the evaluations that run at a time has a worker slot, with Wasmtime engines and pools of its own,
/// and a copy of the compiled code of every binding that was evaluated there. So no processor reads memory
/// that another writes to, and a thread that evaluates again finds its slot again. A slot keeps the memory
/// that policies wrote to, to use it again: at most 512 KiB for each of 128 policies (fewer with more than
/// 16 processors), and as much for each size of the stack in use; on AMD's processors also for those whose
/// memory is one page, of which it keeps no more than that.
///
/// # Neighbours
/// As many evaluations run at a time as there are processors, 128 at most, and callers beyond that
/// wait: bindings are served in turn, however many callers each has. Most evaluations take microseconds.
/// One that takes more than 100,000 units of fuel, in `configure` or in `evaluate`, 4 MiB of memory or
/// 10 ms is slow: it is begun again and runs beside others of its kind on half of the processors (at
/// least one). After three slow ones in a row the next start there, until one needs half of that fuel.
/// A fault counts as slow, and so does one that took longer than a millisecond, whatever its fuel.
///
/// So a policy that burns all its fuel keeps its own callers waiting. Others wait for one evaluation
/// of each binding that waits too, and with two processors or more for fast ones only. Evaluations
/// are pure: when and how often one ran does not show in its verdict. The wait does not count against
/// [`Limits::wall_clock_ms`]. The number of callers that wait is for the caller to bound: each is a thread
/// of the caller's.
#[derive(Clone)]
pub struct Engine(Arc<Engines>);

/// On each worker slot, one Wasmtime engine for each size of the stack and each way to wipe memory, both of
/// which Wasmtime has per engine. Compiled code is the same for all of them, but each has its own copy.
struct Engines {
    config: EngineConfig,
    /// A hash that compiled code must have been compiled for.
    compatibility: u64,
    code_cache: Arc<CodeCache<Guest>>,
    scheduler: Scheduler,
    /// The maximum of evaluations at a time on each of `slots`.
    evaluations_each: usize,
    /// As many as evaluations run at a time, unless they [share](SHARE_ENGINES) one.
    slots: Box<[ByStack]>,
}

type ByStack = [ByWiping; STACKS];
type ByWiping = [OnceLock<Result<wasmtime::Engine, String>>; Wiping::COUNT];

/// The configuration of an [`Engine`]. Verdicts and fuel are the same whatever it is.
#[derive(Clone, Default)]
pub struct EngineConfig {
    /// The effort that is spent on preparing.
    pub optimization: Optimization,
    /// The place where components are compiled.
    pub preparation: Preparation,
    /// The cache of prepared policies for other processes; none unless given.
    pub cache: Option<Arc<dyn Cache>>,
    /// The maximum of bytes of compiled code that are held, of all policies and bindings; no bound unless
    /// given. Beyond it, the least recently used is dropped, and prepared again (or taken from the cache)
    /// when a run needs it. Code in use stays until then. Each processor's copy counts: a binding that all
    /// of them evaluate takes as many times its code.
    pub resident_bytes: Option<u64>,
    /// The validator of settings before the policy's own; none unless given, and the policy has the last
    /// word either way.
    pub settings_check: Option<Arc<dyn SettingsValidator>>,
}

/// The engine could not be made, which on a supported platform means that the host is out of
/// memory or threads.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine could not be started")]
pub struct EngineError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// From [`Limits::MIN_STACK_BYTES`] to the ceiling's, each twice the one before.
const STACKS: usize = (Limits::CEILING.stack_bytes / Limits::MIN_STACK_BYTES).ilog2() as usize + 1;

impl Engine {
    /// The interval at which the wall-clock limit is checked.
    pub const TICK: Duration = TICK;

    /// Starts an engine that compiles in this process and optimises what it compiles.
    ///
    /// # Errors
    /// When the platform is not supported, or its thread cannot be started.
    pub fn new() -> Result<Self, EngineError> {
        Self::with(EngineConfig::default())
    }

    /// Starts an engine.
    ///
    /// # Errors
    /// When the platform is not supported, or its thread cannot be started.
    pub fn with(config: EngineConfig) -> Result<Self, EngineError> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let workers = processors.clamp(1, MAX_WORKER_SLOTS);
        let slots = if SHARE_ENGINES { 1 } else { workers };
        let mut engines = Engines {
            code_cache: Arc::new(CodeCache::new(config.resident_bytes)),
            config,
            compatibility: 0,
            scheduler: Scheduler::new(workers),
            evaluations_each: workers / slots,
            slots: (0..slots)
                .map(|_| [const { [const { OnceLock::new() }; Wiping::COUNT] }; STACKS])
                .collect(),
        };
        // A fault of one is a fault of all of them, and is found here.
        let stack = Limits::DEFAULT.stack_bytes;
        let one = engines.on_slot(WorkerSlot(0), stack, Wiping::WrittenPages);
        engines.compatibility = one.map(compatibility).map_err(|e| EngineError(e.into()))?;
        let engines = Arc::new(engines);
        let ticking = Arc::downgrade(&engines);
        thread::Builder::new()
            .name("countersign-tick".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(Self::TICK);
                    let Some(engines) = ticking.upgrade() else { return };
                    let engines = engines.slots.iter().flatten().flatten();
                    for engine in engines.filter_map(OnceLock::get).flatten() {
                        engine.increment_epoch();
                    }
                }
            })
            .map_err(|e| EngineError(e.into()))?;
        Ok(Self(engines))
    }

    /// The effort that the engine spends on compiling.
    pub fn optimization(&self) -> Optimization {
        self.0.config.optimization
    }

    /// The place where the engine checks and compiles components.
    pub fn preparation(&self) -> &Preparation {
        &self.0.config.preparation
    }

    /// The bytes of compiled code that are held now, of all policies and bindings.
    pub fn resident_bytes(&self) -> u64 {
        self.0.code_cache.bytes()
    }

    pub(crate) fn cache(&self) -> Option<&dyn Cache> {
        self.0.config.cache.as_deref()
    }

    /// Tells whether settings are [checked](SettingsValidator) before a policy takes them.
    pub fn checks_settings(&self) -> bool {
        self.0.config.settings_check.is_some()
    }

    pub(crate) fn settings_check(&self) -> Option<&dyn SettingsValidator> {
        self.0.config.settings_check.as_deref()
    }

    pub(crate) fn compatibility(&self) -> u64 {
        self.0.compatibility
    }

    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    pub(crate) fn code_cache(&self) -> &Arc<CodeCache<Guest>> {
        &self.0.code_cache
    }

    /// A slot of the code cache for one program.
    pub(crate) fn new_code_slot(&self) -> CodeSlot<Guest> {
        CodeSlot::new(self.code_cache(), self.worker_slots())
    }

    /// The number of worker slots.
    pub(crate) fn worker_slots(&self) -> usize {
        self.0.slots.len()
    }

    /// The slot whose engines and code an evaluation on a worker slot uses.
    pub(crate) fn code_slot(&self, worker: WorkerSlot) -> WorkerSlot {
        if SHARE_ENGINES { WorkerSlot(0) } else { worker }
    }

    /// The slot whose engines and code this thread's next evaluation is likely to use.
    pub(crate) fn preferred_code_slot(&self) -> WorkerSlot {
        WorkerSlot::preferred(self.worker_slots())
    }

    /// The Wasmtime engine of a slot whose guests have at most so many bytes of stack, and whose memory is
    /// wiped in this way.
    pub(crate) fn on_slot(
        &self,
        slot: WorkerSlot,
        stack_bytes: u32,
        wiping: Wiping,
    ) -> Result<&wasmtime::Engine, String> {
        self.0.on_slot(slot, stack_bytes, wiping)
    }
}

impl Engines {
    fn on_slot(
        &self,
        slot: WorkerSlot,
        stack_bytes: u32,
        wiping: Wiping,
    ) -> Result<&wasmtime::Engine, String> {
        let stack_bytes = stack_of(stack_bytes);
        let index = (stack_bytes / Limits::MIN_STACK_BYTES).ilog2() as usize;
        let engines = self.slots.get(slot.0).ok_or("no such worker slot")?;
        let engines = engines.get(index).ok_or("no such stack")?;
        let engine = engines.get(wiping as usize).ok_or("no such way to wipe memory")?;
        engine
            .get_or_init(|| {
                let config = |strategy| {
                    let mut config = config(self.config.optimization);
                    config.max_wasm_stack(stack_bytes as usize).allocation_strategy(strategy);
                    config
                };
                let pool = pool(self.slots.len(), self.evaluations_each, wiping);
                wasmtime::Engine::new(&config(pool))
                    // Slower, but works where that much address space cannot be reserved.
                    .or_else(|_| {
                        let on_demand = InstanceAllocationStrategy::OnDemand;
                        wasmtime::Engine::new(&config(on_demand))
                    })
                    .map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(Clone::clone)
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("optimization", &self.0.config.optimization)
            .field("preparation", &self.0.config.preparation)
            .finish_non_exhaustive()
    }
}
