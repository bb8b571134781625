//! Compiles the regular expressions that data has, once: those below what a rule reads that has a pattern from elsewhere.

use countersign_policy::Problem;
use regorus::Value;
use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead};

use crate::builtins::compile_pattern;
use crate::sources;
use crate::tree::{self, Part, Place, Reference};

/// The most expressions of data that are compiled beforehand: each takes memory that every evaluation begins with.
const MAX_PATTERNS: usize = 1024;

/// Compiles them.
///
/// # Errors
/// When a member of a list that is nothing but patterns is none.
pub fn compile(modules: &[Ref<Module>], data: &Value) -> Result<(), Problem> {
    let mut left = MAX_PATTERNS;
    for module in modules {
        for rule in &module.policy {
            let mut reads: Vec<Vec<&str>> = Vec::new();
            let mut has_patterns = false;
            each_of_rule(rule, &mut |expr| {
                if let Expr::Call { fcn, params, .. } = expr.as_ref()
                    && let Some(pattern) =
                        tree::callee(fcn).and_then(|name| pattern_of(&name, params))
                {
                    has_patterns |= tree::key(pattern).is_none();
                }
                let reference = Reference::of(expr);
                if reference.name() == Some("data") {
                    reads.push(
                        reference
                            .parts
                            .iter()
                            .map_while(|part| match part {
                                Part::Key(key, _) => Some(*key),
                                Part::Index(_) => None,
                            })
                            .collect(),
                    );
                }
            });
            if !has_patterns {
                continue;
            }
            for path in reads {
                let value = path.iter().try_fold(data, |value, key| match value {
                    Value::Object(members) => members.get(&Value::from(*key)),
                    _ => None,
                });
                if let Some(value) = value {
                    all_below(value, &mut left);
                }
            }
        }
        literals(module, data)?;
    }
    Ok(())
}

/// Lists whose members are matched as they are: a member that is no expression would be a fault of the run that reaches it.
fn literals(module: &Ref<Module>, data: &Value) -> Result<(), Problem> {
    let mut wrong = None;
    for rule in &module.policy {
        each_of_rule(rule, &mut |expr| {
            let Expr::Call { fcn, params, .. } = expr.as_ref() else { return };
            let Some(pattern) = tree::callee(fcn).and_then(|name| pattern_of(&name, params)) else {
                return;
            };
            let reference = Reference::of(pattern);
            if reference.name() != Some("data") {
                return;
            }
            let mut values = vec![data];
            for part in &reference.parts {
                values = values.into_iter().flat_map(|value| step(value, part)).collect();
            }
            let invalid = values.into_iter().find_map(|value| match value {
                Value::String(text) => compile_pattern(text).err(),
                _ => None,
            });
            if let (None, Some(error)) = (&wrong, invalid) {
                let place = Place::of_expr(pattern);
                wrong = Some(sources::problem(
                    &place.file,
                    format!("{place}: data has an invalid regular expression: {error}"),
                ));
            }
        });
    }
    wrong.map_or(Ok(()), Err)
}

fn step<'v>(value: &'v Value, part: &Part<'_>) -> Vec<&'v Value> {
    match (value, part) {
        (Value::Object(members), Part::Key(key, _)) => {
            members.get(&Value::from(*key)).into_iter().collect()
        }
        (Value::Object(members), Part::Index(_)) => members.values().collect(),
        (Value::Array(items), Part::Index(_)) => items.iter().collect(),
        _ => Vec::new(),
    }
}

/// The argument of a function that is a regular expression.
fn pattern_of<'p>(name: &str, params: &'p [Ref<Expr>]) -> Option<&'p Ref<Expr>> {
    match name {
        "regex.match" | "regex.split" | "regex.find_n" | "regex.find_all_string_submatch_n" => {
            params.first()
        }
        "regex.replace" => params.get(1),
        _ => None,
    }
}

fn all_below(value: &Value, left: &mut usize) {
    match value {
        Value::String(text)
            if *left > 0
                && text.contains(['^', '$', '.', '*', '+', '?', '[', '(', '{', '|', '\\']) =>
        {
            *left -= 1;
            // Text that is no expression may be there for something else.
            let _ = compile_pattern(text);
        }
        Value::Array(items) => items.iter().for_each(|item| all_below(item, left)),
        Value::Object(members) => members.iter_sorted().for_each(|(key, item)| {
            all_below(key, left);
            all_below(item, left);
        }),
        _ => {}
    }
}

fn each_of_rule<'t>(rule: &'t Ref<Rule>, visit: &mut dyn FnMut(&'t Ref<Expr>)) {
    let Rule::Spec { head, bodies, .. } = rule.as_ref() else { return };
    match head {
        RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
            assign.iter().for_each(|assign| tree::each(&assign.value, visit));
        }
        RuleHead::Set { key, .. } => key.iter().for_each(|key| tree::each(key, visit)),
    }
    for body in bodies {
        body.assign.iter().for_each(|assign| tree::each(&assign.value, visit));
        tree::each_in(&body.query.stmts, visit);
    }
}
