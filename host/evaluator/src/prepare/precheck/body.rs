//! The body of a function.

use wasmparser::{FunctionBody, Operator};

use super::{at_most, malformed};
use crate::prepare::load_error::LoadError;

/// The maximum length of a function body, in bytes. The interpreter loop of CPython has 426,843.
const BODY_BYTES: u64 = 1 << 20;

/// The maximum of locals, parameters not counted.
const LOCALS: u64 = 5_000;

/// The maximum of blocks within one another: a `match` with many arms nests a block for each.
const NESTED_BLOCKS: u64 = 2_000;

/// The maximum of loops within one another: compiling costs more than the square of it.
const NESTED_LOOPS: u64 = 32;

/// The maximum of loops, nested or not: compiling costs more than the square of it, also without a single
/// local.
const LOOPS: u64 = 1_500;

/// The maximum of of loops times locals: each loop may need a value of each local.
const LOOPS_TIMES_LOCALS: u64 = 1_000_000;

/// The maximum of targets of all `br_table` together.
const BRANCH_TARGETS: u64 = 20_000;

/// Refuses a body that would cost too much to compile.
pub(super) fn check(body: &FunctionBody<'_>) -> Result<(), LoadError> {
    at_most("bytes of one function", body.range().len() as u64, BODY_BYTES)?;
    let mut locals = 0_u64;
    for declaration in body.get_locals_reader().map_err(malformed)? {
        locals = locals.saturating_add(declaration.map_err(malformed)?.0.into());
        at_most("locals of one function", locals, LOCALS)?;
    }
    let mut blocks: Vec<bool> = Vec::new();
    let (mut loops, mut all_loops, mut targets) = (0_u64, 0_u64, 0_u64);
    let mut operators = body.get_operators_reader().map_err(malformed)?;
    while !operators.eof() {
        match operators.read().map_err(malformed)? {
            Operator::Loop { .. } => {
                loops += 1;
                at_most("nested loops", loops, NESTED_LOOPS)?;
                all_loops += 1;
                at_most("loops of one function", all_loops, LOOPS)?;
                let product = all_loops.saturating_mul(locals);
                at_most("loops times locals of one function", product, LOOPS_TIMES_LOCALS)?;
                blocks.push(true);
            }
            Operator::Block { .. } | Operator::If { .. } => blocks.push(false),
            Operator::End => {
                let was_loop = blocks.pop().unwrap_or(false);
                loops -= u64::from(was_loop);
            }
            Operator::BrTable { targets: table } => {
                targets = targets.saturating_add(table.len().into());
                at_most("branch targets of one function", targets, BRANCH_TARGETS)?;
            }
            _ => {}
        }
        at_most("nested blocks", blocks.len() as u64, NESTED_BLOCKS)?;
    }
    Ok(())
}
