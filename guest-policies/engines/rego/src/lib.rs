//! Decides by the Rego policy in its settings, evaluated by `regorus`.
//!
//! The policy is package `countersign`. Its rule `deny` is a set of `{"code": …, "message": …}`: any
//! of them denies. Its rules `permit` and `restrict` are `true`, or a grant: `{"max_ttl": 900, "audiences":
//! […], "claims": {…}}`. A policy gives at most one of these two; both at once is a fault. Where no rule has
//! a value, the policy abstains. `input` has `run` and `token`, by the contract's names with underscores.
//!
//! `configure` [checks](check) the policy before it is taken, and answers questions of tools: see [`Question`].

mod any;
mod builtins;
mod catalog;
mod check;
mod heads;
mod input;
mod join;
mod kinds;
mod measure;
mod patterns;
mod reads;
mod rewrite;
mod sources;
mod test_rules;
mod text;
mod tree;
mod verdict;

use std::cell::RefCell;
use std::collections::BTreeMap;

use countersign_policy::{Problem, Run, Token, Verdict, policy, sample, settings};
use engine_shared::claims::Claims;
use engine_shared::stage;
use regorus::{Engine, Value};

use crate::check::Severity;
use crate::heads::Heads;
use crate::measure::Measure;
use crate::rewrite::Rewritten;
use crate::sources::{Source, one_line};

/// The package of every policy.
const PACKAGE: &str = "countersign";

/// The engine's own package, whose rule `answer` has the values of the policy's: evaluated together, a rule that several
/// of them need is evaluated once.
const OWN_PACKAGE: &str = "__countersign";

/// A policy in Rego.
#[settings]
pub struct Settings {
    /// The text of the policy: package `countersign`, Rego v1, with at least one of the rules `permit`,
    /// `restrict` and `deny`.
    policy: String,
    /// The document that the policy reads as `data`.
    #[serde(default)]
    data: Option<Data>,
    /// Further files by their paths: `….rego`, and `data.json` and `data.yaml`, each below the path of its folder in `data`.
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// A question of a tool: the policy is not taken, and the problems are the answer.
    #[serde(default)]
    ask: Option<Question>,
    /// A measurement of a tool, which evaluations answer in place of a verdict.
    #[serde(default)]
    measure: Option<Measure>,
}

/// A question about a policy. Only so many problems are passed on, so it says with which answer to begin, from 0 on.
#[settings]
pub struct Question {
    /// The warnings about the policy.
    #[serde(default)]
    warnings: Option<u32>,
    /// The outcomes of the rules `test_…`.
    #[serde(default)]
    tests: Option<u32>,
    /// The paths of the rules that can be evaluated by themselves.
    #[serde(default)]
    rules: Option<u32>,
}

/// A document for a policy: an object.
#[derive(serde::Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
#[serde(transparent)]
struct Data(Value);

#[cfg(not(target_arch = "wasm32"))]
impl countersign_policy::schemars::JsonSchema for Data {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(
        _: &mut countersign_policy::schemars::SchemaGenerator,
    ) -> countersign_policy::schemars::Schema {
        countersign_policy::schemars::json_schema!({"type": "object"})
    }
}

/// An engine that has parsed the policy and decided once.
pub struct Prepared {
    engine: RefCell<Engine>,
    /// The claims that the policy reads.
    claims: Claims,
    /// The path of the rule that has the values of the policy's rules.
    answer: String,
    measure: Option<Measure>,
}

// SAFETY: a component has one thread (the host refuses shared memories).
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a static between the contract's functions must be `Sync`")]
unsafe impl Sync for Prepared {}

policy!(Settings, prepare, Prepared, evaluate);

fn prepare(settings: Settings) -> Result<Prepared, Vec<Problem>> {
    let data = document(settings.data, &settings.files)?;
    let sources = sources::read(settings.policy, &settings.files)?;
    let modules = sources::parse(&sources)?;
    let of_policy = |message: String| vec![sources::problem(sources::MAIN, message)];
    let main = modules.first().map(check::package).unwrap_or_default();
    if main != PACKAGE {
        return Err(of_policy(format!("expected package `{PACKAGE}`, found `{main}`")));
    }
    let heads = Heads::of(&modules).map_err(of_policy)?;
    if heads.is_empty() {
        let message = "expected at least one of the rules `permit`, `restrict` and `deny`";
        return Err(of_policy(format!("{message}{}", heads::proposal(&modules))));
    }
    let findings = check::check(&modules, &data, PACKAGE);
    let of = |severity: Severity| {
        let findings = findings.iter().filter(move |finding| finding.severity == severity);
        findings.map(|finding| {
            let source = sources.iter().find(|source| source.path == finding.place.file);
            let mut finding = finding.clone();
            if let Some(source) = source {
                finding.place = source.prepared.original(finding.place);
            }
            sources::problem(&finding.place.file.clone(), finding.to_string())
        })
    };
    let errors: Vec<Problem> = of(Severity::Error).collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    if let Some(question) = settings.ask {
        if let Some(first) = question.warnings {
            return Err(answers(of(Severity::Warning), first));
        }
        if let Some(first) = question.rules {
            return Err(answers(measure::rules(&modules).into_iter(), first));
        }
        // Tests may replace what a loop reads, so they run as they are written.
        let engine = engine(&sources, &unchanged(&sources), data, heads)?;
        let answered = test_rules::run(&sources, &modules, engine);
        return Err(answers(answered.into_iter(), question.tests.unwrap_or_default()));
    }
    patterns::compile(&modules, &data).map_err(|message| vec![message])?;
    // Lines are counted of the text as it is written.
    let rewritten = match &settings.measure {
        Some(Measure { coverage: true, .. }) => unchanged(&sources),
        _ => rewrite::rewrite(&modules, &data),
    };
    // As it is written it means the same, so a text that is not taken otherwise is none that fails.
    let engine = match engine(&sources, &rewritten, data.clone(), heads) {
        Err(_) if rewritten.is_changed => engine(&sources, &unchanged(&sources), data, heads)?,
        other => other?,
    };
    // A text that is taken as it is written reads no more than one that was rewritten.
    let texts = sources.iter().map(|source| source.prepared.text.as_str());
    let claims = reads::of(texts.chain(rewritten.texts.iter().map(String::as_str))).claims();
    let answer = format!("data.{OWN_PACKAGE}.answer");
    let prepared =
        Prepared { engine: RefCell::new(engine), claims, answer, measure: settings.measure };
    // Warms up whatever the engine does lazily, before the snapshot. The verdict on the sample does not matter.
    let run = sample::run();
    stage::evaluating_sample(&run);
    let _ = decide(&prepared, &run, &sample::token());
    stage::over();
    forget(&mut prepared.engine.borrow_mut());
    Ok(prepared)
}

/// Drops what an evaluation left: the next one would, each time.
fn forget(engine: &mut Engine) {
    engine.set_input(Value::new_object());
    // It evaluates to a constant, and never fails.
    let _ = engine.eval_rule(format!("data.{OWN_PACKAGE}.ready"));
}

/// The texts of sources as they are written.
fn unchanged(sources: &[Source]) -> Rewritten {
    let texts = sources.iter().map(|source| source.prepared.text.clone()).collect();
    Rewritten { texts, members: Vec::new(), is_changed: false }
}

/// The document that the policy reads as `data`.
fn document(data: Option<Data>, files: &BTreeMap<String, String>) -> Result<Value, Vec<Problem>> {
    let of_data = |pointer: &str, message: &str| {
        vec![Problem { pointer: pointer.to_owned(), message: message.to_owned() }]
    };
    let data = data.map_or_else(Value::new_object, |Data(data)| data);
    let Value::Object(_) = &data else { return Err(of_data("/data", "expected an object")) };
    let data = sources::merge_documents(data, files).map_err(|problem| vec![problem])?;
    // Data under a package's name would take the place of its rules.
    for package in [PACKAGE, OWN_PACKAGE] {
        let is_there =
            data.as_object().is_ok_and(|members| members.get(&Value::from(package)).is_some());
        if is_there {
            return Err(of_data(
                &format!("/data/{package}"),
                "the name of a package; rename the data",
            ));
        }
    }
    Ok(data)
}

/// An engine with the policy, its data, and a rule that has the values of its verdicts.
fn engine(
    sources: &[Source],
    rewritten: &Rewritten,
    data: Value,
    heads: Heads,
) -> Result<Engine, Vec<Problem>> {
    let failed = |error: anyhow::Error| {
        vec![sources::problem(sources::MAIN, one_line(&error.to_string(), sources))]
    };
    let mut engine = sources::engine();
    builtins::register(&mut engine).map_err(failed)?;
    join::register(&mut engine).map_err(failed)?;
    any::register(&mut engine).map_err(failed)?;
    for (name, members) in &rewritten.members {
        any::register_members(&mut engine, name, members.clone()).map_err(failed)?;
    }
    for (source, text) in sources.iter().zip(&rewritten.texts) {
        engine.add_policy(source.path.clone(), text.clone()).map_err(failed)?;
    }
    let answer = heads.answer(OWN_PACKAGE, PACKAGE);
    engine.add_policy(OWN_PACKAGE.to_owned(), answer).map_err(failed)?;
    engine.add_data(data).map_err(|error| {
        vec![Problem {
            pointer: "/data".to_owned(),
            message: one_line(&error.to_string(), sources),
        }]
    })?;
    // Anything that the engine finds wrong beyond the check is found now, and not by the first run.
    engine.set_input(Value::new_object());
    engine.eval_rule(format!("data.{OWN_PACKAGE}.ready")).map_err(failed)?;
    Ok(engine)
}

/// Answers from the n-th on, and a last one that says that there are no more.
fn answers(all: impl Iterator<Item = Problem>, first: u32) -> Vec<Problem> {
    let end = Problem { pointer: "/ask".to_owned(), message: "end".to_owned() };
    all.skip(usize::try_from(first).unwrap_or(usize::MAX)).chain([end]).collect()
}

fn evaluate(prepared: &Prepared, run: &Run, token: &Token) -> Verdict {
    decide(prepared, run, token).unwrap_or_else(|problem| {
        // A policy that fails has not permitted: the host turns the panic into a fault with this message.
        #[expect(clippy::panic, reason = "a guest reports a fault by panicking")]
        {
            panic!("{problem}")
        }
    })
}

fn decide(prepared: &Prepared, run: &Run, token: &Token) -> Result<Verdict, String> {
    let mut engine = prepared.engine.borrow_mut();
    engine.set_input(input::of(&prepared.claims, run, token));
    if let Some(measure) = &prepared.measure {
        return measure::evaluate(&mut engine, measure, &prepared.answer)
            .map_err(|error| one_line(&error.to_string(), &[]));
    }
    let answer = engine
        .eval_rule(prepared.answer.clone())
        .map_err(|error| one_line(&error.to_string(), &[]))?;
    let value = |rule: &str| heads::value(&answer, rule);
    verdict::of(&value("permit"), &value("restrict"), &value("deny"), token)
}

#[cfg(test)]
mod tests;
