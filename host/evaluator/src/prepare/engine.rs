//! The WebAssembly engine, configured so that a guest has nothing but its arguments.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
};

use crate::cache::{self, Cache};
use crate::compile::Preparation;
use crate::lane::{Seat, Turns};
use crate::limits::Limits;
use crate::policy::{
    COMPONENT_INSTANCES, CORE_INSTANCES, MAX_LOADED_TABLE_ELEMENTS, MEMORIES_AND_TABLES,
};
use crate::resident::Residents;
use crate::settings_check::CheckSettings;

/// Compiles and runs policies. Cheap to clone; make one per process.
///
/// It owns one thread, which wakes every [`Engine::TICK`] and moves the epoch that the wall-clock
/// limit is counted in. The thread ends when the last clone is dropped.
///
/// An evaluation runs on the thread that asks for it, which needs 1 MiB of stack more than the
/// largest [`Limits::stack_bytes`] in use, 2 MiB at most: a host thread without room for what a
/// guest may use would abort the process.
///
/// Each of the evaluations that run at a time has a seat, with Wasmtime engines and pools of its own, and a
/// copy of the compiled code of every binding that was evaluated there. So what one processor writes is
/// not what another reads, and a thread that evaluates again finds its seat again. A seat keeps the memory
/// that policies wrote to, to use it again: at most 512 KiB for each of 128 policies (fewer with more than 16
/// processors), and as much for each size of the stack in use.
///
/// # Neighbours
/// As many evaluations run at a time as there are processors, 128 at most, and callers beyond that
/// wait: bindings take turns, however many callers each has. Most evaluations take microseconds. One
/// that takes more than 100,000 units of fuel, in `configure` or in `evaluate`, 4 MiB of memory or
/// 10 ms is long: it is begun again and runs beside others of its kind on half of the processors (at
/// least one). After three in a row so does what comes after them, until one needs half of that fuel.
/// A fault counts as long.
///
/// So a policy that burns all its fuel keeps its own callers waiting. Others wait for one evaluation
/// of each binding that waits too, and with two processors or more for short ones only. Evaluations
/// are pure: when and how often one ran does not show in its answer. The wait does not count against
/// [`Limits::wall_clock_ms`]. How many may wait is for the caller to bound: each is a thread of the
/// caller's.
#[derive(Clone)]
pub struct Engine(Arc<Engines>);

/// At each seat, one Wasmtime engine for each size of the stack, which Wasmtime has per engine. Compiled
/// code is the same for all of them, but each has its own copy.
struct Engines {
    config: EngineConfig,
    /// What compiled code must be compatible with.
    compatibility: u64,
    residents: Arc<Residents>,
    turns: Turns,
    /// As many as evaluations run at a time.
    seats: Box<[ByStack]>,
}

type ByStack = [OnceLock<Result<wasmtime::Engine, String>>; STACKS];

/// What an [`Engine`] is made with. Verdicts and fuel are the same whatever is chosen.
#[derive(Clone, Default)]
pub struct EngineConfig {
    /// How much is spent on preparing.
    pub optimization: Optimization,
    /// Where components are compiled.
    pub preparation: Preparation,
    /// Where what was prepared is kept for other processes; nowhere unless given.
    pub cache: Option<Arc<dyn Cache>>,
    /// The most bytes of compiled code that are held, of all policies and bindings; no bound unless
    /// given. Beyond it, what was not used for longest is dropped, and prepared again (or taken from
    /// the cache) when a run needs it. What is in use stays until then. Each processor's copy counts: a
    /// binding that all of them evaluate takes as many times its code.
    pub resident_bytes: Option<u64>,
    /// What looks at settings before the policy does; nothing unless given, and the policy has the last word
    /// either way.
    pub settings_check: Option<Arc<dyn CheckSettings>>,
}

/// How much an engine spends on preparing. Verdicts and fuel are the same either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimization {
    /// Prepares slower, evaluates faster: for a binding that decides many times. A policy takes its
    /// settings once, and the state that it is in then is what every evaluation begins with, where
    /// [that can be done](crate::Prepared::no_snapshot).
    #[default]
    Speed,
    /// Prepares faster, evaluates slower: for a binding that decides once. A policy takes its settings
    /// in each evaluation.
    None,
}

/// The engine could not be made, which on a supported platform means that the host is out of
/// memory or threads.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine could not be started")]
pub struct EngineError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// From [`Limits::MIN_STACK_BYTES`] to the ceiling's, each twice the one before.
const STACKS: usize = (Limits::CEILING.stack_bytes / Limits::MIN_STACK_BYTES).ilog2() as usize + 1;

impl Engine {
    /// How often the wall-clock limit is checked.
    pub const TICK: Duration = Duration::from_millis(10);

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
        let seats = processors.clamp(1, MOST_AT_A_TIME);
        let mut engines = Engines {
            residents: Arc::new(Residents::new(config.resident_bytes)),
            config,
            compatibility: 0,
            turns: Turns::new(seats),
            seats: (0..seats).map(|_| [const { OnceLock::new() }; STACKS]).collect(),
        };
        // What is wrong with one is wrong with all of them, and is found here.
        let one = engines.at(Seat(0), Limits::DEFAULT.stack_bytes);
        engines.compatibility = one.map(cache::compatibility).map_err(|e| EngineError(e.into()))?;
        let engines = Arc::new(engines);
        let ticking = Arc::downgrade(&engines);
        thread::Builder::new()
            .name("countersign-tick".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(Self::TICK);
                    let Some(engines) = ticking.upgrade() else { return };
                    let engines = engines.seats.iter().flatten();
                    for engine in engines.filter_map(OnceLock::get).flatten() {
                        engine.increment_epoch();
                    }
                }
            })
            .map_err(|e| EngineError(e.into()))?;
        Ok(Self(engines))
    }

    /// How much the engine spends on compiling.
    pub fn optimization(&self) -> Optimization {
        self.0.config.optimization
    }

    /// Where the engine checks and compiles components.
    pub fn preparation(&self) -> &Preparation {
        &self.0.config.preparation
    }

    /// How many bytes of compiled code are held now, of all policies and bindings.
    pub fn resident_bytes(&self) -> u64 {
        self.0.residents.bytes()
    }

    pub(crate) fn cache(&self) -> Option<&dyn Cache> {
        self.0.config.cache.as_deref()
    }

    /// Tells whether settings are [checked](CheckSettings) before a policy takes them.
    pub fn checks_settings(&self) -> bool {
        self.0.config.settings_check.is_some()
    }

    pub(crate) fn settings_check(&self) -> Option<&dyn CheckSettings> {
        self.0.config.settings_check.as_deref()
    }

    pub(crate) fn compatibility(&self) -> u64 {
        self.0.compatibility
    }

    pub(crate) fn residents(&self) -> &Arc<Residents> {
        &self.0.residents
    }

    pub(crate) fn turns(&self) -> &Turns {
        &self.0.turns
    }

    /// How many seats there are.
    pub(crate) fn seats(&self) -> usize {
        self.0.seats.len()
    }

    /// The Wasmtime engine of a seat whose guests have at most so many bytes of stack.
    pub(crate) fn at(&self, seat: Seat, stack_bytes: u32) -> Result<&wasmtime::Engine, String> {
        self.0.at(seat, stack_bytes)
    }
}

impl Engines {
    fn at(&self, seat: Seat, stack_bytes: u32) -> Result<&wasmtime::Engine, String> {
        let stack_bytes = stack_of(stack_bytes);
        let index = (stack_bytes / Limits::MIN_STACK_BYTES).ilog2() as usize;
        let engines = self.seats.get(seat.0).ok_or("no such seat")?;
        let engine = engines.get(index).ok_or("no such stack")?;
        engine
            .get_or_init(|| {
                let config = |strategy| {
                    let mut config = config(self.config.optimization);
                    config.max_wasm_stack(stack_bytes as usize).allocation_strategy(strategy);
                    config
                };
                wasmtime::Engine::new(&config(pool(self.seats.len())))
                    // Slower, where so much of the address space cannot be had.
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

/// The stack that a guest has whose limit is this one: a power of two at or below it, within
/// what there is.
pub(crate) fn stack_of(limit: u32) -> u32 {
    let limit = limit.clamp(Limits::MIN_STACK_BYTES, Limits::CEILING.stack_bytes);
    1 << limit.ilog2()
}

/// An engine that compiles and runs nothing.
pub(crate) fn compiling(optimization: Optimization) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(optimization))
}

/// One unit an instruction but for those that are none. A loop's header is one: it looks at fuel and
/// time. And growing calls the host, also when nothing grows.
fn cost() -> OperatorCost {
    OperatorCost { Loop: 1, MemoryGrow: 100, TableGrow: 100, ..OperatorCost::default() }
}

/// The most evaluations at a time, whatever the machine has.
const MOST_AT_A_TIME: usize = 128;

/// Places for memories, of all seats together and for each size of the stack: each takes 4 GiB of the
/// address space.
const PLACES: usize = 2_048;

/// The most core instances of a component: its own, and one that Wasmtime makes for each instance of a
/// component in it.
const CORE_INSTANCES_WITH_ADAPTERS: u32 = CORE_INSTANCES + COMPONENT_INSTANCES;

/// Places for one evaluation, so that none is ever missing. What one used is wiped and kept, so that the
/// next asks nothing of the system: for memory all callers would wait for one another. There are more
/// places for memories than one evaluation needs, so that each of several policies finds its own again.
fn pool(seats: usize) -> InstanceAllocationStrategy {
    let memories = u32::try_from(PLACES / seats).unwrap_or(u32::MAX);
    let memories = memories.clamp(MEMORIES_AND_TABLES, 8 * MEMORIES_AND_TABLES);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(1)
        .total_core_instances(CORE_INSTANCES_WITH_ADAPTERS)
        .total_memories(memories)
        .total_tables(MEMORIES_AND_TABLES)
        .max_core_instances_per_component(CORE_INSTANCES_WITH_ADAPTERS)
        .max_memories_per_component(MEMORIES_AND_TABLES)
        .max_tables_per_component(MEMORIES_AND_TABLES)
        .max_tables_per_module(MEMORIES_AND_TABLES)
        // Limits are counted when an instance is made, under a code of their own: what is here is only
        // the largest that can be loaded.
        .max_memory_size(MEMORY_RESERVATION)
        .table_elements(MAX_LOADED_TABLE_ELEMENTS)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(memories)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// All that a memory can address.
const MEMORY_RESERVATION: usize = 4 << 30;

fn config(optimization: Optimization) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(match optimization {
            Optimization::Speed => OptLevel::Speed,
            Optimization::None => OptLevel::None,
        })
        // Limits.
        .consume_fuel(true)
        .operator_cost(cost())
        .epoch_interruption(true)
        // Determinism: the bits of a NaN and the lanes of relaxed SIMD differ between machines.
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        // What a policy has no use for is not there to be attacked.
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .wasm_gc(false)
        .gc_support(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_stack_switching(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .concurrency_support(false)
        .memory_reservation(MEMORY_RESERVATION as u64)
        // An image can be mapped, where single pieces would be copied into each instance. But larger
        // ones are as large as the file's own data, not up to 16 MiB for two bytes.
        .memory_guaranteed_dense_image_size(256 << 10)
        // Where an instruction came from and how to unwind: frames are of no use, and it is large.
        .generate_address_map(false)
        .native_unwind_info(false)
        // A panic's message is read from the memory that it leaves behind.
        .coredump_on_trap(true)
        .wasm_backtrace_max_frames(None);
    config
}
