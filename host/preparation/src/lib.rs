//! Compiles policies in a child process, within limits of time and memory, and keeps what was prepared.
//!
//! Compiling is the one place where Wasmtime promises nothing. The evaluator refuses what is known to
//! be costly before it is compiled; what is not known yet is held here: a child process that takes
//! longer than [`Limits::prepare_ms`](countersign::Limits) is killed, one that takes more than
//! [`Limits::prepare_memory_bytes`](countersign::Limits) ends itself, and one that crashes takes
//! nothing with it. The parent never parses the component.
//!
//! The child is this program again, with arguments that make it call [`serve`]:
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use countersign::{Engine, EngineConfig, Preparation};
//! use countersign_preparation::{CacheFolder, ChildProcess, ExitWhenExhausted, serve};
//!
//! #[global_allocator]
//! static ALLOCATOR: ExitWhenExhausted = ExitWhenExhausted;
//!
//! fn main() -> ExitCode {
//!     if std::env::args().nth(1).as_deref() == Some("compile-for-parent") {
//!         return serve();
//!     }
//!     let child = ChildProcess::of_this_program(["compile-for-parent"]).expect("a path of its own");
//!     let preparation = Preparation::External(Arc::new(child));
//!     // What was compiled is kept, sealed with a secret that is in another folder.
//!     let (folder, secret) = ("/var/cache/issuer".as_ref(), "/var/lib/issuer/secret".as_ref());
//!     let cache = CacheFolder::open(folder, secret, CacheFolder::MOST_BYTES).expect("a cache");
//!     let cache = Some(Arc::new(cache) as _);
//!     let config = EngineConfig { preparation, cache, ..EngineConfig::default() };
//!     let engine = Engine::with(config).expect("an engine");
//!     // … `Policy::load` and `PolicySet::prepare` now compile in a child, or not at all.
//! #   let _ = engine;
//!     ExitCode::SUCCESS
//! }
//! ```
//!
//! # What is not covered
//! - Memory is limited on Linux only (`RLIMIT_DATA`: private writable memory, which is what a
//!   compiler takes). Elsewhere only time is.
//! - Whoever reads the cache's secret can have their machine code run by all that share it: it is as good as
//!   this program's own file.
//! - The child has the parent's user and file system. It is a bound on resources and on crashes, not
//!   a sandbox against a compiler that can be taken over: it opens nothing, but it could.

#![deny(unsafe_code)]

mod cache_folder;
mod child_process;
mod exhaustion;
mod job;
mod serve;

pub use cache_folder::{CacheFolder, KeptEntry, Pruned};
pub use child_process::ChildProcess;
pub use exhaustion::ExitWhenExhausted;
pub use serve::serve;
