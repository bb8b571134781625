//! Decides by the rules in its settings, whose conditions are in CEL, evaluated by the crate `cel`.
//!
//! A policy file is YAML: lists of rules under `permit`, `restrict` and `deny`, each with a condition, `when`. Every
//! `deny` that applies denies, with its `code` and its message. A `permit` that applies permits and a `restrict`
//! narrows, by `max_ttl`, `audiences` and `claims`, which are expressions as well; they combine as bindings do in a
//! decision. Where no rule applies, the policy abstains. Expressions read `run` and `token`, by the contract's names with
//! underscores, `data`, and the `variables` of the file.

mod absent;
mod check;
mod claims;
mod data;
mod document;
mod expression;
mod policy;
mod regexes;
mod rules;
mod times;

use std::sync::Arc;

use cel::common::types::CelMap;
use cel::{Context, Env};
use countersign_policy::{Problem, Run, Token, Verdict, policy, sample, settings};
use engine_shared::{JsonObject, complete, stage};

use crate::claims::Claims;
use crate::document::Wrong;
use crate::rules::Rules;

/// The file name in errors.
const SOURCE: &str = "policy.cel.yaml";

/// A policy in CEL.
#[settings]
pub struct Settings {
    /// The text of the policy, in YAML: rules under at least one of `permit`, `restrict` and `deny`.
    policy: String,
    /// The document that expressions read as `data`.
    #[serde(default)]
    data: Option<JsonObject>,
    /// Takes no policy that has a warning, and says which: `policy build` asks so.
    #[serde(default)]
    warnings: bool,
}

/// Rules that were checked, and have decided once.
pub struct Prepared {
    env: Arc<Env>,
    source: String,
    rules: Rules,
    data: CelMap<'static>,
}

policy!(Settings, prepare, Prepared, evaluate);

fn prepare(settings: Settings) -> Result<Prepared, Vec<Problem>> {
    let data = data::to_map(settings.data.unwrap_or_default());
    let mut env = Env::stdlib();
    regexes::declare(&mut env)
        .and_then(|()| times::declare(&mut env))
        .map_err(|error| vec![problem("", error.to_string())])?;
    let (source, warns) = (settings.policy, settings.warnings);
    let of_policy = |wrongs: Vec<Wrong>| {
        wrongs.iter().map(|wrong| problem("/policy", placed(wrong))).collect::<Vec<_>>()
    };
    let rules = policy::parse(&source)
        .map_err(|wrong| vec![wrong])
        .and_then(|policy| Rules::parse(&env, &source, policy))
        .map_err(of_policy)?;
    let env = Arc::new(env);
    let (run, token) = (complete(), sample::token());
    // Checking the rules evaluates them.
    stage::evaluating_sample(&run);
    let claims = Claims { run: &run, token: &token, data: &data };
    let mut context = Context::with_env(Arc::clone(&env));
    context.set_variable_resolver(&claims);
    rules.check(&source, &context, &data).map_err(of_policy)?;
    drop(context);
    if warns {
        match rules.warnings(&source) {
            warnings if warnings.is_empty() => {}
            warnings => return Err(of_policy(warnings)),
        }
    }
    let prepared = Prepared { env, source, rules, data };
    // Warms up whatever is lazy, before the snapshot. A rule may fail on a sample and work on real runs.
    for run in [&run, &sample::run()] {
        stage::evaluating_sample(run);
        let _ = decide(&prepared, run, &token);
    }
    stage::over();
    Ok(prepared)
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    decide(prepared, run, token).unwrap_or_else(|wrong| {
        // A policy that fails has not permitted: the host turns the panic into a fault with this message.
        #[expect(clippy::panic, reason = "a guest reports a fault by panicking")]
        {
            panic!("{}", placed(&wrong))
        }
    })
}

fn decide(prepared: &Prepared, run: &Run, token: &Token) -> Result<Verdict, Wrong> {
    let Prepared { env, source, rules, data } = prepared;
    let claims = Claims { run, token, data };
    let mut context = Context::with_env(Arc::clone(env));
    context.set_variable_resolver(&claims);
    rules.decide(source, context, token)
}

fn placed(wrong: &Wrong) -> String {
    format!("{SOURCE}:{}:{}: {}", wrong.at.line, wrong.at.column, wrong.message)
}

fn problem(pointer: &str, message: String) -> Problem {
    Problem { pointer: pointer.to_owned(), message }
}

#[cfg(test)]
mod tests;
