//! The command line, as a shell sees it: stdout, stderr and exit status.
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
use std::process::Command;

use serde_json::Value;
use support::{RUN, countersign, folder, with_stdin};

const ASK: &str = "--policies countersign.toml --run run.json --ttl 900 --now 1790000000 \
                   --audience aws-workload-identity-provider:demo";

fn write_run(folder: &Path, name: &str, from: &str, to: &str) {
    let run = RUN.replacen(from, to, 1);
    assert_ne!(run, RUN);
    fs::write(folder.join(name), run).unwrap();
}

const OTHER_OWNER: (&str, &str) =
    (r#""workspaceIdentifier" : "my-workspace""#, r#""workspaceIdentifier" : "team-b""#);

#[test]
fn an_approved_run() {
    let folder = folder();
    let ran = countersign(folder.path(), &format!("evaluate {ASK}"));
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    assert!(
        ran.stdout.starts_with("approved  APPLY of a building block of workspace my-workspace")
    );
    assert!(ran.stdout.contains("  ttl       900 s\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains('\u{1b}'), "no colours outside of a terminal");
}

#[test]
fn facts_are_on_record_and_bounded() {
    let folder = folder();
    let evaluate =
        |facts: &str| countersign(folder.path(), &format!("evaluate {ASK} {facts} --format json"));
    let ran = evaluate("--fact cost-centre=4711 --fact ticket=a=b");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    // With those that the run object has.
    let facts = serde_json::json!({
        "building-block-name": "block", "cost-centre": "4711", "opentofu-version": "v1",
        "repository-url": "https://example.com", "ticket": "a=b",
    });
    assert_eq!(record["claims"]["run"]["facts"], facts);
    // Of one that is given, the value is that.
    let record: Value =
        serde_json::from_str(&evaluate("--fact opentofu-version=1.8.2").stdout).unwrap();
    assert_eq!(record["claims"]["run"]["facts"]["opentofu-version"], "1.8.2");
    for (facts, expected) in [
        ("--fact a", "expected NAME=VALUE"),
        ("--fact a=1 --fact a=2", "--fact: /a: the fact is given twice"),
        ("--fact author-kind=Robot", "--fact: /author-kind: expected a fact name"),
        ("--fact =1", "expected a fact name"),
    ] {
        let ran = evaluate(facts);
        assert!(ran.stderr.contains(expected) && ran.stdout.is_empty(), "{}", ran.stderr);
    }
}

#[test]
fn a_refused_run_from_stdin() {
    let folder = folder();
    let run = RUN.replacen(OTHER_OWNER.0, OTHER_OWNER.1, 1);
    let line = format!("evaluate {}", ASK.replace("run.json", "-"));
    let ran = with_stdin(folder.path(), &line, &run);
    assert_eq!((ran.status, ran.stderr.as_str()), (2, ""));
    assert!(ran.stdout.contains("workspace `team-b` may not use definitions"), "{}", ran.stdout);
    assert!(ran.stdout.contains("foreign-workspace, by `consumers-of-my-workspace`"));
}

#[test]
fn a_run_that_no_binding_is_about_is_refused() {
    let folder = folder();
    write_run(
        folder.path(),
        "other.json",
        "\"workspaceIdentifier\" : \"my-workspace\",\n        \"version\"",
        "\"workspaceIdentifier\" : \"other-team\",\n        \"version\"",
    );
    let line = format!("evaluate {}", ASK.replace("run.json", "other.json"));
    let ran = countersign(folder.path(), &line);
    assert_eq!(ran.status, 2, "{}", ran.stdout);
    assert!(ran.stdout.contains("no-applicable-binding"), "{}", ran.stdout);
}

#[test]
fn a_decision_that_cannot_be_shown_gets_no_token() {
    let folder = folder();
    countersign(folder.path(), "keys generate --algorithm es256 --out key.pem");
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(format!("sign {ASK} --key key.pem").split_whitespace())
        .current_dir(folder.path())
        .stderr(full)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn the_same_question_has_the_same_bytes_for_an_answer() {
    let folder = folder();
    let line = format!("evaluate {ASK} --format json");
    let first = countersign(folder.path(), &line);
    let second = countersign(folder.path(), &line);
    assert_eq!((first.status, &first.stdout), (0, &second.stdout));
    let record: Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(record["outcome"], "approved");
    assert_eq!(record["claims"]["token"]["issued_at"], 1_790_000_000);
    assert_eq!(record["trace"].as_array().unwrap().len(), 4);
    let later = countersign(folder.path(), &line.replace("1790000000", "1790000001"));
    assert_ne!(first.stdout, later.stdout);
}

/// A token leaves after its record, in a log of the same form as a service's.
#[test]
fn a_signature_is_on_record_where_a_log_is_named() {
    let folder = folder();
    countersign(folder.path(), "keys generate --algorithm es256 --out key.pem");
    let sign = format!("sign {ASK} --key key.pem --log state/log");
    let signed = countersign(folder.path(), &sign);
    assert_eq!(signed.status, 0, "{}", signed.stderr);
    assert_eq!(signed.stdout.matches('.').count(), 2, "a token and nothing else");
    assert!(signed.stderr.contains("record 1 of the decision log"), "{}", signed.stderr);
    assert!(!signed.stderr.contains("no record"), "{}", signed.stderr);

    write_run(folder.path(), "other.json", OTHER_OWNER.0, OTHER_OWNER.1);
    let refuse = sign.replace("run.json", "other.json");
    let refused = countersign(folder.path(), &format!("{refuse} --format json"));
    let value: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((refused.status, &value["record"]["sequence"]), (2, &2.into()));
    assert!(value["record"]["hash"].is_string());

    let verified = countersign(folder.path(), "log verify state/log");
    assert_eq!(verified.status, 0, "{}{}", verified.stdout, verified.stderr);
    let shown = countersign(folder.path(), "log show state/log --format json");
    let records: Vec<Value> =
        shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(records.len(), 2, "{}", shown.stdout);
    let (first, second) = (&records[0]["record"], &records[1]["record"]);
    assert_eq!((&first["kind"], &first["time"]), (&"token".into(), &1_790_000_000.into()));
    assert_eq!(first["requester"]["command_line"]["command"], "sign");
    let digest = countersign::Digest::of(signed.stdout.trim_end().as_bytes()).to_string();
    assert_eq!(first["issued"]["token"], digest.as_str());
    assert_eq!(first["decision"]["outcome"], "approved");
    assert_eq!((second.get("issued"), &second["decision"]), (None, &value["decision"]));
    // The key of the checkpoints is beside the log, and not in it.
    assert!(folder.path().join("state/keys/checkpoint.pem").exists());
    assert!(!folder.path().join("state/log/checkpoint.pem").exists());
}

/// A log that another process writes stays unchanged, and no token is issued without a record.
#[test]
fn a_log_that_another_process_writes_is_not_touched() {
    let folder = folder();
    countersign(folder.path(), "keys generate --algorithm es256 --out key.pem");
    let path = folder.path().join("state/log");
    let held = countersign_decision_log::Folder::open(&path).unwrap();
    let sign = format!("sign {ASK} --key key.pem --log state/log");
    let refused = countersign(folder.path(), &sign);
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("another process is writing this log"), "{}", refused.stderr);
    let names: Vec<_> =
        fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["lock"]);
    drop(held);
    assert_eq!(countersign(folder.path(), &sign).status, 0);
    // Nor is one issued if the log cannot be written.
    fs::write(folder.path().join("file"), "").unwrap();
    let refused = countersign(folder.path(), &sign.replace("state/log", "file"));
    assert_eq!((refused.status, refused.stdout.as_str()), (1, ""));
}

#[test]
fn a_signature_needs_an_approval() {
    let folder = folder();
    let made = countersign(folder.path(), "keys generate --algorithm es256 --out key.pem");
    assert_eq!((made.status, made.stdout.as_str()), (0, ""));
    assert!(made.stderr.starts_with("wrote key.pem: ES256 key "), "{}", made.stderr);

    let signed = countersign(folder.path(), &format!("sign {ASK} --key key.pem"));
    assert_eq!(signed.status, 0, "{}", signed.stderr);
    assert_eq!(signed.stdout.matches('.').count(), 2, "a token and nothing else");
    assert!(signed.stderr.starts_with("approved"));

    let json = countersign(folder.path(), &format!("sign {ASK} --key key.pem --format json"));
    let value: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(value["token"].is_string());
    // Both formats state that there is no record.
    assert_eq!(value.get("record"), Some(&Value::Null));
    assert!(signed.stderr.contains("no record"), "{}", signed.stderr);
    let decided = countersign(folder.path(), &format!("evaluate {ASK} --format json"));
    assert_eq!(value["decision"], serde_json::from_str::<Value>(&decided.stdout).unwrap());
    let member = format!("\"decision\": {}", decided.stdout.trim_end().replace('\n', "\n  "));
    assert!(json.stdout.contains(&member), "the record keeps its order");

    write_run(folder.path(), "other.json", OTHER_OWNER.0, OTHER_OWNER.1);
    let ask = ASK.replace("run.json", "other.json");
    let refused = countersign(folder.path(), &format!("sign {ask} --key key.pem"));
    assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
    assert!(refused.stderr.contains("foreign-workspace"));
    let refused = countersign(folder.path(), &format!("sign {ask} --key key.pem --format json"));
    let value: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((refused.status, value.get("token")), (2, None));
    assert_eq!(value["decision"]["outcome"], "refused");
}

#[test]
fn keys_are_kept_and_published() {
    let folder = folder();
    let path = folder.path().join("key.pem");
    assert_eq!(countersign(folder.path(), "keys generate --out key.pem").status, 0);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = fs::read(&path).unwrap();
    let again = countersign(folder.path(), "keys generate --out key.pem");
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("key.pem: File exists"), "{}", again.stderr);
    assert_eq!(fs::read(&path).unwrap(), before);

    let jwks = countersign(folder.path(), "keys jwks key.pem key.pem");
    let value: Value = serde_json::from_str(&jwks.stdout).unwrap();
    assert_eq!(value["keys"].as_array().unwrap().len(), 1);
    let made = countersign(folder.path(), "keys generate --algorithm es256 --out b --format json");
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!((&made["file"], &made["algorithm"]), (&Value::from("b"), &Value::from("ES256")));
    assert_eq!((jwks.status, &value["keys"][0]["alg"]), (0, &Value::from("RS256")));
    assert!(value["keys"][0].get("d").is_none());
}

#[test]
fn usage_errors_are_1_and_help_is_0() {
    let folder = folder();
    for line in [
        "",
        "evaluat",
        "evaluate",
        "evaluate --policies",
        "inspect",
        &format!("evaluate {ASK} --ttl x"),
    ] {
        let ran = countersign(folder.path(), line);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{line}");
        assert!(
            ran.stderr.contains("--help") || ran.stderr.contains("Usage"),
            "{line}: {}",
            ran.stderr
        );
    }
    for line in [
        "--help",
        "help evaluate",
        "evaluate --help",
        "sign --help",
        "inspect --help",
        "keys generate --help",
        "completions --help",
        "--version",
    ] {
        let ran = countersign(folder.path(), line);
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{line}");
    }
    for line in ["evaluate", "sign", "inspect", "keys generate", "keys jwks", "completions"] {
        let ran = countersign(folder.path(), &format!("{line} --help"));
        assert!(ran.stdout.contains("Examples:\n"), "{line}");
    }
}

#[test]
fn completions_name_the_commands() {
    let folder = folder();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = countersign(folder.path(), &format!("completions {shell}"));
        assert_eq!(ran.status, 0);
        assert!(ran.stdout.contains("inspect"), "{shell}");
    }
}

#[test]
fn the_front_page_lists_the_commands() {
    let folder = folder();
    let help = countersign(folder.path(), "--help").stdout;
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let is_name = |line: &&str| line.starts_with("  ") && !line.starts_with("   ");
    let names: Vec<_> = commands
        .lines()
        .filter(is_name)
        .map(|line| line.split_whitespace().next().unwrap())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 20, "{help}");
    let page = include_str!("../../../README.md");
    let list = page.split("lists its subcommands:").nth(1).unwrap().split("\n\n").next().unwrap();
    let listed: Vec<_> = list.split('`').skip(1).step_by(2).collect();
    let [names, listed] = [names, listed].map(std::collections::BTreeSet::from_iter);
    assert_eq!(names, listed);
}

#[test]
fn the_demonstration_shows_all_three() {
    let folder = folder();
    let ran = countersign(folder.path(), "demo");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let place = |text: &str| ran.stdout.find(text).unwrap_or_else(|| panic!("{text}"));
    let approved = place("\napproved  APPLY");
    let refused = place("\nrefused  APPLY of a building block of workspace team-b");
    let narrowed = place("ttl       900 s, narrowed from the requested 7200 s");
    assert!(approved < refused && refused < narrowed);
    assert_eq!(ran.stdout.matches("verified as a cloud does").count(), 2);
}

#[test]
fn what_was_prepared_is_kept_for_the_next_time() {
    let folder = folder();
    let evaluate = |more: &str| countersign(folder.path(), &format!("evaluate {ASK} {more}"));
    let list = || -> Value {
        let ran = countersign(folder.path(), "cache list --format json");
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let first = evaluate("--no-cache");
    let none = countersign(folder.path(), "cache list");
    assert_eq!(none.status, 1);
    assert!(none.stderr.contains("there is no cache"), "{}", none.stderr);
    assert!(!folder.path().join("cache-home").exists(), "looking makes nothing");
    // Two at once, as where several jobs share a home folder.
    let ran = std::thread::scope(|scope| {
        let both = [scope.spawn(|| evaluate("")), scope.spawn(|| evaluate(""))];
        both.map(|ran| ran.join().unwrap())
    });
    for ran in ran.iter().chain([&evaluate("")]) {
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
        assert_eq!(ran.stdout, first.stdout);
    }
    let kept = list();
    // Four policies, before and after `configure`.
    assert_eq!(kept["entries"].as_array().unwrap().len(), 8);
    assert!(kept["entries"].as_array().unwrap().iter().all(|entry| entry["of"].is_object()));

    // A forged entry is not used, is listed as unusable, and is replaced.
    let cache = folder.path().join("cache-home/countersign");
    for file in fs::read_dir(&cache).unwrap() {
        let file = file.unwrap().path();
        let mut bytes = fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(file, bytes).unwrap();
    }
    assert!(list()["entries"].as_array().unwrap().iter().all(|entry| entry["of"].is_null()));
    let human = countersign(folder.path(), "cache list").stdout;
    assert_eq!(human.matches("not usable").count(), 8, "{human}");
    assert_eq!(evaluate("").stdout, first.stdout);
    assert!(list()["entries"].as_array().unwrap().iter().all(|entry| entry["of"].is_object()));

    fs::write(fs::read_dir(&cache).unwrap().next().unwrap().unwrap().path(), "").unwrap();
    let pruned = countersign(folder.path(), "cache prune");
    assert!(
        pruned.stdout.starts_with("removed 1 entry (0 B), left 7 entries ("),
        "{}",
        pruned.stdout
    );
    let pruned = countersign(folder.path(), "cache prune --max-bytes 0 --format json");
    let pruned: Value = serde_json::from_str(&pruned.stdout).unwrap();
    assert_eq!((&pruned["removed"], &pruned["left"]), (&7.into(), &0.into()));
}

#[test]
#[cfg(unix)]
fn an_unusable_cache_is_an_error_only_where_it_was_requested() {
    let folder = folder();
    let evaluate = |more: &str| countersign(folder.path(), &format!("evaluate {ASK} {more}"));
    // A file is where the folder should be.
    fs::write(folder.path().join("cache-home"), "").unwrap();
    let ran = evaluate("");
    assert_eq!(ran.status, 0);
    assert!(ran.stderr.starts_with("no cache: the cache: "), "{}", ran.stderr);
    let ran = evaluate("--cache run.json/within");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("error: the cache: run.json/within: "), "{}", ran.stderr);
    let ran = evaluate("--cache kept --cache-secret kept/secret");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("kept/secret: in the cache's folder"), "{}", ran.stderr);
}
