//! Builds the component of a policy in Rust: cargo with a toolchain for WebAssembly, then `wit-component`.

#![forbid(unsafe_code)]

mod build_script;
mod encode;
mod toolchain;

pub use build_script::build_policies;
pub use encode::{EncodeError, component, engine_component};
pub use toolchain::{
    Build, BuildError, COMPILED_FOLDER, Purpose, Toolchain, compile, compile_components,
};
