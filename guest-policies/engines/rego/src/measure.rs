//! Measurements of a policy for tools: the lines that an evaluation reaches, and a rule by itself.
//!
//! An evaluation has nothing to answer with but a verdict, so it denies with what was measured.

use std::collections::BTreeSet;

use countersign_policy::{Problem, Reason, Verdict, settings};
use regorus::unstable::{Module, Ref, Rule, RuleHead};
use regorus::{Engine, Value};

use crate::tree::{Reference, head};
use crate::{OWN_PACKAGE, check};

/// The code of the reasons that have what was measured.
const CODE: &str = "measured";

/// The bytes of a part of an answer: a host shortens longer messages.
const PART_BYTES: usize = 900;

/// The most parts: a host drops more reasons.
const MAX_PARTS: usize = 16;

/// A measurement, which the policy answers in place of its verdict.
#[settings]
pub struct Measure {
    /// The lines that the evaluation reaches.
    #[serde(default)]
    pub coverage: bool,
    /// The path of a rule that is evaluated by itself, such as `data.countersign.deny`.
    #[serde(default)]
    pub rule: Option<String>,
}

/// Evaluates a rule, or the rule that has the verdict.
///
/// # Errors
/// The reason that the evaluation fails.
pub fn evaluate(engine: &mut Engine, measure: &Measure, answer: &str) -> anyhow::Result<Verdict> {
    let rule = measure.rule.as_deref().unwrap_or(answer);
    if !measure.coverage {
        engine.eval_rule(rule.to_owned())?;
        return Ok(Verdict::deny(CODE, "the rule was evaluated"));
    }
    engine.set_enable_coverage(true);
    engine.clear_coverage_data();
    engine.eval_rule(rule.to_owned())?;
    let lines = |lines: &BTreeSet<u32>| {
        Value::from(lines.iter().map(|line| Value::from(u64::from(*line))).collect::<Vec<_>>())
    };
    let mut files = Value::new_object();
    for file in engine.get_coverage_report()?.files {
        if file.path != OWN_PACKAGE {
            let lines = Value::from(vec![lines(&file.covered), lines(&file.not_covered)]);
            files.as_object_mut()?.insert(Value::from(file.path), lines);
        }
    }
    // Without line breaks, which a host escapes: those within texts are escaped already.
    let text: String = files.to_json_str()?.lines().map(str::trim_start).collect();
    parts(&text)
}

/// A text as the messages of a denial.
fn parts(text: &str) -> anyhow::Result<Verdict> {
    let mut reasons = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = (0..=PART_BYTES.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end));
        let (part, after) = rest.split_at(end.unwrap_or(rest.len()));
        reasons.push(Reason::new(CODE, part));
        rest = after;
    }
    anyhow::ensure!(
        reasons.len() <= MAX_PARTS,
        "the lines of the policy do not fit into a verdict"
    );
    Ok(Verdict::Deny(reasons))
}

/// The answers about the rules that can be evaluated by themselves: their paths, in the order of the files.
pub fn rules(modules: &[Ref<Module>]) -> Vec<Problem> {
    let mut paths: Vec<String> = Vec::new();
    for module in modules {
        let package = check::package(module);
        for rule in &module.policy {
            let is_function = match rule.as_ref() {
                Rule::Spec { head: RuleHead::Func { .. }, .. } => true,
                Rule::Spec { .. } => false,
                Rule::Default { args, .. } => !args.is_empty(),
            };
            let Some(name) = Reference::of(head(rule)).name() else { continue };
            let is_test = name.starts_with("test_") || name.starts_with("todo_test_");
            let path = format!("data.{package}.{name}");
            if !is_function && !is_test && !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
    let rule = |path| Problem { pointer: "/rules".to_owned(), message: path };
    paths.into_iter().map(rule).collect()
}
