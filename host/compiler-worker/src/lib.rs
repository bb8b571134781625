//! Compiles policies in a child process with limits of time and memory, and caches the compiled code.
//!
//! Wasmtime gives no guarantee about the cost of compiling. The evaluator's pre-check refuses components that are known
//! to be costly; the unknown ones are contained here: a child process that takes longer than
//! [`Limits::prepare_ms`](countersign::Limits) is killed, one that takes more than
//! [`Limits::prepare_memory_bytes`](countersign::Limits) exits, and a crash of the child does not affect the parent. The
//! parent never parses the component.
//!
//! The child is the same program, with arguments that make it call [`serve`]:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use countersign::{Engine, EngineConfig, Preparation};
//! use countersign_compiler_worker::{CacheFolder, ChildProcess, ExitOnOom, serve};
//!
//! #[global_allocator]
//! static ALLOCATOR: ExitOnOom = ExitOnOom;
//!
//! fn main() -> ExitCode {
//!     if std::env::args().nth(1).as_deref() == Some("compile-for-parent") {
//!         return serve();
//!     }
//!     let child = ChildProcess::of_this_program(["compile-for-parent"]).expect("a path of its own");
//!     let preparation = Preparation::External(Arc::new(child));
//!     // Compiled code is cached, authenticated with a secret in another folder.
//!     let (folder, secret) = ("/var/cache/issuer".as_ref(), "/var/lib/issuer/secret".as_ref());
//!     let cache = CacheFolder::open(folder, secret, CacheFolder::DEFAULT_MAX_BYTES).expect("a cache");
//!     let cache = Some(Arc::new(cache) as _);
//!     let config = EngineConfig { preparation, cache, ..EngineConfig::default() };
//!     let engine = Engine::with(config).expect("an engine");
//!     // … `Policy::load` and `PolicySet::prepare` now compile in a child, or not at all.
//! #   let _ = engine;
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! # Limitations
//! - Memory is limited on Linux only (`RLIMIT_DATA`: private writable memory, which is what a compiler takes). On other
//!   systems only time is.
//! - Whoever reads the cache's secret can have machine code run by all processes that share the cache: protect it as
//!   the program's own file.
//! - The child has the parent's user and file system. It contains resource use and crashes; it is not a sandbox against
//!   an exploited compiler.

#![deny(unsafe_code)]

mod cache_folder;
mod child_process;
mod compile_request;
mod exit_on_oom;
mod serve;

pub use cache_folder::{CacheFolder, KeptEntry, Pruned};
pub use child_process::ChildProcess;
pub use exit_on_oom::ExitOnOom;
pub use serve::serve;
