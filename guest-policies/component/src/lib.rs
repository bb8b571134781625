//! From the source of a policy in Rust to its component: a cargo for WebAssembly, then `wit-component`.

#![forbid(unsafe_code)]

mod encode;
mod toolchain;

pub use encode::{EncodeError, component};
pub use toolchain::{Build, BuildError, COMPILED_FOLDER, Purpose, Toolchain, compile};
