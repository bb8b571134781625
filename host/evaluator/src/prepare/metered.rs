//! Fuel for the handles of resources.
//!
//! Wasmtime keeps handles in functions of its own, which a guest calls as it calls an import: for the fuel of a call, and
//! for the time of dozens of instructions. So in a component that has handles, each call that may be one is preceded by a
//! `nop`, which costs as much (`sandbox/wasmtime_config.rs`) and compiles to nothing.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, ReencodeComponent, component_utils, utils};
use wasm_encoder::{CodeSection, Component, ImportSection, Instruction};
use wasmparser::{CanonicalFunction, FunctionBody, ImportSectionReader, Parser, Payload, TypeRef};

use super::load_error::LoadError;
use super::precheck::malformed;
use crate::text::escape;

/// The component with its calls metered, or nothing where it has no handles.
pub(super) fn metered(component: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
    if !has_handles(component)? {
        return Ok(None);
    }
    let mut metered = Component::new();
    Metered::default()
        .parse_component(&mut metered, Parser::new(0), component)
        .map_err(|error| LoadError::Invalid { problem: escape(&error.to_string(), 512) })?;
    Ok(Some(metered.finish()))
}

/// Tells whether a component has functions of the component model beside those that lift and lower.
fn has_handles(component: &[u8]) -> Result<bool, LoadError> {
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ComponentCanonicalSection(section) = payload.map_err(malformed)? {
            for function in section {
                match function.map_err(malformed)? {
                    CanonicalFunction::Lift { .. } | CanonicalFunction::Lower { .. } => {}
                    _ => return Ok(true),
                }
            }
        }
    }
    Ok(false)
}

/// Puts a `nop` before each call of an imported function, and before each call through a table, where one may lie.
#[derive(Default)]
struct Metered {
    /// The imported functions of the module that is being read.
    imported: u32,
}

impl Reencode for Metered {
    type Error = Infallible;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        for import in section.clone().into_imports() {
            let is_function = matches!(import?.ty, TypeRef::Func(_) | TypeRef::FuncExact(_));
            self.imported = self.imported.saturating_add(is_function.into());
        }
        utils::parse_import_section(self, imports, section)
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let instruction = self.parse_instruction(&mut operators)?;
            match instruction {
                Instruction::Call(called) if called >= self.imported => {}
                Instruction::Call(_) | Instruction::CallIndirect { .. } => {
                    function.instruction(&Instruction::Nop);
                }
                _ => {}
            }
            function.instruction(&instruction);
        }
        code.function(&function);
        Ok(())
    }
}

impl ReencodeComponent for Metered {
    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        parser: Parser,
        module: &[u8],
    ) -> Result<(), Error<Infallible>> {
        self.imported = 0;
        component_utils::parse_component_submodule(self, component, parser, module)
    }
}
