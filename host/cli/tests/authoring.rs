//! `explain`, `policy test` and `policy bench`, as a shell sees them.
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
use support::{RUN, countersign, folder};

/// The run that the demonstration refuses: another workspace owns the building block.
fn stranger(folder: &Path) {
    let mut run: Value = serde_json::from_str(RUN).unwrap();
    run["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!("team-b");
    fs::write(folder.join("stranger.json"), run.to_string()).unwrap();
}

const ASK: &str = "--policies countersign.toml --audience aws-workload-identity-provider:demo --ttl 900 --now 1790000000";

#[test]
fn the_refused_run_turned_on_its_owning_workspace() {
    let folder = folder();
    stranger(folder.path());
    let ran = countersign(folder.path(), &format!("explain {ASK} --run stranger.json"));
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let first: Vec<_> = ran.stdout.lines().take(2).collect();
    assert_eq!(
        first,
        [
            "refused, determined by",
            "  the owning workspace run.building-block.workspace: approved with team-network or my-workspace instead \
             of team-b",
        ]
    );
    let ran =
        countersign(folder.path(), &format!("explain {ASK} --run stranger.json --format json"));
    let explained: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(explained["outcome"], "refused");
    // Nothing else: what only adds a reason did not determine it.
    assert_eq!(explained["claims"], json!(["run.building-block.workspace"]));
    let of = |list: &str| explained[list].as_array().unwrap().clone();
    assert!(of("grant_claims").is_empty(), "{explained}");
    for claim in ["run.definition.implementation", "token.audiences"] {
        assert!(of("reason_claims").contains(&json!(claim)), "{explained}");
    }
    let counterfactuals: Vec<_> = explained["counterfactuals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|changes| &changes[0])
        .collect();
    // The definition workspace, and the one on the list in the settings.
    for to in ["my-workspace", "team-network"] {
        assert!(
            counterfactuals.contains(
                &&json!({"claim": "run.building-block.workspace", "from": "team-b", "to": to})
            ),
            "{counterfactuals:?}"
        );
    }
    let consumers = explained["bindings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|of| of["binding"] == "consumers-of-my-workspace")
        .unwrap();
    assert_eq!(consumers["outcome"], "deny");
    assert!(
        consumers["claims"].as_array().unwrap().contains(&json!("run.building-block.workspace"))
    );
    // The explanation is deterministic.
    let again =
        countersign(folder.path(), &format!("explain {ASK} --run stranger.json --format json"));
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn an_approved_run_turned_on_what_would_refuse_it() {
    let folder = folder();
    let ran = countersign(folder.path(), &format!("explain {ASK} --run run.json --format json"));
    let explained: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(explained["outcome"], "approved", "{}", ran.stderr);
    let claims: Vec<_> =
        explained["claims"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    for claim in ["run.building-block.workspace", "run.definition.workspace", "token.audiences"] {
        assert!(claims.contains(&claim), "{claims:?}");
    }
    assert!(!claims.contains(&"run.number"), "{claims:?}");
}

/// No single change is enough where two bindings refuse for two reasons.
#[test]
fn two_changes_are_found_where_one_is_not_enough() {
    let folder = folder();
    stranger(folder.path());
    let ask =
        ASK.replace("aws-workload-identity-provider:demo", "gcp-workload-identity-provider:demo");
    let ran =
        countersign(folder.path(), &format!("explain {ask} --run stranger.json --format json"));
    let explained: Value = serde_json::from_str(&ran.stdout).unwrap();
    let counterfactuals = explained["counterfactuals"].as_array().unwrap();
    assert!(!counterfactuals.is_empty(), "{}", ran.stdout);
    for changes in counterfactuals {
        let claims: Vec<_> =
            changes.as_array().unwrap().iter().map(|c| c["claim"].as_str().unwrap()).collect();
        assert_eq!(claims.len(), 2, "{claims:?}");
        assert!(
            claims.contains(&"token.audiences")
                || claims.contains(&"run.definition.implementation"),
            "{claims:?}"
        );
    }
}

/// A folder with the cases of a policy, and its component.
fn cases(folder: &Path, policy: &str, change: impl FnOnce(String) -> String) {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-policies").join(policy);
    let cases = fs::read_to_string(cases.join("cases.toml")).unwrap();
    fs::write(folder.join("cases.toml"), change(cases)).unwrap();
    fs::copy(folder.join(format!("{policy}.wasm")), folder.join("policy.wasm")).unwrap();
}

#[test]
fn a_policy_is_tested_by_its_cases() {
    let folder = folder();
    cases(folder.path(), "same-workspace", |cases| cases);
    let ran = countersign(folder.path(), "policy test");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    assert!(ran.stdout.contains("  pass  a stranger is denied\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\n10 cases, 0 failed\n"), "{}", ran.stdout);
    let ran = countersign(folder.path(), "policy test --format json");
    let tested: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&tested["passed"], &tested["policy"]), (&json!(true), &json!("same-workspace")));
    let claim = |name: &str| {
        tested["claims"].as_array().unwrap().iter().find(|of| of["claim"] == name).unwrap().clone()
    };
    assert!(claim("run.building-block.workspace")["noticed"].as_u64().unwrap() > 0);
    assert_eq!(claim("run.behavior")["noticed"], 0);
    assert!(claim("run.behavior")["changes"].as_u64().unwrap() >= 10);
}

#[test]
fn what_differs_is_shown() {
    let folder = folder();
    cases(folder.path(), "same-workspace", |cases| {
        cases
            .replacen(
                "expect = { deny = \"foreign-workspace\" }",
                "expect = { permit = { max-ttl = 60 } }",
                1,
            )
            .replacen("pointer = \"/also/1\"", "pointer = \"/also/0\"", 1)
    });
    let ran = countersign(folder.path(), "policy test");
    assert_eq!(ran.status, 1);
    for text in [
        "  FAIL  a stranger is denied\n        expected  permit = { max-ttl = 60 }\n        found     deny = \
         \"foreign-workspace\"\n                  workspace `team-b` may not use",
        "  FAIL  settings: a workspace with a capital letter\n        expected  /also/0\n        found     /also/1\n",
        "\n10 cases, 2 failed\n",
    ] {
        assert!(ran.stdout.contains(text), "{text}: {}", ran.stdout);
    }
    let ran = countersign(folder.path(), "policy test --format junit");
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains("tests=\"10\" failures=\"2\""), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("<failure message=\"expected permit = { max-ttl = 60 }, found deny"),
        "{}",
        ran.stdout
    );
}

/// The policy ignores the owner of the definition: no case fails, but claim mutation shows it.
#[test]
fn a_forgotten_claim_is_caught() {
    let folder = folder();
    cases(folder.path(), "allowed-consumers", |cases| {
        cases.replacen("depends-on = [", "depends-on = [\"run.definition.workspace\", ", 1)
    });
    let ran = countersign(folder.path(), "policy test");
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("cases, 0 failed\n"), "{}", ran.stdout);
    let line = ran.stdout.lines().find(|line| line.contains("missed")).unwrap();
    assert!(line.ends_with(" run.definition.workspace"), "{line}");
    // A policy that depends on more claims than it declares.
    cases(folder.path(), "allowed-consumers", |cases| {
        cases.replacen("\"run.building-block.workspace\", ", "", 1)
    });
    let ran = countersign(folder.path(), "policy test --format json");
    let tested: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.status, &tested["passed"]), (1, &json!(false)));
    assert_eq!(tested["undeclared"], json!(["run.building-block.workspace"]));
}

#[test]
fn what_cannot_be_tested_says_why() {
    let folder = folder();
    // A case that cannot be run fails, and says so in the report.
    for (cases, says) in [
        (
            "[[case]]\nname = \"a\"\nexpect = \"abstain\"\nset = { \"/nowhere/x\" = 1 }\n",
            "set: `/nowhere/x` leads nowhere: there is no `nowhere`",
        ),
        (
            "[[case]]\nname = \"a\"\nexpect = \"abstain\"\nset = { \"/spec/buildingBlok/uuid\" = 1 }\n",
            "there is no `buildingBlok`; did you mean `buildingBlock`?",
        ),
        (
            "[[case]]\nname = \"a\"\nexpect = \"abstain\"\nset = { \"/spec/behavior\" = \"DANCE\" }\n",
            "found `DANCE`",
        ),
        (
            "[[case]]\nname = \"a\"\nexpect = \"abstain\"\nsettings = { als = [] }\n",
            "the settings do not fit",
        ),
    ] {
        self::cases(folder.path(), "same-workspace", |_| cases.to_owned());
        let ran = countersign(folder.path(), "policy test");
        assert_eq!((ran.status, ran.stderr.as_str()), (1, ""), "{cases}");
        let not_run = "  FAIL  a\n        expected  abstain\n        found     not run\n";
        assert!(ran.stdout.contains(not_run), "{cases}: {}", ran.stdout);
        assert!(ran.stdout.contains(says), "{cases}: {}", ran.stdout);
    }
    for (cases, says) in [
        ("", "no `[[case]]`"),
        ("[[case]]\nname = \"a\"\nexpect = \"deny\"\n", "line 3"),
        (
            "depends-on = [\"run.colour\"]\n[[case]]\nname = \"a\"\nexpect = \"abstain\"\n",
            "expected one of run.building-block.workspace",
        ),
    ] {
        self::cases(folder.path(), "same-workspace", |_| cases.to_owned());
        let ran = countersign(folder.path(), "policy test");
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{cases}");
        assert!(ran.stderr.contains(says), "{cases}: {}", ran.stderr);
    }
    fs::remove_file(folder.path().join("policy.wasm")).unwrap();
    let ran = countersign(folder.path(), "policy test");
    assert!(ran.stderr.contains("no component; run `countersign policy build`"), "{}", ran.stderr);
    self::cases(folder.path(), "same-workspace", |cases| cases);
    fs::write(folder.path().join("policy.wasm"), "\0asm\r\0\x01\0").unwrap();
    let ran = countersign(folder.path(), "policy test");
    assert!(ran.stderr.contains("missing-interface"), "{}", ran.stderr);
}

#[test]
fn what_a_policy_takes_is_measured() {
    let folder = folder();
    cases(folder.path(), "same-workspace", |cases| cases);
    let ran = countersign(folder.path(), "policy bench --times 10 --format json");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let measured: Value = serde_json::from_str(&ran.stdout).unwrap();
    let cases = measured["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 7);
    assert!(
        cases.iter().all(|case| case["fuel"].as_u64().unwrap() > 100
            && case["nanoseconds"].as_u64().unwrap() > 0)
    );
    let most = cases.iter().map(|case| case["fuel"].as_u64().unwrap()).max().unwrap();
    assert_eq!(
        countersign(folder.path(), &format!("policy bench --times 1 --max-fuel {most}")).status,
        0
    );
    let ran =
        countersign(folder.path(), &format!("policy bench --times 1 --max-fuel {}", most - 1));
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains(" over --max-fuel\n"), "{}", ran.stdout);
}

/// A new policy builds and passes its tests with the installed compiler.
#[test]
fn a_new_policy_builds_and_its_cases_pass() {
    let folder = folder();
    let ran = countersign(folder.path(), "policy new a-rust --lang rust");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let policy = folder.path().join("a-rust");
    for file in [".github/workflows/policy.yml", "README.md", "cases.toml", "run.json"] {
        assert!(policy.join(file).exists(), "{file}");
    }
    let ran = countersign(&policy, "policy build --format json");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    let bytes = fs::read(policy.join("policy.wasm")).unwrap();
    assert_eq!(built["digest"], countersign::Digest::of(&bytes).to_string());
    assert_eq!(built["bytes"], bytes.len());
    let ran = countersign(&policy, "policy test --format json");
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    let tested: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&tested["passed"], &tested["undeclared"]), (&json!(true), &json!([])));
    lines_that_no_case_reaches_are_found(&policy);
    let ran = countersign(folder.path(), "policy new a-rust --lang rust");
    assert!(ran.status == 1 && ran.stderr.contains("already exists"), "{}", ran.stderr);
    let ran = countersign(folder.path(), "policy new A");
    assert!(ran.stderr.contains("a binding name"), "{}", ran.stderr);
    let ran = countersign(folder.path(), "policy build");
    assert!(ran.status == 1 && ran.stderr.contains("expected Cargo.toml"), "{}", ran.stderr);
}

/// In the folder of a new policy, which is compiled already.
#[track_caller]
fn lines_that_no_case_reaches_are_found(policy: &Path) {
    let coverage = |options: &str| {
        let ran = countersign(policy, &format!("policy test --format json {options}"));
        let tested: Value = serde_json::from_str(&ran.stdout).unwrap_or_default();
        (ran.status, tested["coverage"].clone(), ran.stderr)
    };
    assert_eq!(coverage(""), (0, Value::Null, String::new()));
    let (status, all, stderr) = coverage("--coverage --min-coverage 100");
    assert_eq!((status, &all["missed"]), (0, &json!([])), "{stderr}");
    assert!(all["lines"].as_u64() >= Some(6), "{all}");
    assert_eq!(all["covered"], all["lines"]);

    coverage_has_the_bound_of_the_test(policy);

    // A branch that no case reaches, and one that ends in a fault. The derived code of types does not count.
    let (lib, cases) = (policy.join("src/lib.rs"), policy.join("cases.toml"));
    let source = fs::read_to_string(&lib).unwrap();
    let changed = source
        .replace(
            "/// Access to",
            "/// A colour.\n#[settings]\n#[derive(PartialEq, Eq, PartialOrd, Ord)]\npub enum Colour {\n    /// Red.\n    \
             Red,\n    /// Blue.\n    Blue,\n}\n\n/// Access to",
        )
        .replace(
            "also: IdentifierSet",
            "colours: std::collections::BTreeSet<Colour>,\n    #[serde(default)]\n    also: IdentifierSet",
        )
        .replace(
            "    Verdict::deny(",
            "    if run.number == 7 {\n        return Verdict::abstain();\n    }\n    if consumer == \"boom\" {\n        \
             panic!(\"{} colours\", settings.colours.len());\n    }\n    Verdict::deny(",
        );
    fs::write(&lib, &changed).unwrap();
    let own_cases =
        fs::read_to_string(&cases).unwrap().replacen("depends-on = [", "claims = [] # [", 1);
    fs::write(&cases, &own_cases).unwrap();
    assert_eq!(countersign(policy, "policy build").status, 0);
    let line = |code: &str| 1 + changed.lines().position(|line| line.contains(code)).unwrap();
    let (abstains, panics) = (line("Verdict::abstain()"), line("panic!("));
    let (status, some, stderr) = coverage("--coverage --min-coverage 50");
    let missed = json!([
        {"file": "src/lib.rs", "line": abstains}, {"file": "src/lib.rs", "line": panics}
    ]);
    assert_eq!((status, &some["missed"]), (0, &missed), "{stderr}");
    assert_eq!(some["covered"].as_u64().unwrap() + 2, some["lines"].as_u64().unwrap());
    let ran = countersign(policy, "policy test --coverage --min-coverage 100");
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.contains(" lines are reached by a case less than 100%\n"), "{}", ran.stdout);
    let junit =
        countersign(policy, "policy test --coverage --min-coverage 100 --format junit").stdout;
    assert!(junit.contains("<testcase name=\"cases reach 100% of the lines\">"), "{junit}");
    assert!(junit.contains("failures=\"1\""), "{junit}");
    let shown = format!("  src/lib.rs:{abstains}  return Verdict::abstain();\n");
    assert!(ran.stdout.contains(&shown), "{}", ran.stdout);

    // Cases for both, one of which faults before its verdict.
    let set = "\nset = { \"/spec/buildingBlock/spec/workspaceIdentifier\" = ";
    let case = |name: &str, set: &str, expect: &str| {
        format!("\n[[case]]\nname = \"{name}\"{set}\nexpect = {expect}\n")
    };
    let number = format!("{set}\"team-b\", \"/spec/runNumber\" = 7 }}");
    let more = case("seven", &number, "\"abstain\"")
        + &case("boom", &format!("{set}\"boom\" }}"), "{ fault = \"panic\" }");
    fs::write(&cases, own_cases + &more).unwrap();
    let (status, all, stderr) = coverage("--coverage --min-coverage 100");
    assert_eq!((status, &all["missed"]), (0, &json!([])), "{stderr}");

    // The component was built from another source.
    fs::write(&lib, changed.replace("Verdict::abstain()", "Verdict::permit()")).unwrap();
    let (status, _, stderr) = coverage("--coverage");
    assert!(
        status == 1 && stderr.contains("policy.wasm: older than ./src/lib.rs; run"),
        "{stderr}"
    );
    // A component that is named is taken as it is.
    let named = format!("--coverage --component {}", policy.join("policy.wasm").display());
    let (status, _, stderr) = coverage(&named);
    assert_eq!(status, 1);
    assert!(
        stderr.contains(
            "case `seven`: the component answers `abstain` as expected, and the source `permit`"
        ),
        "{stderr}"
    );
    // Coverage is not measured if a case fails.
    fs::write(&cases, case("a", "", "\"abstain\"")).unwrap();
    assert_eq!(coverage(&named), (1, Value::Null, String::new()));
    fs::rename(policy.join("Cargo.toml"), policy.join("not.toml")).unwrap();
    fs::write(&cases, case("a", "", "{ permit = {} }")).unwrap();
    let (status, _, stderr) = coverage("--coverage");
    assert!(
        status == 1 && stderr.contains("coverage is only available for policies in Rust"),
        "{stderr}"
    );
}

/// With the least that the cases and their changes can be run with, nothing is left for coverage.
#[track_caller]
fn coverage_has_the_bound_of_the_test(policy: &Path) {
    let test = |total: u64, options: &str| {
        let line = format!("policy test --format json --total-fuel {total} {options}");
        let ran = countersign(policy, &line);
        (ran.status, serde_json::from_str::<Value>(&ran.stdout).unwrap())
    };
    let (mut too_little, mut enough) = (1, 100_000_000_000);
    while enough - too_little > 1 {
        let total = too_little + (enough - too_little) / 2;
        match test(total, "").1["stopped_by"].is_null() {
            true => enough = total,
            false => too_little = total,
        }
    }
    assert_eq!(test(enough, "").0, 0);
    let (status, tested) = test(enough, "--coverage");
    assert_eq!((status, &tested["passed"], &tested["coverage"]), (1, &json!(false), &Value::Null));
    assert!(!tested["cases"].as_array().unwrap().is_empty(), "{tested}");
    let says = tested["error"]["message"].as_str().unwrap();
    assert!(says.starts_with("coverage: stopped after "), "{says}");
    assert!(says.ends_with(" units of fuel; --total-fuel raises the maximum"), "{says}");
}
