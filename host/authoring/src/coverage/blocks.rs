//! The basic blocks of a module: stretches of code that run from their first instruction to their last, or not at all.

use std::ops::Range;

use wasmparser::{FunctionBody, Operator, Parser, Payload};

use super::{CoverageError, of_module};

/// The basic blocks of all functions. Offsets are those in the module's bytes.
pub(super) struct Blocks {
    /// In their order; none overlap.
    ranges: Vec<Range<usize>>,
}

impl Blocks {
    /// The offsets of the blocks that contain some of this code.
    pub(super) fn overlapping(&self, code: &Range<usize>) -> impl Iterator<Item = usize> {
        let first = self.ranges.partition_point(|block| block.end <= code.start);
        let end = code.end;
        let after = self.ranges.iter().skip(first);
        after.take_while(move |block| block.start < end).map(|block| block.start)
    }
}

/// Finds the blocks of a module.
pub(super) fn of(module: &[u8]) -> Result<Blocks, CoverageError> {
    let mut ranges = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CodeSectionEntry(body) = payload.map_err(of_module)? {
            of_function(&body, &mut ranges).map_err(of_module)?;
        }
    }
    Ok(Blocks { ranges })
}

fn of_function(body: &FunctionBody<'_>, ranges: &mut Vec<Range<usize>>) -> wasmparser::Result<()> {
    let mut reader = body.get_operators_reader()?;
    // Where the block began that the next instruction is in; none in code that nothing leads to.
    let mut begun = Some(reader.original_position());
    while !reader.eof() {
        let after = after(&reader.read()?);
        let end = reader.original_position();
        if matches!(after, After::SameBlock) {
            continue;
        }
        ranges.extend(begun.take().map(|start| start..end));
        begun = matches!(after, After::NewBlock).then_some(end);
    }
    Ok(())
}

/// The effect of an instruction on the next one.
enum After {
    SameBlock,
    NewBlock,
    /// Nothing leads from here to the next instruction.
    Nothing,
}

fn after(operator: &Operator<'_>) -> After {
    match operator {
        // A call may not come back: what it calls may trap.
        Operator::Call { .. }
        | Operator::CallIndirect { .. }
        | Operator::Loop { .. }
        | Operator::If { .. }
        | Operator::Else
        | Operator::End
        | Operator::BrIf { .. } => After::NewBlock,
        Operator::Br { .. }
        | Operator::BrTable { .. }
        | Operator::Return
        | Operator::Unreachable => After::Nothing,
        _ => After::SameBlock,
    }
}
