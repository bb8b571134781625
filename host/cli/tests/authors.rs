//! `policy new --from`, `policy eval`, and the words that templates and pages show.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{countersign, folder};

/// The policy with a mistake is none to begin with.
const WRONG: &str = "a-forgotten-claim";

#[test]
fn every_recipe_is_one_to_begin_with() {
    let folder = folder();
    let cookbook = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cookbook");
    let mut recipes = Vec::new();
    for entry in fs::read_dir(&cookbook).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() && name != WRONG {
            recipes.push(name);
        }
    }
    let help = countersign(folder.path(), "policy new --help").stdout;
    for recipe in &recipes {
        assert!(help.contains(&format!("- {recipe}:")), "{recipe}: {help}");
        let ran = countersign(folder.path(), &format!("policy new my-{recipe} --from {recipe}"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let policy = folder.path().join(format!("my-{recipe}"));
        same_files(&cookbook.join(recipe), &policy);
        // And what every new policy has; of another rule it has no data.
        for file in ["run.json", ".gitignore", ".github/workflows/policy.yml"] {
            assert!(policy.join(file).exists(), "{recipe}: {file}");
        }
        for file in ["data.json", "entities.json"] {
            assert_eq!(policy.join(file).exists(), cookbook.join(recipe).join(file).exists());
        }
    }
    assert_eq!(recipes.len(), 16);
    let ran = countersign(folder.path(), "policy new other --from cost-center");
    assert!(ran.status != 0 && ran.stderr.contains("'cost-centre'"), "{}", ran.stderr);
    let ran = countersign(folder.path(), "policy new other --from cost-centre --lang cedar");
    assert!(ran.status != 0 && ran.stderr.contains("--lang"), "{}", ran.stderr);
}

#[track_caller]
fn same_files(recipe: &Path, policy: &Path) {
    for entry in fs::read_dir(recipe).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true if name == "target" => {}
            true => same_files(&entry.path(), &policy.join(name)),
            // That of a recipe in Rust belongs to this repository's workspace.
            false if matches!(&*name, "Cargo.toml" | "policy.wasm" | "settings.json") => {}
            false => {
                let found = fs::read(policy.join(&name)).unwrap_or_default();
                assert!(found == fs::read(entry.path()).unwrap(), "{}", entry.path().display());
            }
        }
    }
}

#[test]
fn a_policy_is_evaluated_with_what_it_sees() {
    let folder = folder();
    let policy = folder.path();
    fs::copy(policy.join("same-workspace.wasm"), policy.join("policy.wasm")).unwrap();
    let cases = "[[case]]\nname = \"a stranger\"\nexpect = \"abstain\"\nfacts = { ticket = \"CHG-7\" }\n\
                 set = { \"/spec/buildingBlock/spec/workspaceIdentifier\" = \"team-b\", \"/spec/behavior\" = \"DESTROY\" }\n";
    fs::write(policy.join("cases.toml"), cases).unwrap();
    let ran = countersign(policy, "policy eval");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let lines: Vec<_> = ran.stdout.lines().take(2).collect();
    assert!(lines[0].starts_with("same-workspace ") && lines[1] == "  permit = {}", "{lines:?}");
    // Words as the policy sees them.
    assert!(ran.stdout.contains("run.behavior                    \"apply\"\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("run.trigger.author-kind         null\n"), "{}", ran.stdout);

    fs::write(
        policy.join("cases.toml"),
        format!("{cases}[[case]]\nname = \"b\"\nexpect = \"abstain\"\n"),
    )
    .unwrap();
    let mut command = support::command(policy);
    let ran = command.args(["policy", "eval", "--case", "a stranger", "--format", "json"]);
    let output = ran.output().unwrap();
    let evaluated: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(evaluated["verdict"], "deny = \"foreign-workspace\"", "{evaluated}");
    let claims = &evaluated["claims"];
    assert_eq!((&claims["run.behavior"], &claims["run.runner"]), (&json!("destroy"), &Value::Null));
    assert_eq!(claims["run.facts"]["ticket"], "CHG-7");

    let ran = countersign(policy, "policy eval --case b --case c");
    assert!(ran.stderr.contains("no case is named `c`"), "{}", ran.stderr);
    let ran = countersign(policy, "policy eval -e true");
    assert!(ran.status == 1 && ran.stderr.contains("found no policy"), "{}", ran.stderr);
}

/// The contract's words, and what each language has of them.
const WORDS: [&str; 14] = [
    "apply",
    "detect",
    "destroy",
    "manual",
    "terraform",
    "github-workflow",
    "gitlab-cicd",
    "azure-devops",
    "other",
    "user",
    "api-key",
    "api-user",
    "system",
    "trigger",
];

#[test]
fn each_template_shows_the_words_that_a_policy_compares_with() {
    let folder = folder();
    for (language, source) in [
        ("rust", "src/lib.rs"),
        ("javascript", "policy.js"),
        ("typescript", "policy.ts"),
        ("python", "policy.py"),
        ("python --runtime cpython", "policy.py"),
        ("rego", "policy.rego"),
        ("cedar", "policies.cedar"),
        ("cel", "policy.cel.yaml"),
    ] {
        let name = format!("a-{}", language.rsplit(' ').next().unwrap());
        let ran = countersign(folder.path(), &format!("policy new {name} --lang {language}"));
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        let text = fs::read_to_string(folder.path().join(&name).join(source)).unwrap();
        // Rust has them as variants.
        let heading = if language == "rust" {
            "What a policy compares with"
        } else {
            "in the contract's words"
        };
        let comment = &text[text.find(heading).unwrap()..];
        let plain = comment.to_lowercase();
        let spelled = |word: &str| match language {
            "rust" => word.replace('-', ""),
            _ => word.to_owned(),
        };
        for word in WORDS {
            assert!(plain.contains(&spelled(word)), "{language}: {word}");
        }
    }
    let page = include_str!("../../../docs/policies.md");
    let (_, words) = page.split_once("### Words\n").unwrap();
    for word in WORDS.iter().filter(|word| !matches!(**word, "trigger" | "other")) {
        assert!(words.contains(&format!(" `{word}`")), "{word}");
    }
}
