//! Decides by the Rego policy in its settings, evaluated by `regorus`.
//!
//! The policy is package `countersign`. Its rule `deny` is a set of `{"code": …, "message": …}`: any
//! of them denies. Its rules `permit` and `restrict` are `true`, or a grant: `{"max_ttl": 900, "audiences":
//! […], "claims": {…}}`. A policy gives at most one of these two; both at once is a fault. Where no rule has
//! a value, the policy abstains. `input` has `run` and `token`, by the contract's names with underscores.

mod heads;
mod input;
mod verdict;

use std::cell::RefCell;

use countersign_policy::{Problem, Run, Token, Verdict, policy, sample, settings};
use regorus::{Engine, Value};

use crate::heads::Heads;

/// The file name in errors.
const SOURCE: &str = "policy.rego";

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
    /// The path of the rule that has the values of the policy's rules.
    answer: String,
}

// SAFETY: a component has one thread (the host refuses shared memories).
#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a static between the contract's functions must be `Sync`")]
unsafe impl Sync for Prepared {}

policy!(Settings, prepare, Prepared, evaluate);

fn prepare(settings: Settings) -> Result<Prepared, Vec<Problem>> {
    let of_policy = |message: String| vec![problem("/policy", message)];
    let mut engine = Engine::new();
    let package = engine
        .add_policy(SOURCE.to_owned(), settings.policy)
        .map_err(|error| of_policy(one_line(&error.to_string())))?;
    if package != "data.countersign" {
        let found = package.strip_prefix("data.").unwrap_or(&package);
        return Err(of_policy(format!("expected package `countersign`, found `{found}`")));
    }
    let heads = Heads::of(&mut engine).map_err(of_policy)?;
    if heads.is_empty() {
        let message = "expected at least one of the rules `permit`, `restrict` and `deny`";
        return Err(of_policy(message.to_owned()));
    }
    engine
        .add_policy(OWN_PACKAGE.to_owned(), heads.answer(OWN_PACKAGE, PACKAGE))
        .map_err(|error| of_policy(one_line(&error.to_string())))?;
    if let Some(Data(data)) = settings.data {
        let Ok(members) = data.as_object() else {
            return Err(vec![problem("/data", "expected an object".to_owned())]);
        };
        // Data under a package's name would take the place of its rules.
        for package in [PACKAGE, OWN_PACKAGE] {
            if members.get(&Value::from(package)).is_some() {
                let message = "the name of a package; rename the data".to_owned();
                return Err(vec![problem(&format!("/data/{package}"), message)]);
            }
        }
        engine
            .add_data(data)
            .map_err(|error| vec![problem("/data", one_line(&error.to_string()))])?;
    }
    let prepared =
        Prepared { engine: RefCell::new(engine), answer: format!("data.{OWN_PACKAGE}.answer") };
    // Warms up whatever the engine does lazily, before the snapshot. The verdict on the sample does not matter.
    let _ = decide(&prepared, &sample::run(), &sample::token());
    Ok(prepared)
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
    engine.set_input(input::of(run, token));
    let answer =
        engine.eval_rule(prepared.answer.clone()).map_err(|error| one_line(&error.to_string()))?;
    let value = |rule: &str| heads::value(&answer, rule);
    verdict::of(&value("permit"), &value("restrict"), &value("deny"), token)
}

/// An error of the engine in one line, place first: regorus prints several, with the source and a mark below it.
fn one_line(error: &str) -> String {
    let line = |mark: &str| error.lines().find_map(|line| line.trim().strip_prefix(mark));
    match (line("--> "), line("error: ")) {
        (Some(place), Some(problem)) => format!("{place}: {problem}"),
        _ => error.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

fn problem(pointer: &str, message: String) -> Problem {
    Problem { pointer: pointer.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use countersign_policy::{Grant, parse_settings};

    use super::*;

    #[track_caller]
    fn check(rules: &str, expected: Result<Verdict, &str>) {
        let policy = Value::from(format!("package countersign\n{rules}"));
        let settings = format!("{{\"policy\": {policy}}}");
        let prepared = prepare(parse_settings(&settings).expect("settings")).expect("a policy");
        let found = decide(&prepared, &sample::run(), &sample::token());
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
    }

    #[test]
    fn a_policy_gives_a_permit_or_a_restriction() {
        let grant = || Grant { max_ttl: Some(900), ..Grant::new() };
        let denial = "deny contains {\"code\": \"a\", \"message\": \"b\"}";
        let both = "`permit` and `restrict` both have a value; expected one";
        check("permit := {\"max_ttl\": 900}", Ok(Verdict::Permit(grant())));
        check("restrict := {\"max_ttl\": 900}", Ok(Verdict::Restrict(grant())));
        check("restrict := true", Ok(Verdict::Restrict(Grant::new())));
        check("permit := false\nrestrict := {\"max_ttl\": 900}", Ok(Verdict::Restrict(grant())));
        check("permit := {\"max_ttl\": 900}\nrestrict := false", Ok(Verdict::Permit(grant())));
        check("restrict if false", Ok(Verdict::Abstain));
        check(&format!("restrict := true\n{denial}"), Ok(Verdict::deny("a", "b")));
        check("permit := true\nrestrict := true", Err(both));
        check(&format!("permit := true\nrestrict := true\n{denial}"), Err(both));
        check("restrict := 7", Err("restrict: expected true or an object, found 7"));
    }
}
