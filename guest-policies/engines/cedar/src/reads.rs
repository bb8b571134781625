//! The claims that policies read. A request has no others.

use std::collections::BTreeMap;

use cedar_policy_core::ast::{Expr, ExprKind, Var};
use engine_shared::claims::Paths;

/// Finds what expressions read of `context`.
pub fn of<'e>(expressions: impl IntoIterator<Item = &'e Expr>) -> Paths {
    let mut times = BTreeMap::<Vec<String>, isize>::new();
    for node in expressions.into_iter().flat_map(Expr::subexpressions) {
        let Some(read) = path(node) else { continue };
        *times.entry(read).or_default() += 1;
        // `context.run` within `context.run.id` is met as well, and reads no more than that.
        if let Some(within) = inner(node).and_then(path) {
            *times.entry(within).or_default() -= 1;
        }
    }
    let mut paths = Paths::default();
    times.into_iter().filter(|(_, times)| *times > 0).for_each(|(path, _)| paths.add(path));
    paths
}

/// The path of what a node reads of `context`; `None` where it reads nothing of it by names.
fn path(node: &Expr) -> Option<Vec<String>> {
    if let ExprKind::Var(Var::Context) = node.expr_kind() {
        return Some(Vec::new());
    }
    let mut path = path(inner(node)?)?;
    match node.expr_kind() {
        ExprKind::ExtHasAttr { attrs, .. } => path.extend(attrs.iter().map(ToString::to_string)),
        ExprKind::GetAttr { attr, .. } | ExprKind::HasAttr { attr, .. } => {
            path.push(attr.to_string());
        }
        _ => return None,
    }
    Some(path)
}

/// The expression that a node reads an attribute of.
fn inner(node: &Expr) -> Option<&Expr> {
    match node.expr_kind() {
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. } => Some(expr),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_found() {
        for (text, read, not_read) in [
            ("context.run.number > 1", &["run.number"][..], &["run.id", "token.time"][..]),
            (
                "context.run has trigger && context.run.trigger has reason",
                &["run.trigger.reason"],
                &["run.runner"],
            ),
            ("context.run has trigger.author", &["run.trigger.author"], &["run.id"]),
            (
                "context.run.building_block == {id: \"a\"}",
                &["run.building_block.parents"],
                &["run.id"],
            ),
            (
                "[context.run].contains({})",
                &["run.id", "run.building_block.id"],
                &["token.subject"],
            ),
            (
                "context.run.id == \"\" || context.run == {}",
                &["run.id", "run.number"],
                &["token.time"],
            ),
            ("context == {}", &["run.id", "token.time"], &[]),
            ("context has run", &["run.id"], &["token.time"]),
            ("(if true then context else {}).run.id == \"\"", &["run.number", "token.time"], &[]),
            (
                "{a: context.token.time}.a < datetime(\"2026-01-01\")",
                &["token.time"],
                &["token.subject"],
            ),
            ("principal == resource", &[], &["run.id", "token.subject"]),
            ("context[\"run\"][\"id\"] == \"context.token\"", &["run.id"], &["token.subject"]),
        ] {
            let reads = of([&text.parse().expect(text)]);
            let has = |path: &&str| reads.read(&path.split('.').collect::<Vec<_>>());
            assert!(read.iter().all(&has), "{text}");
            assert!(!not_read.iter().any(has), "{text}");
        }
    }
}
