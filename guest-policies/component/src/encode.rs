//! Encodes a core module as a component.

use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ExportSection, Function, FunctionSection, ImportSection, Instruction,
};

/// The modules from which `wasm-bindgen` imports what a browser has. Crates of engines depend on it for a clock, which a
/// policy does not have, and the functions are left over.
const BROWSER: [&str; 2] = ["__wbindgen_placeholder__", "__wbindgen_externref_xform__"];

/// The custom section that `wasm-bindgen` leaves for its own tool.
const BROWSER_SECTION: &str = "__wasm_bindgen_unstable";

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
    encode(module, Encoder { modules: &[], trapping: Vec::new() })
}

/// Encodes as [`component`] does, with functions that trap in place of those that are imported from a browser.
///
/// # Errors
/// As [`component`], and when anything else is imported.
pub fn engine_component(module: &[u8]) -> Result<Vec<u8>, EncodeError> {
    encode(module, Encoder { modules: &BROWSER, trapping: Vec::new() })
}

fn encode(module: &[u8], mut encoder: Encoder) -> Result<Vec<u8>, EncodeError> {
    let mut encoded = wasm_encoder::Module::new();
    encoder
        .parse_core_module(&mut encoded, wasmparser::Parser::new(0), module)
        .map_err(|error| EncodeError(error.to_string()))?;
    wit_component::ComponentEncoder::default()
        .module(&encoded.finish())
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(|error| EncodeError(format!("{error:#}")))
}

struct Encoder {
    /// The modules whose functions trap.
    modules: &'static [&'static str],
    /// The types of those functions. Imported functions come before all others, so theirs are the first indices, and
    /// defining them first leaves every index as it is.
    trapping: Vec<u32>,
}

impl Reencode for Encoder {
    type Error = Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: wasmparser::ImportSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        for import in section.into_imports() {
            let import = import?;
            match import.ty {
                // One that stays among them would be moved, and the component imports nothing: its encoding then fails.
                wasmparser::TypeRef::Func(kind) if self.modules.contains(&import.module) => {
                    self.trapping.push(kind);
                }
                _ => self.parse_import(imports, import)?,
            }
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: wasmparser::FunctionSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        for kind in &self.trapping {
            functions.function(*kind);
        }
        reencode::utils::parse_function_section(self, functions, section)
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: wasmparser::CodeSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        for _ in &self.trapping {
            let mut function = Function::new([]);
            function.instruction(&Instruction::Unreachable).instruction(&Instruction::End);
            code.function(&function);
        }
        reencode::utils::parse_code_section(self, code, section)
    }

    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        if !self.modules.is_empty() && section.name() == BROWSER_SECTION {
            return Ok(());
        }
        reencode::utils::parse_custom_section(self, module, section)
    }

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
