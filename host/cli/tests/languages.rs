//! Creates, builds and tests a policy in each language, as its author would. Needs PyPI: `make languages`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use countersign_engines::{EngineFolder, EngineName};
use serde_json::{Value, json};
use support::{command, countersign, folder};

/// Creates a policy, builds it with the tools that it needs, tests it, and prints the time.
fn from_nothing(parent: &Path, language: &str) -> PathBuf {
    let begin = Instant::now();
    let name = format!("a-{}", language.rsplit(' ').next().unwrap());
    let ran = countersign(parent, &format!("policy new {name} --lang {language}"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let policy = parent.join(name);
    for file in
        ["README.md", "cases.toml", "run.json", ".gitignore", ".github/workflows/policy.yml"]
    {
        assert!(policy.join(file).exists(), "{language}: {file}");
    }
    let ran = countersign(&policy, "policy build --install --format json");
    assert_eq!(ran.status, 0, "{language}: {}", ran.stderr);
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    let ran = countersign(&policy, "policy test --format json");
    assert_eq!(ran.status, 0, "{language}: {}{}", ran.stdout, ran.stderr);
    let tested: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(tested["passed"], true);
    assert_eq!((&tested["missed"], &tested["undeclared"]), (&json!([]), &json!([])));
    assert_eq!(tested["digest"], built["digest"]);
    let seconds = begin.elapsed().as_secs();
    eprintln!("{language}: from nothing to a green test in {seconds} s, {} bytes", built["bytes"]);
    policy
}

/// The messages of a policy's verdict.
fn seen(policy: &Path) -> Value {
    let ran = countersign(policy, "policy test --format json");
    let tested: Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    tested["cases"][0]["detail"].clone()
}

/// The verdict.
fn found(policy: &Path) -> Value {
    let ran = countersign(policy, "policy test --format json");
    let tested: Value = serde_json::from_str(&ran.stdout).expect(&ran.stderr);
    tested["cases"][0]["found"].clone()
}

/// Builds a policy that denies with its input as the message.
fn rebuilt(policy: &Path, file: &str, text: &str) {
    fs::write(policy.join("cases.toml"), "[[case]]\nname = \"a\"\nexpect = \"abstain\"\n").unwrap();
    fs::write(policy.join(file), text).unwrap();
    let ran = countersign(policy, "policy build");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
}

const TELLING_JAVASCRIPT: &str = r#"
import { deny } from 'countersign';

const ASK = [
  () => (0, Math.random)(),
  () => (0, Date.now)(),
  () => new (Date)(),
  () => (0, performance.now)(),
  () => (0, crypto.randomUUID)(),
  () => Object.keys({ b: 1, a: 2, 1: 3 }).join(),
  () => [...new Set(['z', 'a'])].join(),
  () => new Date(0).toISOString(),
];

export function evaluate() {
  const answers = ASK.map((ask) => {
    try {
      return String(ask());
    } catch (error) {
      return error.message.slice(0, 14);
    }
  });
  return deny('seen', answers.join('|'));
}
"#;

const TELLING_PYTHON: &str = r#"
import random

from countersign import deny, exported


def evaluate(settings, run, token):
    answers = [",".join({"zebra", "apple", "mango", "kiwi"}), str(hash("abc")), ",".join({"b": 1, "a": 2})]
    for ask in (random.random, lambda: random.choice([1, 2]), lambda: random.Random(7).randint(1, 1)):
        try:
            answers.append(str(ask()))
        except RuntimeError as error:
            answers.append(str(error)[:14])
    return deny("seen", "|".join(answers))


Policy = exported(name="telling", version="0.1.0", summary="Tells what it sees", evaluate=evaluate)
"#;

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_in_javascript() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "javascript");
    // Two builds of the same files are the same.
    let built =
        || ["policy.wasm", "settings.json"].map(|name| fs::read(policy.join(name)).unwrap());
    let first = built();
    fs::remove_file(policy.join("settings.json")).unwrap();
    assert_eq!(countersign(&policy, "policy build").status, 0);
    assert_eq!(built(), first);
    // The settings of the policy are a file of its folder.
    fs::write(policy.join("policy-settings.json"), "{\"also\": 7}").unwrap();
    let ran = countersign(&policy, "policy build");
    let says = "/settings/also: policy-settings.json:1:10: expected a list of workspaces";
    assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
    fs::remove_file(policy.join("policy-settings.json")).unwrap();
    // A failed build says where: the lines that a file begins with count.
    fs::write(policy.join("policy.js"), "\nimport x from 'lodash';").unwrap();
    let ran = countersign(&policy, "policy build");
    let says = "/files/policy.js: policy.js:2:15: cannot import `lodash`";
    assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
    // Other files of the folder, TypeScript among them.
    fs::create_dir(policy.join("lib")).unwrap();
    fs::write(policy.join("lib/telling.ts"), "export const word: string = 'typed';\n").unwrap();
    let imported = TELLING_JAVASCRIPT
        .replacen("import", "import { word } from './lib/telling.js';\nimport", 1)
        .replacen("answers.join('|')", "[word, ...answers].join('|')", 1);
    rebuilt(&policy, "policy.js", &imported);
    let none = "a policy has n";
    let expected =
        format!("typed|{none}|{none}|{none}|{none}|{none}|1,b,a|z,a|1970-01-01T00:00:00.000Z");
    assert_eq!(seen(&policy), json!([expected]));
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_in_typescript() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "typescript");
    let text = fs::read_to_string(policy.join("policy.ts")).unwrap();
    fs::write(policy.join("policy.ts"), text + "\nenum Word { A }\n").unwrap();
    let ran = countersign(&policy, "policy build");
    let says = "`enum` is not supported: only types that can be removed are";
    assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
    assert!(ran.stderr.contains("policy.ts:"), "{}", ran.stderr);
}

#[test]
#[ignore = "needs PyPI: make languages"]
fn a_policy_in_cpython() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "python --runtime cpython");
    assert!(policy.join("types/wit_world/exports/policy.py").exists(), "types for editors");
    rebuilt(&policy, "policy.py", TELLING_PYTHON);
    // Deterministic across processes and instances, including the order of a set.
    let answer = seen(&policy);
    assert_eq!(seen(&policy), answer);
    let answer = answer[0].as_str().unwrap();
    assert!(answer.ends_with("|b,a|a policy has n|a policy has n|1"), "{answer}");
    // A grant never widens, whatever the policy returns.
    let wide = TELLING_PYTHON.replacen("deny,", "permit,", 1).replacen(
        "return deny(\"seen\", \"|\".join(answers))",
        "return permit(max_ttl=90000, audiences=[\"a\"])",
        1,
    );
    rebuilt(&policy, "policy.py", &wide);
    assert_eq!(found(&policy), "permit = { max-ttl = 7200, audiences = [] }");
    let restricting = wide
        .replace("import permit,", "import restrict,")
        .replace("return permit(", "return restrict(");
    rebuilt(&policy, "policy.py", &restricting);
    assert_eq!(found(&policy), "restrict = { max-ttl = 7200, audiences = [] }");
    // Members of enumerations are the contract's words, and facts are found by their names.
    let words = wide.replacen(
        "return permit(max_ttl=90000, audiences=[\"a\"])",
        "return permit() if run.behavior == \"apply\" and str(run.behavior) in [\"apply\"] \
         and run.facts[\"opentofu-version\"] == \"v1\" and run.facts.get(\"another\") is None else None",
        1,
    );
    rebuilt(&policy, "policy.py", &words);
    assert_eq!(found(&policy), "permit = {}");
    // Reading a clock is a fault: already in `configure`, which evaluates a sample.
    let clock =
        TELLING_PYTHON.replacen("answers =", "import time\n    time.time()\n    answers =", 1);
    rebuilt(&policy, "policy.py", &clock);
    let ran = countersign(&policy, "policy test");
    // The cases fail, in the report.
    let says = ran.stdout.contains("`configure` failed");
    assert!(ran.status == 1 && says, "{}{}", ran.stdout, ran.stderr);
    fs::write(policy.join("policy.py"), "def evaluate(").unwrap();
    let ran = countersign(&policy, "policy build");
    assert!(ran.status == 1 && ran.stderr.contains("SyntaxError"), "{}", ran.stderr);
    fs::remove_dir_all(policy.join(".venv")).unwrap();
    let ran = countersign(&policy, "policy build");
    assert!(
        ran.stderr.contains("componentize-py is not installed; run `python3 -m venv"),
        "{}",
        ran.stderr
    );
}

#[test]
#[ignore = "with the others: make languages"]
fn a_policy_in_rust() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "rust");
    // The same files in another folder are the same component.
    let another = parent.path().join("another");
    fs::create_dir(&another).unwrap();
    assert_eq!(countersign(&another, "policy new a-rust --lang rust").status, 0);
    let another = another.join("a-rust");
    assert_eq!(countersign(&another, "policy build").status, 0);
    let built = |policy: &Path| fs::read(policy.join("policy.wasm")).unwrap();
    assert!(built(&policy) == built(&another));
    // A setting is in the schema of the component without a word from its author.
    let source = policy.join("src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    let (before, after) = text.split_once("pub struct Settings {\n").unwrap();
    let field =
        "    /// How a name begins.\n    #[serde(default)]\n    pub prefix: Option<String>,\n";
    fs::write(&source, format!("{before}pub struct Settings {{\n{field}{after}")).unwrap();
    let ran = countersign(&policy, "policy build");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("settings.schema.json was not that of the sources"),
        "{}",
        ran.stderr
    );
    let ran = countersign(&policy, "inspect policy.wasm --format json");
    assert!(ran.stdout.contains("How a name begins."), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(countersign(&policy, "policy test").status, 0);
    // A build that failed leaves the component of before, which is not tested.
    fs::write(&source, text.replacen("fn ", "fnn ", 1)).unwrap();
    assert_eq!(countersign(&policy, "policy build").status, 1);
    for command in ["policy test", "policy bench"] {
        let ran = countersign(&policy, command);
        let says = "policy.wasm: older than ./src/lib.rs; run `countersign policy build`";
        assert!(ran.status == 1 && ran.stderr.contains(says), "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn an_engine_that_is_not_there_or_was_changed_is_an_error() {
    let parent = folder();
    assert_eq!(countersign(parent.path(), "policy new a-rego --lang rego").status, 0);
    let policy = parent.path().join("a-rego");
    let build = || {
        let mut command = command(&policy);
        let output =
            command.args(["policy", "build"]).env("COUNTERSIGN_ENGINES", "engines").output();
        let output = output.unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
        assert!(!policy.join("policy.wasm").exists());
        String::from_utf8(output.stderr).unwrap()
    };
    let engines = EngineFolder::new(policy.join("engines"));
    fs::create_dir(engines.path()).unwrap();
    assert_eq!(
        build(),
        "error: the component of the engine `rego` is not installed; looked in\n  engines\nrun `make engines` in the \
         source of this program, or name a folder that has it with COUNTERSIGN_ENGINES\n"
    );
    engines.write(&EngineName::ALL.map(|engine| (engine, b"\0asm".to_vec()))).unwrap();
    // It is the file that was written, and no component.
    assert!(!build().contains("not as it was built"));
    fs::write(engines.path().join("rego.wasm"), "\0asn").unwrap();
    assert_eq!(
        build(),
        "error: engines/rego.wasm: not as it was built, its digest is another one; run `make engines`, or copy the \
         folder again\n"
    );
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_in_rego() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "rego");
    // Each test reads the texts, so nothing has to be built in between.
    let text = fs::read_to_string(policy.join("policy.rego")).unwrap();
    let ran = countersign(&policy, "policy test --coverage --min-coverage 100");
    let says = ran.stdout.contains(" lines are reached by a case\n");
    assert!(ran.status == 0 && says, "{}{}", ran.stdout, ran.stderr);
    assert!(!ran.stderr.contains("is out of date"), "{}", ran.stderr);
    fs::write(policy.join("policy.rego"), text.replace("not-listed", "not-there")).unwrap();
    let ran = countersign(&policy, "policy test");
    assert!(ran.stderr.contains("settings.json is out of date"), "{}", ran.stderr);
    assert!(
        ran.status == 1 && ran.stdout.contains("found     deny = \"not-there\""),
        "{}",
        ran.stdout
    );
    fs::write(policy.join("policy.rego"), "package countersign\npermit if {\n").unwrap();
    let ran = countersign(&policy, "policy build");
    assert!(ran.status == 1 && ran.stderr.contains("/policy: "), "{}", ran.stderr);
    assert!(ran.stderr.contains("policy.rego:"), "{}", ran.stderr);
    // JSON that is not strict is rejected, and no duplicate wins.
    fs::write(policy.join("policy.rego"), text).unwrap();
    fs::write(policy.join("data.json"), "{\"also\": [], \"also\": [\"team-b\"]}").unwrap();
    let ran = countersign(&policy, "policy build");
    assert!(ran.status == 1 && ran.stderr.contains("also"), "{}", ran.stderr);
    // A folder with two languages is ambiguous.
    fs::write(policy.join("policy.js"), "").unwrap();
    let ran = countersign(&policy, "policy build");
    assert!(ran.stderr.contains("both policy.js and policy.rego; keep one"), "{}", ran.stderr);
}

/// Files beside the policy are part of it, warnings are shown, and rules that test are run.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn files_and_tests_of_a_policy_in_rego() {
    let parent = folder();
    assert_eq!(countersign(parent.path(), "policy new a-rego --lang rego").status, 0);
    let policy = parent.path().join("a-rego");
    fs::create_dir(policy.join("lib")).unwrap();
    for (path, text) in [
        (
            "policy.rego",
            "package countersign\n\nimport data.lib\n\npermit if not lib.blocked\n\n\
             deny contains {\"code\": \"blocked\", \"message\": \"blocked\"} if lib.blocked\n",
        ),
        (
            "lib/lib.rego",
            "package lib\n\nblocked if input.run.building_block.workspace in data.lib.list\n\n\
             blocked if input.run.behavior == \"DESTROY\"\n",
        ),
        ("lib/data.yaml", "list:\n- my-workspace\n"),
        (
            "policy_test.rego",
            "package countersign_test\n\nimport data.countersign\n\n\
             test_others if countersign.permit with input.run.building_block.workspace as \"a\"\n\n\
             test_fails if {\n\tprint(\"seen\", 7)\n\tfalse\n}\n",
        ),
        (
            "cases.toml",
            "[[case]]\nname = \"a blocked workspace\"\nexpect = { deny = \"blocked\" }\n",
        ),
    ] {
        fs::write(policy.join(path), text).unwrap();
    }
    let ran = countersign(&policy, "policy build");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let says = "warning: lib/lib.rego:5:34: never true: the claim is one of `apply`, `detect`, `destroy`; did you mean \
                `destroy`? (unknown-word)";
    assert!(ran.stderr.contains(says), "{}", ran.stderr);
    let ran = countersign(&policy, "policy test");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    for says in [
        "pass  a blocked workspace\n",
        "pass  countersign_test.test_others\n",
        "FAIL  countersign_test.test_fails\n",
        "found     failed: policy_test.rego:7:1: the rule is not true\n",
        "policy_test.rego:8: seen 7\n",
    ] {
        assert!(ran.stdout.contains(says), "{says}: {}", ran.stdout);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_in_cel() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "cel");
    let text = fs::read_to_string(policy.join("policy.cel.yaml")).unwrap();
    fs::write(policy.join("policy.cel.yaml"), text.replace("not-listed", "not-there")).unwrap();
    let ran = countersign(&policy, "policy test");
    assert!(ran.stderr.contains("settings.json is out of date"), "{}", ran.stderr);
    assert!(ran.stdout.contains("found     deny = \"not-there\""), "{}", ran.stdout);
    let mistaken = text.replace("variables.listed\n\n", "variables.lisd\n\n");
    fs::write(policy.join("policy.cel.yaml"), mistaken).unwrap();
    let ran = countersign(&policy, "policy build");
    let says = "policy.cel.yaml:13:20: `lisd` is no variable above";
    assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_in_python() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "python");
    let built = || fs::read(policy.join("settings.json")).unwrap();
    // Two builds are the same bytes.
    let first = built();
    assert_eq!(countersign(&policy, "policy build").status, 0);
    assert_eq!(built(), first);
    // Each test reads the texts, those of other files too, so nothing has to be built in between.
    let text = fs::read_to_string(policy.join("policy.py")).unwrap();
    fs::write(policy.join("words.py"), "CODE = \"not-there\"\n").unwrap();
    let imported = text
        .replace("\"not-listed\"", "CODE")
        .replace("from countersign import", "from words import CODE\nfrom countersign import");
    fs::write(policy.join("policy.py"), &imported).unwrap();
    let ran = countersign(&policy, "policy test");
    assert!(ran.stderr.contains("settings.json is out of date"), "{}", ran.stderr);
    assert!(ran.stdout.contains("found     deny = \"not-there\""), "{}", ran.stdout);
    // More mistakes are among the tests of the engine; each takes a preparation of it.
    let mistaken = text.replace("return permit()", "return permitt()");
    fs::write(policy.join("policy.py"), mistaken).unwrap();
    let ran = countersign(&policy, "policy build");
    let says = "policy.py:22:16: NameError: name 'permitt' is not defined";
    assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
    // An exception has its line in the output of a test.
    let raises =
        text.replace("    consumer =", "    assert run.number > 9, \"nine\"\n    consumer =");
    fs::write(policy.join("policy.py"), raises).unwrap();
    let ran = countersign(&policy, "policy test");
    let says = "policy.py:20: AssertionError: nine";
    assert!(ran.status == 1 && ran.stdout.contains(says), "{}", ran.stdout);
    // The runtime is for Python.
    let ran = countersign(parent.path(), "policy new b --lang rego --runtime cpython");
    assert!(ran.stderr.contains("--runtime is for --lang python"), "{}", ran.stderr);
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_in_cedar() {
    let parent = folder();
    let policy = from_nothing(parent.path(), "cedar");
    let manifest = "[[binding]]\nname = \"a-cedar\"\npolicy = \"policy.wasm\"\nscope = \"all\"\nsettings-file = \
                    \"settings.json\"\nlimits = { profile = \"interpreter\" }\n\n[issuer]\nmeshstack-id = \"demo\"\n";
    fs::write(policy.join("countersign.toml"), manifest).unwrap();
    let ran = countersign(
        &policy,
        "evaluate --policies countersign.toml --run run.json --audience aws-workload-identity-provider:demo --ttl 900 \
         --format json",
    );
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    fs::write(policy.join("default-verdict.json"), "\"abstain\"").unwrap();
    fs::write(
        policy.join("policies.cedar"),
        "forbid(principal, action == Action::\"destroy\", resource);",
    )
    .unwrap();
    fs::write(policy.join("cases.toml"), "[[case]]\nname = \"a\"\nexpect = \"abstain\"\n").unwrap();
    let ran = countersign(&policy, "policy test");
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    // The file's old name is an error; the file is not ignored.
    fs::rename(policy.join("default-verdict.json"), policy.join("otherwise.json")).unwrap();
    for command in ["policy test", "policy build"] {
        let ran = countersign(&policy, command);
        let says = "otherwise.json: renamed to default-verdict.json";
        assert!(ran.status == 1 && ran.stderr.contains(says), "{}{}", ran.stdout, ran.stderr);
    }
    fs::remove_file(policy.join("otherwise.json")).unwrap();
    // Without the profile, the error names it.
    let bare = manifest.replace("limits = { profile = \"interpreter\" }\n", "");
    fs::write(policy.join("bare.toml"), bare).unwrap();
    let ran = countersign(&policy, "inspect --policies bare.toml");
    assert!(ran.stderr.contains("profile = \"interpreter\""), "{}", ran.stderr);
    // The README of the policy has that binding.
    let readme = fs::read_to_string(policy.join("README.md")).unwrap();
    assert!(readme.contains("settings-file = \"settings.json\""), "{readme}");
    assert!(readme.contains("limits = { profile = \"interpreter\" }"), "{readme}");
    fs::write(
        policy.join("policies.cedar"),
        "permit(principal, action, resource) when { context.rum };",
    )
    .unwrap();
    let ran = countersign(&policy, "policy build");
    assert!(ran.status == 1 && ran.stderr.contains("/policies: "), "{}", ran.stderr);
}
