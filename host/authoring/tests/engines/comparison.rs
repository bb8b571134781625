//! Compares the components that hold an engine with that engine as a library of a native program.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use countersign::{
    AuthorKind, Behavior, Claims, Fault, Implementation, PolicySet, TokenRequest, Verdict,
};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::choices::Choices;
use crate::{RUN, cedar, component, prepare, rego};

/// The number of claims that both engines decide on.
const CLAIMS: usize = 100_000;

/// The number of claims that a program may be asked about before it has answered: more than fill what is between.
const AHEAD: usize = 16_384;

/// The claims as the contract has them, with underscores: written here once more.
fn as_json(claims: &Claims) -> Value {
    let (run, token) = (claims.run(), claims.token());
    let block = &run.building_block;
    let mut json = json!({
        "id": run.id.as_str(),
        "number": run.number,
        "behavior": match run.behavior {
            Behavior::Apply => "apply",
            Behavior::Detect => "detect",
            Behavior::Destroy => "destroy",
        },
        "building_block": {
            "id": block.id.as_str(),
            "workspace": block.workspace.as_str(),
            "parents": block.parents.iter().map(|parent| json!({
                "building_block": parent.building_block.as_str(),
                "definition": parent.definition.as_str(),
            })).collect::<Vec<_>>(),
        },
        "definition": {
            "id": run.definition.id.as_str(),
            "workspace": run.definition.workspace.as_str(),
            "version": run.definition.version,
            "implementation": match run.definition.implementation {
                Implementation::Terraform => "terraform",
                Implementation::Manual => "manual",
                Implementation::GithubWorkflow => "github-workflow",
                other => panic!("{other:?}"),
            },
        },
        "facts": {},
    });
    if let Some(runner) = claims.runner() {
        json["runner"] = json!(runner.as_str());
    }
    if let Some(project) = &block.project {
        json["building_block"]["project"] = json!(project.as_str());
    }
    if let Some(platform) = &block.platform {
        json["building_block"]["platform"] = json!(platform.as_str());
    }
    if let Some(trigger) = &run.trigger {
        json["trigger"] = json!({
            "author": trigger.author,
            "author_kind": match trigger.author_kind {
                AuthorKind::User => "user",
                AuthorKind::ApiKey => "api-key",
                AuthorKind::ApiUser => "api-user",
                AuthorKind::System => "system",
            },
        });
        if let Some(reason) = &trigger.reason {
            json["trigger"]["reason"] = json!(reason);
        }
    }
    json!({
        "run": json,
        "token": {
            "subject": claims.subject().as_str(),
            "audiences": token.audiences().iter().map(|a| a.as_str()).collect::<Vec<_>>(),
            "ttl_seconds": token.ttl_seconds(),
            "issued_at": token.issued_at(),
        },
    })
}

/// A verdict in the form that the native engines write.
pub(crate) fn answer(result: &Result<Verdict, Fault>, token: &TokenRequest) -> Value {
    match result {
        Ok(verdict @ (Verdict::Permit(grant) | Verdict::Restrict(grant))) => {
            let permits = matches!(verdict, Verdict::Permit(_));
            let asked: Vec<_> = token.audiences().to_vec();
            let mut kept: Vec<_> = grant.audiences.clone().unwrap_or(asked);
            kept.sort();
            let claims: serde_json::Map<_, _> = grant
                .claims
                .iter()
                .map(|(name, value)| (name.as_str().to_owned(), json!(value)))
                .collect();
            json!({
                "verdict": if permits { "permit" } else { "restrict" },
                "seconds": grant.max_ttl.unwrap_or(token.ttl_seconds()),
                "audiences": kept.iter().map(|audience| audience.as_str()).collect::<Vec<_>>(),
                "claims": claims,
            })
        }
        Ok(Verdict::Deny(reasons)) => {
            let mut codes: Vec<_> = reasons.iter().map(|reason| reason.code.to_string()).collect();
            codes.sort_unstable();
            json!(codes)
        }
        Ok(Verdict::Abstain) => json!("abstain"),
        Err(Fault::Panic { .. }) => json!("fault"),
        // No fault of the engine's.
        Err(other) => json!(other.code()),
    }
}

/// Runs cargo on the engines' own workspace, whose packages are not of this one, and gives the target folder, which is
/// that of `make lint-engines`: they share what the build tools of the engines depend on.
fn cargo(arguments: &[&str]) -> PathBuf {
    let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-policies/engines");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("engines");
    let cargo = Command::new(env!("CARGO"))
        .current_dir(&engines)
        .env_remove("RUSTFLAGS")
        .args(arguments)
        .args(["--locked", "--workspace", "--target-dir"])
        .arg(&target)
        .status();
    assert!(cargo.unwrap().success(), "cargo {arguments:?}");
    target
}

/// The program that has the engines as libraries.
fn native() -> Command {
    Command::new(cargo(&["build"]).join("debug/native-engines"))
}

/// Among them that the schemas in their folders are those of their settings.
#[test]
#[ignore = "compiles the engines as libraries, which takes minutes: `make languages`"]
fn they_pass_their_own_tests() {
    cargo(&["test"]);
}

/// Asks the component and the library of its engine the same, and compares each answer. Returns the number of permits,
/// restrictions, denials, abstentions and faults.
fn compare(kind: &str, component: &[u8], settings: &Value) -> [usize; 5] {
    let set = prepare(component, settings).unwrap();
    compare_with(native(), Some(json!({ kind: settings })), &set, answer)
}

/// Asks a policy set and a program the same, and compares each answer. The program gets a line for each claims, after a
/// first one if there is one, and answers each with one.
pub(crate) fn compare_with(
    mut program: Command,
    first: Option<Value>,
    set: &PolicySet,
    answer: impl Fn(&Result<Verdict, Fault>, &TokenRequest) -> Value,
) -> [usize; 5] {
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it is there");
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let base: Value = serde_json::from_str(RUN).unwrap();
    let (sender, asked) = mpsc::sync_channel(AHEAD);
    let asking = thread::spawn(move || {
        let (mut out, mut choices) = (BufWriter::new(stdin), Choices(7));
        if let Some(first) = first {
            writeln!(out, "{first}").unwrap();
        }
        for _ in 0..CLAIMS {
            let claims = choices.claims(&base);
            let line = as_json(&claims).to_string();
            writeln!(out, "{line}").unwrap();
            sender.send((claims, line)).unwrap();
        }
        out.flush().unwrap();
    });
    let mut lines = BufReader::new(stdout).lines();
    let mut met = [0; 5];
    for (number, (claims, asked)) in asked.iter().enumerate() {
        let token = claims.token().clone();
        let decision = set.evaluate(claims);
        let found = answer(&decision.trace()[0].result, &token);
        let native: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(found, native, "claims {number}: {asked}\n{:?}", decision.trace()[0].result);
        met[match found {
            Value::Object(grant) if grant["verdict"] == "permit" => 0,
            Value::Object(_) => 1,
            Value::Array(_) => 2,
            Value::String(word) if word == "abstain" => 3,
            _ => 4,
        }] += 1;
    }
    asking.join().unwrap();
    assert_eq!(met.iter().sum::<usize>(), CLAIMS);
    assert!(child.wait().unwrap().success());
    assert!(lines.next().is_none());
    met
}

#[test]
#[ignore = "compiles the engines as libraries, which takes minutes: `make languages`"]
fn rego_answers_as_regorus_does() {
    let met = compare("rego", &component(EngineName::Rego), &rego());
    // Every kind of answer was met, and often.
    assert!(met.iter().all(|count| *count > 500), "{met:?}");
}

#[test]
#[ignore = "compiles the engines as libraries, which takes minutes: `make languages`"]
fn cedar_answers_as_cedar_policy_does() {
    let met = compare("cedar", &component(EngineName::Cedar), &cedar());
    let [permits, restrictions, denials, abstentions, faults] = met;
    assert!([permits, restrictions, denials, faults].iter().all(|count| *count > 500), "{met:?}");
    // Cedar denies where no policy applies.
    assert_eq!(abstentions, 0);
}
