//! The body of a function.

use wasmparser::{BlockType, FunctionBody, Operator};

use super::module::{Module, Signature};
use super::weights::{self, Weight};
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

/// The maximum of loops times locals and parameters: each loop may need a value of each.
const LOOPS_TIMES_LOCALS: u64 = 1_000_000;

/// The maximum of targets of all `br_table` together.
const BRANCH_TARGETS: u64 = 20_000;

/// A block that is open.
struct Block {
    is_loop: bool,
    signature: Signature,
}

impl Block {
    /// The values that a branch to it carries.
    fn carried(&self) -> u64 {
        if self.is_loop { self.signature.params } else { self.signature.results }
    }
}

/// Refuses a body that would cost too much to compile, and returns what it costs.
pub(super) fn check(
    body: &FunctionBody<'_>,
    module: &Module,
    signature: Signature,
) -> Result<Weight, LoadError> {
    at_most("bytes of one function", body.range().len() as u64, BODY_BYTES)?;
    let mut locals = 0_u64;
    for declaration in body.get_locals_reader().map_err(malformed)? {
        locals = locals.saturating_add(declaration.map_err(malformed)?.0.into());
        at_most("locals of one function", locals, LOCALS)?;
    }
    let variables = locals.saturating_add(signature.params);
    // The body is a block too, which `return` and branches leave.
    let mut blocks = vec![Block { is_loop: false, signature }];
    let (mut loops, mut all_loops, mut targets, mut joins) = (0_u64, 0_u64, 0_u64, 0_u64);
    let (mut branches, mut jumps, mut carried_values) = (0_u64, 0_u64, 0_u64);
    let mut weight = weights::body(signature, locals);
    let mut operators = body.get_operators_reader().map_err(malformed)?;
    while !operators.eof() {
        let operator = operators.read().map_err(malformed)?;
        weight += weights::operator(&operator);
        joins += weights::hidden_joins(&operator);
        branches += u64::from(matches!(
            operator,
            Operator::If { .. } | Operator::BrIf { .. } | Operator::BrTable { .. }
        ));
        match operator {
            Operator::Loop { blockty } => {
                loops += 1;
                at_most("nested loops", loops, NESTED_LOOPS)?;
                all_loops += 1;
                at_most("loops of one function", all_loops, LOOPS)?;
                let product = all_loops.saturating_mul(variables);
                let what = "loops times locals and parameters of one function";
                at_most(what, product, LOOPS_TIMES_LOCALS)?;
                let signature = of_block(blockty, module);
                weight += weights::loop_values(signature.values());
                carried_values += signature.values();
                joins += 1;
                blocks.push(Block { is_loop: true, signature });
            }
            Operator::Block { blockty } | Operator::If { blockty } => {
                let signature = of_block(blockty, module);
                weight += weights::block_values(signature.values());
                carried_values += signature.values();
                joins += 1;
                blocks.push(Block { is_loop: false, signature });
            }
            Operator::End => {
                let was_loop = blocks.pop().is_some_and(|block| block.is_loop);
                loops -= u64::from(was_loop);
            }
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                jumps += u64::from(matches!(operator, Operator::Br { .. }));
                let values = carried(relative_depth, &blocks);
                weight += weights::block_values(values);
                carried_values += values;
            }
            Operator::Return => weight += weights::block_values(signature.results),
            Operator::BrTable { targets: table } => {
                targets = targets.saturating_add(table.len().into());
                at_most("branch targets of one function", targets, BRANCH_TARGETS)?;
                for target in table.targets() {
                    let values = carried(target.map_err(malformed)?, &blocks);
                    weight += weights::block_values(values);
                    carried_values += values;
                }
                let values = carried(table.default(), &blocks);
                weight += weights::block_values(values);
                carried_values += values;
            }
            Operator::Call { function_index } => {
                weight += weights::call_values(module.function(function_index).values());
            }
            Operator::CallIndirect { type_index, .. } => {
                weight += weights::call_values(module.signature(type_index).values());
            }
            _ => {}
        }
        at_most("nested blocks", blocks.len() as u64, NESTED_BLOCKS)?;
    }
    weight += weights::joins(joins, variables);
    weight = weight.saturating_add(weights::branches(branches, jumps));
    weight = weight.saturating_add(weights::carried(carried_values, joins, branches));
    Ok(weights::whole(weight))
}

/// The values that a branch so many blocks out carries.
fn carried(depth: u32, blocks: &[Block]) -> u64 {
    blocks.iter().rev().nth(depth as usize).map_or(0, Block::carried)
}

fn of_block(ty: BlockType, module: &Module) -> Signature {
    match ty {
        BlockType::Empty => Signature::default(),
        BlockType::Type(_) => Signature { params: 0, results: 1 },
        BlockType::FuncType(index) => module.signature(index),
    }
}
