//! The WebAssembly engine, configured so that a guest has nothing but its arguments.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wasmtime::{Config, OptLevel};

/// Compiles and runs policies. Cheap to clone; make one per process.
///
/// It owns one thread, which wakes every [`Engine::TICK`] and moves the epoch that the wall-clock
/// limit is counted in. The thread ends when the last clone is dropped.
///
/// An evaluation runs on the thread that asks for it, which needs 2 MiB of stack or more: what a
/// guest uses is limited to [`Engine::STACK_BYTES`], but a host thread without room for that much
/// would abort the process.
#[derive(Clone)]
pub struct Engine(Arc<wasmtime::Engine>);

/// How much an engine spends on compiling. Verdicts and fuel are the same either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Optimization {
    /// Compiles slower, evaluates faster: for a policy that decides many times.
    #[default]
    Speed,
    /// Compiles faster, evaluates slower: for a policy that decides once.
    None,
}

/// The engine could not be made, which on a supported platform means that the host is out of
/// memory or threads.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine could not be started")]
pub struct EngineError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Engine {
    /// The native stack that a guest may use, in bytes.
    pub const STACK_BYTES: usize = 256 << 10;

    /// How often the wall-clock limit is checked.
    pub const TICK: Duration = Duration::from_millis(10);

    /// Starts an engine that optimises what it compiles.
    ///
    /// # Errors
    /// When the platform is not supported, or its thread cannot be started.
    pub fn new() -> Result<Self, EngineError> {
        Self::with(Optimization::Speed)
    }

    /// Starts an engine.
    ///
    /// # Errors
    /// When the platform is not supported, or its thread cannot be started.
    pub fn with(optimization: Optimization) -> Result<Self, EngineError> {
        let engine =
            wasmtime::Engine::new(&config(optimization)).map_err(|e| EngineError(e.into()))?;
        let engine = Arc::new(engine);
        let ticking = Arc::downgrade(&engine);
        thread::Builder::new()
            .name("countersign-tick".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(Self::TICK);
                    let Some(engine) = ticking.upgrade() else { return };
                    engine.increment_epoch();
                }
            })
            .map_err(|e| EngineError(e.into()))?;
        Ok(Self(engine))
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

fn config(optimization: Optimization) -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(match optimization {
            Optimization::Speed => OptLevel::Speed,
            Optimization::None => OptLevel::None,
        })
        // Limits.
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(Engine::STACK_BYTES)
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
        // A memory image is as large as the file's own data, not up to 16 MiB for two bytes.
        .memory_guaranteed_dense_image_size(0)
        // A panic's message is read from the memory that it leaves behind; frames are of no use.
        .coredump_on_trap(true)
        .wasm_backtrace_max_frames(None);
    config
}
