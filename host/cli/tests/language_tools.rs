//! `policy build` and `policy eval` of texts: places, warnings and values. Needs the engines: `make languages`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::{command, countersign, folder};

/// A new policy in a language, and its component.
fn new(parent: &Path, language: &str) -> PathBuf {
    let ran = countersign(parent, &format!("policy new a-{language} --lang {language}"));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let policy = parent.join(format!("a-{language}"));
    let ran = countersign(&policy, "policy build");
    assert_eq!((ran.status, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
    policy
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn mistakes_have_their_places_in_files() {
    let parent = folder();
    let cedar = new(parent.path(), "cedar");
    let text = fs::read_to_string(cedar.join("policies.cedar")).unwrap();
    let entities = "[\n  {\n    \"uid\": { \"type\": \"Workspace\", \"id\": \"team-a\" },\n    \"parents\": []\n  }\n]\n";
    fs::write(cedar.join("entities.json"), entities).unwrap();
    fs::write(cedar.join("policies.cedar"), text.replace("run.definition", "run.defintion"))
        .unwrap();
    let ran = countersign(&cedar, "policy build");
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    for says in [
        "/policies: policies.cedar:6:48: for policy `own-workspace`, attribute `run.defintion` not found; did you mean \
         `definition`?\n",
        "/entities/0: entities.json:2:3: `Workspace::\"team-a\"`: missing field `attrs`\n",
    ] {
        assert_eq!(ran.stderr.matches(says).count(), 1, "{says}: {}", ran.stderr);
    }
    // A name in two scripts is told of, and taken.
    fs::remove_file(cedar.join("entities.json")).unwrap();
    let named = "forbid(principal, action, resource)\nwhen { context.run has trigger && context.run.trigger.author == \"мария@bank.ru\" };\n";
    fs::write(cedar.join("policies.cedar"), named).unwrap();
    let ran = countersign(&cedar, "policy build --format json");
    let warns = "policies.cedar:2:65: for policy `policy0`, string `\"мария@bank.ru\"` contains mixed scripts";
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.status, &built["warnings"]), (0, &json!([warns])), "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("warning: {warns}")), "{}", ran.stderr);
    assert_eq!(countersign(&cedar, "policy build --deny-warnings").status, 1);

    let javascript = new(parent.path(), "javascript");
    let text = fs::read_to_string(javascript.join("policy.js")).unwrap();
    // An error where the claim itself is compared, and a warning behind a variable.
    for (compared, status, says) in [
        (
            "if (run.behavior === 'DESTROY') return deny('no', 'no');",
            1,
            ":24: `run.behavior` is never `DESTROY`, expected one of `apply`, `detect`, `destroy`; did you mean `destroy`?",
        ),
        (
            "const { behavior } = run;\n  if (behavior === 'DESTROY') return deny('no', 'no');",
            0,
            ":20: `DESTROY` is the run object's word, which no policy sees; compare with `destroy`",
        ),
    ] {
        let text = text.replace("const consumer", &format!("{compared}\n  const consumer"));
        fs::write(javascript.join("policy.js"), text).unwrap();
        let ran = countersign(&javascript, "policy build");
        assert!(ran.status == status && ran.stderr.contains(says), "{}", ran.stderr);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn an_expression_has_a_value_in_each_language() {
    let parent = folder();
    for (language, expressions) in [
        (
            "rego",
            &[
                ("owner", json!("my-workspace")),
                ("count(input.token.audiences) + 1", json!(3)),
                ("data.none", Value::Null),
            ][..],
        ),
        (
            "cedar",
            &[
                ("context.token.ttl_seconds > 60", json!(true)),
                ("context.run has trigger", json!(false)),
            ],
        ),
        (
            "cel",
            &[
                ("variables.owner + '!'", json!("my-workspace!")),
                ("token.ttl_seconds", json!(7200)),
            ],
        ),
        (
            "javascript",
            &[
                ("run.buildingBlock.workspace", json!("my-workspace")),
                ("{ a: [run.number] }", json!({"a": ["1n"]})),
            ],
        ),
        ("typescript", &[("run.behavior", json!("apply"))]),
        (
            "python",
            &[
                ("run.building_block.workspace", json!("'my-workspace'")),
                ("run.trigger is None", json!("True")),
            ],
        ),
    ] {
        let policy = new(parent.path(), language);
        for (expression, expected) in expressions {
            let output = command(&policy)
                .args(["policy", "eval", "--format", "json", "-e", expression])
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            let evaluated: Value = serde_json::from_slice(&output.stdout).expect(&stderr);
            assert_eq!(&evaluated["value"], expected, "{language}: {expression}: {stderr}");
        }
        let ran = countersign(&policy, "policy eval -e ((");
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{language}");
    }
}

/// A case changes a part of the policy's data, and nothing else of it.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn cases_change_a_part_of_the_settings() {
    let parent = folder();
    let stranger = "set = { \"/spec/buildingBlock/spec/workspaceIdentifier\" = \"team-x\" }\n";
    let case = |more: &str| {
        format!("[[case]]\nname = \"a\"\n{stranger}{more}\nexpect = {{ permit = {{}} }}\n")
    };
    let entity = "{ uid = { type = \"Workspace\", id = \"team-x\" }, attrs = {}, parents = [{ type = \"Group\", id = \"also\" }] }";
    for (language, changes) in [
        (
            "rego",
            &["data = { also = [\"team-x\"] }", "set-settings = { \"/data/also/-\" = \"team-x\" }"]
                [..],
        ),
        (
            "cel",
            &["data = { also = [\"team-x\"] }", "set-settings = { \"/data/also/-\" = \"team-x\" }"],
        ),
        (
            "cedar",
            &[
                &format!("entities = [{entity}]"),
                &format!("set-settings = {{ \"/entities/-\" = {entity} }}"),
            ],
        ),
        (
            "javascript",
            &["settings = { also = [\"team-x\"] }", "set-settings = { \"/also/-\" = \"team-x\" }"],
        ),
        ("python", &["set-settings = { \"/also\" = [\"team-x\"] }"]),
    ] {
        let policy = new(parent.path(), language);
        for change in changes {
            fs::write(policy.join("cases.toml"), case(change)).unwrap();
            let ran = countersign(&policy, "policy test --case a");
            assert_eq!(ran.status, 0, "{language}: {change}: {}{}", ran.stdout, ran.stderr);
        }
    }
}

/// The same files in another folder, built by another process: the same component, and the same settings.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn two_builds_of_one_source_are_the_same_bytes() {
    for language in ["rego", "cedar", "cel", "javascript", "typescript", "python"] {
        let (one, another) = (folder(), folder());
        let built = [one.path(), &another.path().join("deeper")].map(|parent| {
            fs::create_dir_all(parent).unwrap();
            let policy = new(parent, language);
            ["policy.wasm", "settings.json"].map(|name| fs::read(policy.join(name)).unwrap())
        });
        assert!(built[0] == built[1], "{language}");
    }
}

/// A policy of a new folder that a checker finds something in, with the line of it.
const MISTYPED: [(&str, &str, &str, [&str; 2]); 5] = [
    (
        "typescript",
        "policy.ts",
        "node_modules/.bin/tsc",
        ["const consumer = run.trigger.author", "policy.ts(29,20): error TS18048: "],
    ),
    (
        "javascript",
        "policy.js",
        "node_modules/.bin/tsc",
        ["const consumer = run.trigger.author", "policy.js(36,20): error TS18048: "],
    ),
    (
        "python",
        "policy.py",
        ".venv/bin/pyright",
        ["consumer = run.trigger.author", "policy.py:20:28 - error: "],
    ),
    (
        "python",
        "policy.py",
        ".venv/bin/mypy",
        ["consumer = run.trigger.author", "policy.py:20: error: Item \"None\""],
    ),
    (
        "python",
        "policy.py",
        ".venv/bin/ty",
        ["consumer = run.trigger.author", "policy.py:20:16: error["],
    ),
];

#[test]
#[ignore = "needs the engines, npm and python3 with venv: `make languages`"]
fn types_are_checked_by_what_the_project_has() {
    let installed =
        PathBuf::from(std::env::var_os("COUNTERSIGN_TYPES").expect("checkers of types"));
    let program = |checker: &str| match checker {
        "tsc" | "pyright" => installed.join("node_modules/.bin").join(checker),
        _ => installed.join("python/bin").join(checker),
    };
    for (language, file, checker, [mistake, says]) in MISTYPED {
        let parent = folder();
        let policy = new(parent.path(), language);
        let name = checker.rsplit('/').next().unwrap();
        // Not even on the path.
        let mut require = command(&policy);
        let output =
            require.args(["policy", "build", "--types", "require"]).env("PATH", "").output();
        let said = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(said.contains("no type checker is installed, expected "), "{checker}: {said}");
        // A policy may be deep in a project.
        let tools = parent.path().join(checker);
        fs::create_dir_all(tools.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(program(name), &tools).unwrap();
        let ran = countersign(&policy, "policy build --format json");
        let built: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.status, &built["types"]), (0, &json!(name)), "{}", ran.stderr);

        let text = fs::read_to_string(policy.join(file)).unwrap();
        let owner = mistake.replace("trigger.author", "buildingBlock.workspace");
        let owner = if language == "python" { owner.replace("gB", "g_b") } else { owner };
        assert_eq!(text.matches(&owner).count(), 1, "{owner}");
        fs::write(policy.join(file), text.replace(&owner, mistake)).unwrap();
        fs::remove_file(policy.join("policy.wasm")).unwrap();
        let ran = countersign(&policy, "policy build");
        assert_eq!(ran.status, 1, "{checker}");
        let found = format!("types do not fit, says {name}");
        assert!(ran.stderr.contains(&found) && ran.stderr.contains(says), "{}", ran.stderr);
        assert!(!policy.join("policy.wasm").exists(), "{checker}");
        let ran = countersign(&policy, "policy build --types skip --format json");
        let built: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.status, &built["types"]), (0, &Value::Null), "{}", ran.stderr);
        assert!(built["warnings"].to_string().contains("`run.trigger` is"), "{built}");
    }
    // What the cookbook has fits as well.
    let parent = folder();
    for recipe in ["team-standard-javascript", "team-standard-python"] {
        let ran = countersign(parent.path(), &format!("policy new {recipe} --from {recipe}"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        for checker in ["node_modules/.bin/tsc", ".venv/bin/mypy"] {
            let tools = parent.path().join(checker);
            fs::create_dir_all(tools.parent().unwrap()).unwrap();
            let _ = std::os::unix::fs::symlink(program(checker.rsplit('/').next().unwrap()), tools);
        }
        let ran = countersign(&parent.path().join(recipe), "policy build --types require");
        assert_eq!((ran.status, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
    }
    let rego = new(parent.path(), "rego");
    let ran = countersign(&rego, "policy build --types require");
    assert!(
        ran.status == 1 && ran.stderr.contains("--types require: the types of"),
        "{}",
        ran.stderr
    );
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_text_that_nests_too_deep_is_told_of() {
    let repeat = |text: &str, times: usize| text.repeat(times);
    let overflow = "the engine's stack may have overflowed: ";
    let cases = [
        (
            "cedar",
            "policies.cedar",
            format!(
                "permit(principal, action, resource)\nwhen {{ {}true }};\n",
                repeat("context.token.ttl_seconds > 60 && ", 300)
            ),
            "policies.cedar:2:",
        ),
        (
            "rego",
            "policy.rego",
            format!("package countersign\n\npermit if {}1 > 0\n", repeat("1 + ", 300)),
            "policy.rego:3:",
        ),
        (
            "cel",
            "policy.cel.yaml",
            format!("permit:\n- when: {}true{}\n", repeat("(", 300), repeat(")", 300)),
            "policy.cel.yaml:2:",
        ),
        (
            "javascript",
            "policy.js",
            format!(
                "import {{ permit }} from 'countersign';\nexport const evaluate = () => {}permit();\n",
                repeat("1 > 2 ? permit() : ", 2000)
            ),
            overflow,
        ),
        (
            "javascript",
            "policy.js",
            format!(
                "import {{ permit }} from 'countersign';\nexport const evaluate = () => permit({}{});\n",
                repeat("[", 40),
                repeat("]", 40)
            ),
            "policy.js:2:",
        ),
        (
            "python",
            "policy.py",
            format!(
                "from countersign import permit\n\n\ndef evaluate():\n    return permit() if {}1 else None\n",
                repeat("1 + ", 1000)
            ),
            overflow,
        ),
        (
            "python",
            "policy.py",
            format!(
                "from countersign import permit\n\n\ndef evaluate():\n    return {}permit(){}\n",
                repeat("(", 1000),
                repeat(")", 1000)
            ),
            "policy.py:5:",
        ),
    ];
    let parent = folder();
    let of = |language: &str| {
        let policy = parent.path().join(format!("a-{language}"));
        if policy.exists() { policy } else { new(parent.path(), language) }
    };
    for (language, file, text, says) in cases {
        let policy = of(language);
        fs::write(policy.join(file), text).unwrap();
        let ran = countersign(&policy, "policy build");
        assert!(ran.status == 1 && ran.stderr.contains(says), "{language}: {}", ran.stderr);
    }
    // Long paths take no longer than others.
    for (language, file, text) in [
        (
            "javascript",
            "policy.js",
            format!("export const evaluate = (s) => s{};\n", repeat("?.a", 1000)),
        ),
        (
            "python",
            "policy.py",
            format!("def evaluate(settings):\n    return settings{}\n", repeat(".a", 100)),
        ),
    ] {
        let policy = of(language);
        fs::write(policy.join(file), text).unwrap();
        let ran = countersign(&policy, "policy build");
        assert_eq!(ran.status, 0, "{language}: {}", ran.stderr);
    }
}
