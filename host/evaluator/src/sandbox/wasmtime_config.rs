//! Wasmtime, configured so that a guest has nothing but its arguments.

use std::hash::{DefaultHasher, Hash, Hasher};

use wasmtime::{
    Config, InstanceAllocationStrategy, OperatorCost, OptLevel, PoolingAllocationConfig,
};

use super::bounds::{
    COMPONENT_INSTANCES, CORE_INSTANCES, MAX_LOADED_TABLE_ELEMENTS, MEMORIES_AND_TABLES,
};
use super::wiping::Wiping;
use crate::limits::Limits;

/// The effort that an engine spends on preparing. Verdicts and fuel are the same either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimization {
    /// Prepares slower, evaluates faster: for a binding that decides many times. A policy takes its
    /// settings once, and the state that it is in then is what every evaluation begins with, where
    /// [that can be done](crate::Prepared::no_snapshot).
    #[default]
    Speed,
    /// Prepares faster, evaluates slower: for a binding that decides once. A policy takes its settings
    /// in each evaluation, unless it is large and what is prepared is [kept](crate::Cache).
    None,
}

/// The stack of a guest with this limit: the power of two at or below it, within the bounds of
/// [`Limits::stack_bytes`].
pub(crate) fn stack_of(limit: u32) -> u32 {
    let limit = limit.clamp(Limits::MIN_STACK_BYTES, Limits::CEILING.stack_bytes);
    1 << limit.ilog2()
}

/// An engine that compiles and runs nothing.
pub(crate) fn compiling(optimization: Optimization) -> wasmtime::Result<wasmtime::Engine> {
    wasmtime::Engine::new(&config(optimization))
}

/// One unit an instruction but for those that are none. A loop's header is one: it looks at fuel and
/// time. Growing calls the host, also when nothing grows; and a `nop` stands for a call of the host, where
/// such calls are metered (`prepare/metered.rs`).
fn cost() -> OperatorCost {
    OperatorCost { Loop: 1, MemoryGrow: 100, TableGrow: 100, Nop: 50, ..OperatorCost::default() }
}

/// Pooled memories, of all worker slots together and for each size of the stack: each takes 4 GiB of the
/// address space.
const POOLED_MEMORIES: usize = 2_048;

/// The maximum of core instances of a component: its own, and one that Wasmtime makes for each instance of a
/// component in it.
const CORE_INSTANCES_WITH_ADAPTERS: u32 = CORE_INSTANCES + COMPONENT_INSTANCES;

/// A pool, one of so many, for so many evaluations at a time, which never lacks a place. Used memory is wiped
/// and kept, so that the next evaluation asks nothing of the system, where all callers would wait for one
/// another. It holds more memories than the evaluations need, so that each of several policies finds its
/// own again.
pub(crate) fn pool(pools: usize, evaluations: usize, wiping: Wiping) -> InstanceAllocationStrategy {
    let evaluations = u32::try_from(evaluations).unwrap_or(u32::MAX);
    let memories = u32::try_from(POOLED_MEMORIES / pools.max(1)).unwrap_or(u32::MAX);
    let needed = MEMORIES_AND_TABLES.saturating_mul(evaluations);
    let memories = memories.clamp(needed, needed.saturating_mul(8));
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(evaluations)
        .total_core_instances(CORE_INSTANCES_WITH_ADAPTERS.saturating_mul(evaluations))
        .total_memories(memories)
        .total_tables(needed)
        .max_core_instances_per_component(CORE_INSTANCES_WITH_ADAPTERS)
        .max_memories_per_component(MEMORIES_AND_TABLES)
        .max_tables_per_component(MEMORIES_AND_TABLES)
        .max_tables_per_module(MEMORIES_AND_TABLES)
        // Limits are counted when an instance is made, under a code of their own: these are only the
        // largest that can be loaded.
        .max_memory_size(MEMORY_RESERVATION)
        .table_elements(MAX_LOADED_TABLE_ELEMENTS)
        .max_component_instance_size(16 << 20)
        .max_core_instance_size(16 << 20)
        .linear_memory_keep_resident(wiping.kept_bytes())
        .table_keep_resident(64 << 10)
        .max_unused_warm_slots(memories)
        .pagemap_scan(wiping.scan());
    InstanceAllocationStrategy::Pooling(pool)
}

/// The address space of a 32-bit memory.
const MEMORY_RESERVATION: usize = 4 << 30;

pub(crate) fn config(optimization: Optimization) -> Config {
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
        // A feature that policies do not use is one that cannot be attacked.
        .wasm_threads(false)
        .wasm_shared_everything_threads(false)
        .wasm_gc(false)
        .gc_support(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_custom_page_sizes(false)
        .concurrency_support(false)
        // Only for the adapters that Wasmtime makes between components: modules are checked to have one at most.
        .wasm_multi_memory(true)
        .memory_reservation(MEMORY_RESERVATION as u64)
        // An image can be mapped, where single pieces would be copied into each instance. But larger
        // ones are as large as the file's own data, not up to 16 MiB for two bytes.
        .memory_guaranteed_dense_image_size(256 << 10)
        // Backtraces are of no use here, and the tables for them are large.
        .generate_address_map(false)
        .native_unwind_info(false)
        // A panic's message is read from the memory that it leaves behind.
        .coredump_on_trap(true)
        .wasm_backtrace_max_frames(None);
    config
}

/// A hash of all that an engine's compiled code depends on: the compiler's version, the processor, the
/// configuration. It is no secret, and does not keep forged code out.
pub(crate) fn compatibility(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
