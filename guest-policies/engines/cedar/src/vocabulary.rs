//! Values that no run has: words of closed lists that are not in them, and identifiers that are out of form.
//!
//! Cedar takes a comparison with any text. One that is never true makes a `forbid` that never applies.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};
use cedar_policy_core::parser::Loc;
use countersign_policy::{DefinitionId, Workspace};
use engine_shared::{did_you_mean, words};

/// Finds what is never true in an expression: offsets and messages.
pub fn check(root: &Expr) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for node in root.subexpressions() {
        let values = compared(node);
        for (path, value) in values {
            if let Some(message) = of_value(&path, value) {
                found.push((offset(value, node), message));
            }
        }
        if let ExprKind::Like { expr, pattern } = node.expr_kind()
            && let Some(words) = path(expr).and_then(|path| words(&path))
            && !words.iter().any(|word| pattern.wildcard_match(word))
        {
            let words = words.join("`, `");
            let message = format!("no word is like `{pattern}`, expected one of `{words}`");
            found.push((offset(node, root), message));
        }
        if let ExprKind::Lit(Literal::EntityUID(uid)) = node.expr_kind() {
            let (kind, id): (String, &str) = (uid.entity_type().to_string(), uid.eid().as_ref());
            let place = uid.loc().map_or_else(|| offset(node, root), Loc::start);
            found.extend(of_entity(&kind, id).map(|message| (place, message)));
        }
    }
    found
}

/// The reason that no entity of a type has an id, if none has it.
pub fn of_entity(kind: &str, id: &str) -> Option<String> {
    let checked = match kind {
        "Workspace" => Workspace::parse(id).map(drop),
        "Definition" => DefinitionId::parse(id).map(drop),
        _ => Ok(()),
    };
    checked.err().map(|problem| format!("`{kind}::\"{id}\"` is never there: {problem}"))
}

/// The claims that a node compares with texts, by their paths, and the texts.
fn compared(node: &Expr) -> Vec<(String, &Expr)> {
    let ExprKind::BinaryApp { op, arg1, arg2 } = node.expr_kind() else { return Vec::new() };
    match op {
        BinaryOp::Eq => [(arg1, arg2), (arg2, arg1)]
            .into_iter()
            .filter_map(|(claim, value)| Some((path(claim)?, &**value)))
            .collect(),
        BinaryOp::Contains => match (arg1.expr_kind(), path(arg2)) {
            (ExprKind::Set(values), Some(path)) => {
                values.iter().map(|value| (path.clone(), value)).collect()
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The path of a claim in `context`, such as `run.behavior`.
pub fn path(expr: &Expr) -> Option<String> {
    match expr.expr_kind() {
        ExprKind::GetAttr { expr, attr } => match expr.expr_kind() {
            ExprKind::Var(Var::Context) => Some(attr.to_string()),
            _ => Some(format!("{}.{attr}", path(expr)?)),
        },
        _ => None,
    }
}

/// The reason that a claim never has a value, if it never has it.
fn of_value(path: &str, value: &Expr) -> Option<String> {
    let ExprKind::Lit(Literal::String(text)) = value.expr_kind() else { return None };
    if let Some(words) = words(path) {
        return of_value_in(text, &words);
    }
    let checked = match path {
        "run.building_block.workspace" | "run.definition.workspace" => {
            Workspace::parse(text).map(drop)
        }
        // All identifiers of UUIDs have one form.
        "run.id" | "run.runner" | "run.building_block.id" | "run.definition.id" => {
            DefinitionId::parse(text).map(drop)
        }
        _ => Ok(()),
    };
    checked.err().map(|problem| format!("`{path}` never has this value: {problem}"))
}

fn of_value_in(text: &str, words: &[&'static str]) -> Option<String> {
    if words.contains(&text) {
        return None;
    }
    let hint = did_you_mean(text, words.iter().copied());
    let words = words.join("`, `");
    Some(format!("the word `{text}` never occurs, expected one of `{words}`{hint}"))
}

fn offset(expr: &Expr, or: &Expr) -> usize {
    let loc = expr.source_loc().or_else(|| or.source_loc());
    loc.map_or(0, Loc::start)
}
