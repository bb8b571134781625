//! Policies in JavaScript, and what is not taken for one.

use std::sync::{Arc, LazyLock};

use countersign::{Claims, Facts, Fault, Policy, Settings, Verdict};
use countersign_authoring::{CaseRunner, Cases, EvaluationBudget};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::comparison::answer;
use crate::{LIMITS, RUN, bind, claims_of, component, prepare, unoptimised};

const IMPORT: &str = "import { abstain, deny, permit, restrict } from 'countersign';\n";

/// The engine, compiled once for all tests.
fn engine() -> &'static Arc<Policy> {
    static ENGINE: LazyLock<Arc<Policy>> =
        LazyLock::new(|| unoptimised(&component(EngineName::Javascript)));
    &ENGINE
}

/// The settings of a policy in one file that decides by an expression.
fn deciding(expression: &str) -> Value {
    policy(&format!("{IMPORT}export const evaluate = (settings, run, token) => {expression};\n"))
}

fn policy(text: &str) -> Value {
    json!({"files": {"policy.js": text}})
}

fn claims() -> Claims {
    claims_of(RUN, None, Facts::default())
}

fn decide(engine: &Arc<Policy>, settings: &Value) -> Result<Verdict, Fault> {
    let set = bind(engine, settings).unwrap_or_else(|error| panic!("{settings}: {error}"));
    set.evaluate(claims()).trace()[0].result.clone()
}

/// The message of the denial that a policy answers.
fn message(engine: &Arc<Policy>, settings: &Value) -> String {
    match decide(engine, settings) {
        Ok(Verdict::Deny(reasons)) => reasons[0].message.clone(),
        other => panic!("{settings}: {other:?}"),
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn the_verdicts_of_javascript() {
    let engine = engine();
    let all = ["api://AzureADTokenExchange", "aws-workload-identity-provider:demo"];
    let granted = |verdict: &str, seconds: u32, audiences: &[&str], claims: Value| json!({"verdict": verdict, "seconds": seconds, "audiences": audiences, "claims": claims});
    for (expression, expected) in [
        ("permit()", granted("permit", 3600, &all, json!({}))),
        ("permit({})", granted("permit", 3600, &all, json!({}))),
        ("restrict()", granted("restrict", 3600, &all, json!({}))),
        ("permit({ maxTtl: 900 })", granted("permit", 900, &all, json!({}))),
        ("restrict({ maxTtl: 900n })", granted("restrict", 900, &all, json!({}))),
        // A grant never widens.
        ("permit({ maxTtl: 90000 })", granted("permit", 3600, &all, json!({}))),
        (
            "permit({ audiences: ['api://AzureADTokenExchange', 'https://other'] })",
            granted("permit", 3600, &all[..1], json!({})),
        ),
        ("permit({ audiences: [] })", granted("permit", 3600, &[], json!({}))),
        (
            "permit({ claims: { team: 'red' } })",
            granted("permit", 3600, &all, json!({"team": "red"})),
        ),
        ("deny('no', 'because')", json!(["no"])),
        ("deny([{ code: 'a', message: 'b' }, { code: 'c', message: 'd' }])", json!(["a", "c"])),
        ("abstain()", json!("abstain")),
        // Only what a function of the module made counts, whatever is written into it or beside it.
        ("(Object.prototype.maxTtl = 1, permit())", granted("permit", 3600, &all, json!({}))),
        ("(Object.prototype.tag = 'permit', deny('no', 'because'))", json!(["no"])),
        // Whole numbers keep 64 bits.
        (
            "run.number === 1n && token.issuedAt === 1790000001n ? abstain() : permit()",
            json!("abstain"),
        ),
        ("'trigger' in run ? permit() : abstain()", json!("abstain")),
        ("run.buildingBlock.parents.length === 0 ? abstain() : permit()", json!("abstain")),
        // Dates of a given time are in UTC.
        (
            "new Date(Number(token.issuedAt) * 1000).toISOString() === '2026-09-21T14:13:21.000Z' && \
             new Date(2026, 0).getTimezoneOffset() === 0 ? abstain() : permit()",
            json!("abstain"),
        ),
    ] {
        let token = claims().token().clone();
        let found = decide(engine, &deciding(expression));
        assert_eq!(answer(&found, &token), expected, "{expression}: {found:?}");
    }
}

/// A value that is no verdict, an exception and a call of what is not there are faults that say so, with the place, where the
/// build does not see them.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_mistake_is_a_fault_that_names_it() {
    let engine = engine();
    let at = |column: u32| format!("policy.js:2:{column}: ");
    for (expression, says) in [
        ("permit(600)", "permit: expected an object with maxTtl, audiences and claims, found 600"),
        ("permit({ ['max_ttl']: 600 })", "permit: unknown key `max_ttl`, expected maxTtl"),
        ("permit({ ['maxTTL']: 600 })", "permit: unknown key `maxTTL`, expected maxTtl"),
        (
            "permit({ maxTtl: '9' })",
            "permit: maxTtl: expected whole seconds, 1 or more, found the text `9`",
        ),
        ("permit({ maxTtl: 0 })", "permit: maxTtl: expected whole seconds, 1 or more, found 0"),
        ("permit({ maxTtl: 1.5 })", "expected whole seconds, 1 or more, found 1.5"),
        ("permit({ maxTtl: settings.x })", "found undefined; leave the key out to limit nothing"),
        (
            "permit({ audiences: 'a' })",
            "audiences: expected an array of strings, found the text `a`",
        ),
        (
            "restrict({ audiences: [7] })",
            "restrict: audiences: expected an array of strings, found 7",
        ),
        ("permit({ claims: { team: 1 } })", "claims: expected an object of strings, found 1"),
        (
            "permit({}, 7)",
            "permit: expected an object with maxTtl, audiences and claims, found also 7",
        ),
        ("permit(null)", "claims, found null"),
        (
            "deny('code')",
            "deny: expected a code and a message, found the text `code` and undefined",
        ),
        ("deny('Not Listed', 'x')", "found the text `Not Listed`"),
        ("deny('a', 'b', 'c')", "deny: expected a code and a message, found also the text `c`"),
        ("deny([])", "deny: expected at least one reason"),
        ("deny([{ code: 'a', mesage: 'b' }])", "deny: unknown key `mesage`"),
        ("abstain(1)", "abstain: expected no argument, found 1"),
        ("(0, Date.now)()", "a policy has no clock: the time is token.issuedAt"),
        ("new (Date)()", "a policy has no clock"),
        ("(0, Date)()", "a policy has no clock"),
        ("new (Object.getPrototypeOf(class extends Date {}))()", "a policy has no clock"),
        ("new new Date(0).constructor()", "a policy has no clock"),
        ("(0, Math.random)()", "a policy has no random numbers"),
        ("(0, crypto.randomUUID)()", "a policy has no random numbers"),
        ("(0, performance.now)()", "a policy has no clock"),
        ("(0, eval)('1')", "`eval` and `Function` are not available"),
        ("new (Function)('return 1')()", "`eval` and `Function` are not available"),
        ("(() => {}).constructor('return 1')()", "`eval` and `Function` are not available"),
        ("run['none'].there", "TypeError: "),
        ("run['number'] + 1", "TypeError: "),
        ("settings.list.push(1)", "TypeError: "),
    ] {
        let mut settings = deciding(expression);
        settings["settings"] = json!({"list": []});
        match decide(engine, &settings) {
            Err(Fault::Panic { message }) => {
                assert!(message.contains(says), "{expression}: {message}");
                let place = message.split_once(": ").unwrap().0;
                assert!(place.starts_with("policy.js:2:"), "{expression}: {message}");
            }
            other => panic!("{expression}: {other:?}"),
        }
    }
    for (expression, says) in [
        ("undefined", "`evaluate` returned undefined; expected a verdict made by permit(…)"),
        ("({ tag: 'permit', val: { claims: [] } })", "`evaluate` returned an object; expected"),
        ("Object.create(permit())", "`evaluate` returned an object; expected"),
        ("true", "`evaluate` returned true; expected"),
        ("permit", "`evaluate` returned a function; expected"),
        ("[permit()]", "`evaluate` returned an array; expected"),
        ("(function* () { yield permit(); })()", "`evaluate` returned a generator; expected"),
        ("Promise.resolve(permit())", "`evaluate` returned a promise; expected"),
        ("(async () => permit())()", "a policy cannot wait: remove `async`"),
    ] {
        match decide(engine, &deciding(expression)) {
            Err(Fault::Panic { message }) => {
                assert!(message.contains(says), "{expression}: {message}")
            }
            other => panic!("{expression}: {other:?}"),
        }
    }
    // What is thrown keeps its type, text, line and column, and the way that it took.
    let text = format!(
        "{IMPORT}class Refusal extends RangeError {{ name = 'Refusal'; }}\nfunction inner() {{\n  throw new Refusal('no\\nway');\n}}\n\
         export function evaluate() {{\n  return [1].map(() => inner());\n}}\n"
    );
    match decide(engine, &policy(&text)) {
        Err(Fault::Panic { message }) => {
            assert!(message.starts_with("policy.js:4:"), "{message}");
            for part in ["Refusal: no way; at inner (policy.js:4:", ", evaluate (policy.js:7:"] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
        other => panic!("{other:?}"),
    }
    let thrown = decide(engine, &deciding("(() => { throw 'a text'; })()"));
    assert!(
        matches!(&thrown, Err(Fault::Panic { message }) if message.starts_with(&format!("{}threw the text `a text`", at(63)))
            || message.contains("threw the text `a text`")),
        "{thrown:?}"
    );
}

/// Code that does not end, or takes what it can, ends by a limit.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn hostile_code_ends_by_a_limit() {
    let engine = engine();
    let overflow = &["panic", "stack", "trap"][..];
    for (body, codes) in [
        ("for (;;) {}", &["out-of-fuel"][..]),
        ("let n = 0n; for (;;) n += 1n;", &["out-of-fuel", "memory"]),
        ("const f = () => f() + 1; return f();", &["panic"]),
        ("const f = () => [1].map(f); return f();", overflow),
        ("const o = { toString() { return `${o}`; } }; return `${o}`;", overflow),
        ("return JSON.parse('['.repeat(1e5));", overflow),
        ("let a = []; for (;;) a = [a];", &["out-of-fuel", "memory"]),
        ("return 'x'.repeat(2 ** 30);", &["memory", "panic"]),
        ("let t = 'x'; for (;;) t += t;", &["memory", "panic", "out-of-fuel"]),
        ("return new Array(2 ** 32 - 1).fill(1);", &["memory", "out-of-fuel", "panic"]),
        ("return new Uint8Array(2 ** 31);", &["memory", "panic"]),
        ("return ('a'.repeat(40) + '!').match(/^(a+)+$/);", &["out-of-fuel"]),
        ("Object.prototype.toString = () => { for (;;) {} }; return `${{}}`;", &["out-of-fuel"]),
        ("return 10n ** (10n ** 9n);", &["memory", "out-of-fuel", "panic"]),
    ] {
        // Not for the samples that warm the policy up, by the time that those have: they would end `configure`.
        let warm = "token.issuedAt === 1790000000n ? abstain()";
        let settings = deciding(&format!("{warm} : (() => {{ {body} }})()"));
        let result = decide(engine, &settings);
        let code = result.as_ref().err().map(Fault::code);
        assert!(code.is_some_and(|code| codes.contains(&code)), "{body}: {result:?}");
    }
}

/// Every mistake in a text is a problem of that text, with line and column, before anything is bound.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_mistake_in_the_text_is_found_when_it_is_taken() {
    let engine = engine();
    let module = |text: &str| json!({"files": {"policy.js": text}});
    let two = |name: &str, text: &str| json!({"files": {"policy.js": format!("import './{name}';\nexport function evaluate() {{}}"), name: text}});
    for (settings, says) in [
        (json!({}), "/files: missing"),
        (json!({"files": {}}), "/files: expected `policy.js` or `policy.ts`"),
        (
            json!({"files": {"policy.js": "", "policy.ts": ""}}),
            "/files: found both `policy.js` and `policy.ts`; keep one",
        ),
        (
            json!({"files": {"policy.js": "", "../a.js": ""}}),
            "expected the path of a file in the folder",
        ),
        (
            json!({"files": {"policy.js": "", "countersign.js": ""}}),
            "the engine brings this module",
        ),
        (
            json!({"files": {"policy.js": ""}, "settings": 7}),
            "/settings: expected an object, found a whole number",
        ),
        (json!({"files": {"policy.js": ""}, "policy": ""}), "/policy: unknown key"),
        (module("export const policy = {"), "/files/policy.js: policy.js:1:24: "),
        (module("\n  export function evaluate( {\n}\n"), "/files/policy.js: policy.js:"),
        (module("const text = 'open;\n"), "/files/policy.js: policy.js:1:"),
        (module("let a = 1;\nlet a = 2;\n"), "/files/policy.js: policy.js"),
        (module("const a = 1;"), "/files/policy.js: expected an export `evaluate`"),
        (module("export const evaluate = 7;"), "`evaluate` is 7; expected a function"),
        (
            module("export const check = 7; export function evaluate() {}"),
            "`check` is 7; expected a function",
        ),
        (module("export const policy = {};"), "expected an export `evaluate`"),
        (
            module("\nimport { x } from 'lodash';"),
            "policy.js:2:19: cannot import `lodash`: expected `countersign`",
        ),
        (module("import fs from 'node:fs';"), "policy.js:1:16: cannot import `node:fs`"),
        (
            module("import './missing.js';"),
            "policy.js:1:8: cannot import `./missing.js`: the policy has no file `missing.js`",
        ),
        (
            module("import '../outside.js';"),
            "policy.js:1:8: cannot import `../outside.js`: it leads out of the policy's folder",
        ),
        (
            module("import { permitt } from 'countersign';\nexport function evaluate() {}"),
            "permitt",
        ),
        (
            module(&format!("export const a =\n{}1{};", "(".repeat(30), ")".repeat(30))),
            "policy.js:2:23: nested too deep",
        ),
        (two("lib.js", "export const a = (;"), "/files/lib.js: lib.js:1:19: "),
        (two("lib.js", "\nthrow new Error('no');"), "/files/lib.js: lib.js:2:"),
        (two("lib.js", "\nnone();"), "lib.js:2:"),
        (
            module("await new Promise(() => {});\nexport function evaluate() {}"),
            "waits for something that never comes",
        ),
        (
            module(
                "import { policy as p } from 'countersign';\nexport const policy = p({ evaluate() {}, settings: {} });",
            ),
            "policy.js:2:24: TypeError: policy: unknown key `settings`",
        ),
    ] {
        match bind(engine, &settings).map(drop) {
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(says), "{settings}: expected {says}, found {text}");
            }
            Ok(()) => panic!("{settings}: accepted"),
        }
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn check_returns_the_problems_of_the_settings_and_nothing_else() {
    let engine = engine();
    let checking = |body: &str, settings: Value| {
        let text = format!(
            "{IMPORT}export function evaluate() {{ return abstain(); }}\nexport const check = (settings) => {body};"
        );
        json!({"files": {"policy.js": text}, "settings": settings})
    };
    let missing = "settings.limit === undefined ? [{ pointer: '/limit', message: 'missing' }] : []";
    assert!(bind(engine, &checking(missing, json!({"limit": 1}))).is_ok());
    for (body, says) in [
        (missing, "/settings/limit: missing"),
        ("({ pointer: '/limit', message: 'missing' })", "/settings/limit: missing"),
        ("[{ pointer: '', message: 'all' }]", "/settings: all"),
        ("true", "`check` returned true; expected an array of { pointer, message }"),
        ("undefined", "`check` returned undefined; expected an array"),
        ("Promise.resolve([])", "`check` returned a promise; expected an array"),
        ("(function* () {})()", "`check` returned a generator; expected an array"),
        ("['no']", "`check` returned an array with the text `no`; expected an array"),
        ("settings.none.there", "`check` failed: policy.js:3:"),
    ] {
        let text = bind(engine, &checking(body, json!({}))).map(drop).unwrap_err().to_string();
        assert!(text.contains(says), "{body}: {text}");
        assert_eq!(text.contains("`configure` failed"), text.contains("`check`"), "{body}: {text}");
    }
}

/// Settings and order reach a policy as they are written.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_sees_what_is_written() {
    let engine = engine();
    let text = "deny('seen', [typeof settings.big, settings.big, settings.small + 1, Object.keys(settings), \
                settings.admin, Object.isFrozen(settings.list)].join('|'))";
    let mut settings = deciding(text);
    settings["settings"] = serde_json::from_str(
        "{\"big\": 9007199254740993, \"small\": 1, \"__proto__\": {\"admin\": true}, \"list\": [1]}",
    )
    .unwrap();
    assert_eq!(
        message(engine, &settings),
        "bigint|9007199254740993|2|__proto__,big,list,small||true"
    );
    // The order of keys and sets is that of the language, and no evaluation sees another.
    let text = "deny('seen', [Object.keys({ b: 1, a: 2, 1: 3 }), [...new Set(['z', 'a'])], count++].join('|'))";
    let mut settings = deciding(text);
    let with_count = settings["files"]["policy.js"].as_str().unwrap().to_owned() + "let count = 0;";
    settings["files"]["policy.js"] = json!(with_count);
    let set = prepare(&component(EngineName::Javascript), &settings).unwrap();
    assert_eq!(set.bindings()[0].prepared().unwrap().no_snapshot, None);
    let seen = || set.evaluate(claims()).trace()[0].result.clone();
    let first = seen();
    assert_eq!(first, seen());
    assert!(
        matches!(&first, Ok(Verdict::Deny(reasons)) if reasons[0].message.starts_with("1,b,a|z,a|"))
    );
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_has_several_files() {
    let engine = engine();
    let settings = json!({"files": {
        "policy.js": "import { limit } from './lib/limits.js';\nimport words from './words.json';\n\
                      import { deny } from './countersign.js';\nexport const word = () => words.word;\n\
                      export const evaluate = () => deny('seen', `${limit()} ${words.word}`);\n",
        // A cycle.
        "lib/limits.js": "import { word } from '../policy.js';\nexport const limit = () => word().length;\n",
        "words.json": "{\"word\": \"four\"}",
    }});
    assert_eq!(message(engine, &settings), "4 four");
}

/// The folders of authors whose policies decided otherwise than they were written.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn the_cases_of_authors_pass() {
    macro_rules! folder {
        ($name:literal $(, $file:literal)*) => {
            ($name, include_str!(concat!("javascript/", $name, "/cases.toml")), json!({
                "policy.js": include_str!(concat!("javascript/", $name, "/policy.js")),
                $($file: include_str!(concat!("javascript/", $name, "/", $file)),)*
            }))
        };
    }
    let engine = countersign::Engine::with(countersign::EngineConfig {
        optimization: countersign::Optimization::None,
        ..countersign::EngineConfig::default()
    })
    .unwrap();
    let component = component(EngineName::Javascript);
    let run: Value = serde_json::from_str(RUN).unwrap();
    for (name, cases, files) in [
        folder!("check-is-not-an-array"),
        folder!("clock-kept-by-a-dependency", "date-library.js"),
        folder!("grant-key-misspelt"),
    ] {
        let settings = Settings::from_json(&json!({"files": files}).to_string()).unwrap();
        let cases = Cases::parse(cases).unwrap().within(&settings, "settings").unwrap();
        let runner = CaseRunner::new(&engine, &component, LIMITS, &cases, &run, settings).unwrap();
        let report = runner.run(&mut EvaluationBudget::new(u64::MAX)).unwrap();
        assert!(report.passed(), "{name}: {report:?}");
    }
}
