//! A module that marks the blocks that it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{CodeSection, Instruction, MemArg, MemorySection};
use wasmparser::{FunctionBody, MemorySectionReader, Parser, Payload};

use super::{CoverageError, of_module};

/// The bytes of a page of memory.
const PAGE_BYTES: u64 = 64 << 10;

/// A module that marks the blocks that it runs.
pub(super) struct Marked {
    pub(super) module: Vec<u8>,
    /// The address of the first mark. A mark is a byte, 1 when its block was run.
    pub(super) address: u32,
    /// The offset of each block in the original module, in the order of the marks.
    pub(super) blocks: Vec<usize>,
}

/// Puts a mark into each of the blocks that begin here.
///
/// Marks are in pages that the memory has more of, behind all that the module knows about. What grows memory finds its
/// pages behind them.
pub(super) fn insert(module: &[u8], blocks: BTreeSet<usize>) -> Result<Marked, CoverageError> {
    let pages = (blocks.len() as u64).div_ceil(PAGE_BYTES);
    let address = u32::try_from(memory_pages(module)? * PAGE_BYTES);
    let address = address.map_err(|_| of_module("its memory leaves no room for marks"))?;
    let places = blocks.iter().zip(u64::from(address)..);
    let mut inserting =
        Inserting { pages, places: places.map(|(block, place)| (*block, place)).collect() };
    let mut marked = wasm_encoder::Module::new();
    inserting.parse_core_module(&mut marked, Parser::new(0), module).map_err(of_module)?;
    Ok(Marked { module: marked.finish(), address, blocks: blocks.into_iter().collect() })
}

/// The initial size of the module's memory, in pages.
fn memory_pages(module: &[u8]) -> Result<u64, CoverageError> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::MemorySection(memories) = payload.map_err(of_module)? {
            let first = memories.into_iter().next().transpose().map_err(of_module)?;
            // Of memory with pages of another size, or with 64 bits, the compiler makes none.
            let first = first.filter(|m| !m.memory64 && m.page_size_log2.is_none());
            return first.map(|m| m.initial).ok_or_else(|| of_module("its memory is unusual"));
        }
    }
    Err(of_module("it has no memory"))
}

struct Inserting {
    /// The size of the marks, in pages.
    pages: u64,
    /// The address of the mark of each block.
    places: BTreeMap<usize, u64>,
}

impl Reencode for Inserting {
    type Error = Infallible;

    fn parse_memory_section(
        &mut self,
        memories: &mut MemorySection,
        section: MemorySectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        for (index, memory) in section.into_iter().enumerate() {
            let mut memory = self.memory_type(memory?)?;
            if index == 0 {
                memory.minimum = memory.minimum.saturating_add(self.pages);
                memory.maximum = memory.maximum.map(|most| most.saturating_add(self.pages));
            }
            memories.memory(memory);
        }
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            if let Some(offset) = self.places.get(&reader.original_position()) {
                let place = MemArg { offset: *offset, align: 0, memory_index: 0 };
                function
                    .instruction(&Instruction::I32Const(0))
                    .instruction(&Instruction::I32Const(1))
                    .instruction(&Instruction::I32Store8(place));
            }
            function.instruction(&self.parse_instruction(&mut reader)?);
        }
        code.function(&function);
        Ok(())
    }

    fn parse_custom_section(
        &mut self,
        module: &mut wasm_encoder::Module,
        section: wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), reencode::Error> {
        // The line table is no longer true, and large.
        if section.name().starts_with(".debug_") {
            return Ok(());
        }
        reencode::utils::parse_custom_section(self, module, section)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store};

    use super::*;
    use crate::coverage::blocks;

    /// The marks of all blocks after a call, in their order.
    #[track_caller]
    fn marks(wat: &str, argument: i32) -> Vec<u8> {
        let module = wat::parse_str(wat).unwrap();
        let all = blocks::of(&module).unwrap().overlapping(&(0..module.len())).collect();
        let marked = insert(&module, all).unwrap();
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, &marked.module).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        // A trap leaves marks, too.
        let _ =
            instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap().call(&mut store, argument);
        let memory = instance.get_memory(&mut store, "m").unwrap();
        assert_eq!(memory.size(&store), 3);
        assert_eq!(marked.address, 2 << 16);
        memory.data(&store)[2 << 16..][..marked.blocks.len()].to_vec()
    }

    #[test]
    fn either_way_of_a_branch_is_marked() {
        let wat = "(module (memory (export \"m\") 2 2) (func (export \"f\") (param i32)
            (if (local.get 0) (then nop) (else nop))))";
        // The condition, both ways, and the end.
        assert_eq!(marks(wat, 1), [1, 1, 0, 1]);
        assert_eq!(marks(wat, 0), [1, 0, 1, 1]);
    }

    #[test]
    fn what_follows_a_jump_begins_at_the_next_label() {
        let wat = "(module (memory (export \"m\") 2) (func (export \"f\") (param i32)
            (block (br_if 0 (local.get 0)) (return) (nop)) (nop)))";
        // Up to the condition, the return, and what the label is before. What is between them is never run.
        assert_eq!(marks(wat, 1), [1, 0, 1]);
        assert_eq!(marks(wat, 0), [1, 1, 0]);
    }

    #[test]
    fn what_follows_a_call_that_traps_is_not_marked() {
        let wat = "(module (memory (export \"m\") 2) (func $trap (param i32)
            (if (local.get 0) (then unreachable))) (func (export \"f\") (param i32)
            (call $trap (local.get 0)) (nop)))";
        // Of `trap` the condition, the trap and the end; then what is before the call, and after it.
        assert_eq!(marks(wat, 1), [1, 1, 0, 1, 0]);
        assert_eq!(marks(wat, 0), [1, 0, 1, 1, 1]);
    }

    #[test]
    fn a_module_without_memory_has_no_place_for_marks() {
        let module = wat::parse_str("(module (func))").unwrap();
        let error = insert(&module, BTreeSet::from([0])).err().unwrap();
        assert!(error.to_string().ends_with("cannot be used: it has no memory"), "{error}");
    }
}
