//! Expressions: parsing, evaluating, and finding the place of an error.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};
use cel::common::value::{CowVal, Val};
use cel::{Context, Env, ExecutionError, Program, Value};

use crate::document::{Place, Text, Wrong};

/// A parsed expression.
pub struct Expression {
    program: Program,
    text: Text,
}

impl Expression {
    /// Parses the text of an expression.
    pub fn parse(env: &Env, source: &str, text: Text) -> Result<Self, Wrong> {
        if text.value.trim().is_empty() {
            return Err(Wrong::new(text.at, "expected an expression, found nothing"));
        }
        match env.compile(text.value.trim_end()) {
            Ok(program) => Ok(Self { program, text }),
            Err(errors) => {
                let Some(error) = errors.errors.first() else {
                    return Err(Wrong::new(text.at, "not an expression"));
                };
                let (line, column) = error.pos;
                let offset = offset(&text.value, line, column);
                let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
                Err(Wrong::new(text.place(source, offset), message))
            }
        }
    }

    pub fn root(&self) -> &IdedExpr {
        self.program.expression()
    }

    /// The place of the whole expression.
    pub fn at(&self) -> Place {
        self.text.at
    }

    /// The place of a node.
    pub fn place(&self, source: &str, node: u64) -> Place {
        match self.program.source_info().offset_for(node) {
            Some((start, _)) => self.text.place(source, start as usize),
            None => self.text.at,
        }
    }

    /// Evaluates it. An error has the node that failed.
    pub fn evaluate<'e, 'v>(
        &'e self,
        context: &'e Context<'_, 'v>,
    ) -> Result<CowVal<'e, 'v>, (u64, ExecutionError)> {
        Value::resolve_val(self.root(), context)
            .map_err(|error| (failing(self.root(), context), error))
    }
}

/// The node whose own evaluation fails, of a tree that fails: the first of its parts that does, else itself. Within a
/// comprehension the parts have no values of their own.
fn failing(node: &IdedExpr, context: &Context<'_, '_>) -> u64 {
    let parts = match &node.expr {
        Expr::Comprehension(comprehension) => vec![&comprehension.iter_range],
        _ => parts(node),
    };
    match parts.into_iter().find(|part| Value::resolve_val(part, context).is_err()) {
        Some(part) => failing(part, context),
        None => node.id,
    }
}

/// The nodes of which a node is made.
pub fn parts(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map
            .entries
            .iter()
            .flat_map(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
                EntryExpr::StructField(field) => vec![&field.value],
            })
            .collect(),
        Expr::Comprehension(comprehension) => vec![
            &comprehension.iter_range,
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ],
        _ => Vec::new(),
    }
}

/// The fields of a variable that an expression reads, or tests by `has()`.
pub fn fields_of<'e>(node: &'e IdedExpr, variable: &str, is_test: bool) -> Vec<&'e str> {
    let mut found: Vec<_> =
        parts(node).into_iter().flat_map(|part| fields_of(part, variable, is_test)).collect();
    if let Expr::Select(select) = &node.expr
        && select.test == is_test
        && matches!(&select.operand.expr, Expr::Ident(name) if name == variable)
    {
        found.push(&select.field);
    }
    found
}

/// An error in the words of this engine.
pub fn describe(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => {
            format!("there is no `{key}`; test what may be absent by has() or `in`")
        }
        ExecutionError::UndeclaredReference(name) => format!("`{name}` is not declared"),
        ExecutionError::NoSuchOverload(overload) => {
            let types = overload.argument_types().join(", ");
            format!("`{}` does not take ({types})", spelt(overload.function()))
        }
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => {
            let name = match *name {
                "add" => "+",
                "sub" => "-",
                "mul" => "*",
                "div" => "/",
                "rem" => "%",
                other => other,
            };
            let [left, right] = [left, right].map(|value| value.type_of().to_string());
            format!("`{name}` does not take ({left}, {right})")
        }
        ExecutionError::UnexpectedType { got, want } => format!("expected {want}, found {got}"),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "division by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the result does not fit into 64 bits".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "the list is shorter".to_owned(),
        ExecutionError::FunctionError { function, message } => format!("{function}: {message}"),
        other => other.to_string(),
    }
}

/// An operator as it is written: the library calls `a < b` `_<_`.
fn spelt(function: &str) -> &str {
    match function {
        "@in" => "in",
        "_?_:_" => "?:",
        "_[_]" => "[]",
        other => other.trim_matches('_'),
    }
}

/// The kind of a value, for an error.
pub fn kind(value: &dyn Val) -> &str {
    value.get_type().name()
}

/// The byte at a line and a column, both counted from 1.
fn offset(text: &str, line: isize, column: isize) -> usize {
    let (line, column) = (line.max(1).unsigned_abs(), column.max(1).unsigned_abs());
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    (before + column - 1).min(text.len())
}
