//! The cost of compiling a body, by its parts.
//!
//! The weights are fitted to measured time and memory by `make bench-compiling`, which also searches for bodies that cost
//! more than they weigh. A unit is about a microsecond of one processor, or a kilobyte of memory, whichever is more.

use wasmparser::Operator;

use super::module::Signature;

/// The cost of compiling.
pub(super) type Weight = u64;

/// The cost that every component may have, whatever its size.
pub(super) const BASE: Weight = 250_000;

/// Beyond that, so much for each byte of the component: twice what the code of Rust and C has in every byte, its data not
/// counted.
pub(super) const A_BYTE: Weight = 6;

/// A body, with its own type and its locals.
pub(super) fn body(signature: Signature, locals: u64) -> Weight {
    110_u64
        .saturating_add(signature.values().saturating_mul(16))
        .saturating_add(locals.saturating_mul(2))
}

/// Items of tables, each of which is a reference that is made when the segment is.
pub(super) fn items(items: u64) -> Weight {
    items.saturating_mul(10)
}

/// Values that a block, an `if` or a branch carries.
pub(super) fn block_values(values: u64) -> Weight {
    values.saturating_mul(12)
}

/// All values that the blocks and branches of a body carry: at each other block or branch, each costs a little more.
pub(super) fn carried(values: u64, joins: u64, branches: u64) -> Weight {
    values.saturating_mul(joins.saturating_add(branches)) / 15
}

/// Values that a loop carries.
pub(super) fn loop_values(values: u64) -> Weight {
    values.saturating_mul(12)
}

/// Values that a call passes and returns.
pub(super) fn call_values(values: u64) -> Weight {
    values.saturating_mul(12)
}

/// Joins, each of which may need a value of each local and parameter: where those are read after all joins, it does.
pub(super) fn joins(joins: u64, variables: u64) -> Weight {
    joins.saturating_mul(variables).saturating_mul(5) / 2
}

/// The joins of branches that are within the code of an operator: functions of tables are made when they are first read.
pub(super) fn hidden_joins(operator: &Operator<'_>) -> u64 {
    use Operator as O;
    match operator {
        O::CallIndirect { .. }
        | O::TableGet { .. }
        | O::TableGrow { .. }
        | O::TableCopy { .. }
        | O::TableInit { .. }
        | O::TableFill { .. }
        | O::TableSet { .. }
        // Each looks whether there is fuel left.
        | O::Loop { .. } => 1,
        _ => 0,
    }
}

/// Branches that are taken or not, and jumps: compiling costs the square of those of one body, besides what each costs.
pub(super) fn branches(branches: u64, jumps: u64) -> Weight {
    let all = branches.saturating_add(jumps.saturating_mul(2) / 3);
    all.saturating_mul(all) / 80
}

/// A body as a whole: one that is larger than all of a small component may be costs more than in proportion.
pub(super) fn whole(body: Weight) -> Weight {
    body.saturating_mul((body / BASE).isqrt().max(1))
}

/// An operator without what it carries.
pub(super) fn operator(operator: &Operator<'_>) -> Weight {
    use Operator as O;
    match operator {
        O::CallIndirect { .. } => 150,
        // Each reads a table whose functions are made when they are first read.
        O::TableGet { .. } | O::TableGrow { .. } | O::TableCopy { .. } | O::TableInit { .. } => 120,
        O::TableSet { .. } | O::TableFill { .. } => 30,
        O::MemoryGrow { .. }
        | O::MemoryCopy { .. }
        | O::MemoryFill { .. }
        | O::MemoryInit { .. }
        | O::Call { .. } => 15,
        O::Loop { .. } => 50,
        O::If { .. } | O::BrIf { .. } | O::BrTable { .. } => 18,
        O::Block { .. } | O::Br { .. } => 12,
        O::I32Const { .. }
        | O::I64Const { .. }
        | O::LocalGet { .. }
        | O::LocalSet { .. }
        | O::LocalTee { .. }
        | O::Drop
        | O::Nop
        | O::End => 2,
        other if is_float(other) => 36,
        _ => 10,
    }
}

/// Tells whether an operator's result may be a NaN, whose bits are made the same on every machine.
fn is_float(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::F32Add
            | O::F32Sub
            | O::F32Mul
            | O::F32Div
            | O::F32Sqrt
            | O::F32Min
            | O::F32Max
            | O::F32Ceil
            | O::F32Floor
            | O::F32Trunc
            | O::F32Nearest
            | O::F32DemoteF64
            | O::F64Add
            | O::F64Sub
            | O::F64Mul
            | O::F64Div
            | O::F64Sqrt
            | O::F64Min
            | O::F64Max
            | O::F64Ceil
            | O::F64Floor
            | O::F64Trunc
            | O::F64Nearest
            | O::F64PromoteF32
            | O::F32x4Add
            | O::F32x4Sub
            | O::F32x4Mul
            | O::F32x4Div
            | O::F32x4Sqrt
            | O::F32x4Min
            | O::F32x4Max
            | O::F32x4Ceil
            | O::F32x4Floor
            | O::F32x4Trunc
            | O::F32x4Nearest
            | O::F32x4DemoteF64x2Zero
            | O::F64x2Add
            | O::F64x2Sub
            | O::F64x2Mul
            | O::F64x2Div
            | O::F64x2Sqrt
            | O::F64x2Min
            | O::F64x2Max
            | O::F64x2Ceil
            | O::F64x2Floor
            | O::F64x2Trunc
            | O::F64x2Nearest
            | O::F64x2PromoteLowF32x4
    )
}
