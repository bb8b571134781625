//! Encodes a core module as a component.

use std::convert::Infallible;

use wasm_encoder::ExportSection;
use wasm_encoder::reencode::{self, Reencode};

/// The reason that a module cannot be encoded as a component.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EncodeError(String);

/// Encodes a core module that embeds the contract's types, as `wit-bindgen` does, as a component.
///
/// Post-return functions are left out: an instance is dropped after its first call, and the SDK's allocator frees
/// nothing.
///
/// # Errors
/// When the module is malformed, or embeds no component types.
pub fn component(module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    let mut without = wasm_encoder::Module::new();
    WithoutPostReturn
        .parse_core_module(&mut without, wasmparser::Parser::new(0), module)
        .map_err(|error| EncodeError(error.to_string()))?;
    wit_component::ComponentEncoder::default()
        .module(&without.finish())
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| EncodeError(format!("{error:#}")))
}

struct WithoutPostReturn;

impl Reencode for WithoutPostReturn {
    type Error = Infallible;

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: wasmparser::Export<'_>,
    ) -> Result<(), reencode::Error> {
        // The prefix is specified by the canonical ABI.
        if export.name.starts_with("cabi_post_") {
            return Ok(());
        }
        reencode::utils::parse_export(self, exports, export)
    }
}
