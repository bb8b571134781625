//! Walks through chains of operators. A sum of thousands of parts is a tree that deep.

use oxc_ast::ast::{BinaryExpression, Expression, LogicalExpression};
use oxc_ast_visit::Visit;

/// Walks through operands, the last one first, and tells of each operator.
pub fn binary<'a, V: Visit<'a>>(
    visitor: &mut V,
    it: &BinaryExpression<'a>,
    operator: impl Fn(&mut V, &BinaryExpression<'a>),
) {
    let mut chain = it;
    loop {
        operator(visitor, chain);
        visitor.visit_expression(&chain.right);
        match &chain.left {
            Expression::BinaryExpression(inner) => chain = inner,
            first => return visitor.visit_expression(first),
        }
    }
}

/// Walks through operands, the last one first.
pub fn logical<'a>(visitor: &mut impl Visit<'a>, it: &LogicalExpression<'a>) {
    let mut chain = it;
    loop {
        visitor.visit_expression(&chain.right);
        match &chain.left {
            Expression::LogicalExpression(inner) => chain = inner,
            first => return visitor.visit_expression(first),
        }
    }
}
