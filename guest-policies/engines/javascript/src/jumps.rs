//! Finds `break` and `continue` where nothing is to be left: the interpreter says so of the whole text.

use oxc_allocator::Allocator;
use oxc_ast::ast::{
    BinaryExpression, BreakStatement, ContinueStatement, DoWhileStatement, ForInStatement,
    ForOfStatement, ForStatement, FunctionBody, LogicalExpression, SwitchStatement, WhileStatement,
};
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::SourceType;

/// The offset of the first one in a text without types.
pub fn misplaced(text: &str) -> Option<usize> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs()).parse();
    let mut jumps = Jumps::default();
    jumps.visit_program(&parsed.program);
    jumps.found.map(|at| at as usize)
}

#[derive(Default)]
struct Jumps {
    loops: u32,
    switches: u32,
    found: Option<u32>,
}

impl Jumps {
    fn in_loop(&mut self, walk: impl FnOnce(&mut Self)) {
        self.loops += 1;
        walk(self);
        self.loops -= 1;
    }
}

impl<'a> Visit<'a> for Jumps {
    fn visit_function_body(&mut self, it: &FunctionBody<'a>) {
        let outer = (std::mem::take(&mut self.loops), std::mem::take(&mut self.switches));
        walk::walk_function_body(self, it);
        (self.loops, self.switches) = outer;
    }

    fn visit_for_statement(&mut self, it: &ForStatement<'a>) {
        self.in_loop(|jumps| walk::walk_for_statement(jumps, it));
    }

    fn visit_for_in_statement(&mut self, it: &ForInStatement<'a>) {
        self.in_loop(|jumps| walk::walk_for_in_statement(jumps, it));
    }

    fn visit_for_of_statement(&mut self, it: &ForOfStatement<'a>) {
        self.in_loop(|jumps| walk::walk_for_of_statement(jumps, it));
    }

    fn visit_while_statement(&mut self, it: &WhileStatement<'a>) {
        self.in_loop(|jumps| walk::walk_while_statement(jumps, it));
    }

    fn visit_do_while_statement(&mut self, it: &DoWhileStatement<'a>) {
        self.in_loop(|jumps| walk::walk_do_while_statement(jumps, it));
    }

    fn visit_switch_statement(&mut self, it: &SwitchStatement<'a>) {
        self.switches += 1;
        walk::walk_switch_statement(self, it);
        self.switches -= 1;
    }

    fn visit_break_statement(&mut self, it: &BreakStatement<'a>) {
        if it.label.is_none() && self.loops + self.switches == 0 {
            self.found.get_or_insert(it.span.start);
        }
    }

    fn visit_continue_statement(&mut self, it: &ContinueStatement<'a>) {
        if it.label.is_none() && self.loops == 0 {
            self.found.get_or_insert(it.span.start);
        }
    }

    // A sum of thousands of parts is a tree that deep, and has no statements.
    fn visit_binary_expression(&mut self, _: &BinaryExpression<'a>) {}

    fn visit_logical_expression(&mut self, _: &LogicalExpression<'a>) {}
}
