//! The service as an operator runs it: started, killed, reloaded, stopped.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use countersign_decision_log::Reader;
use rustix::process::Signal;
use serde_json::{Value, json};
use service::{AWS, Answer, Client, RUN_ID, Served, configure, run};
use support::{countersign, folder, with_stdin};

/// The tokens on record, which must still be there after any crash.
fn tokens_on_record(folder: &Path) -> HashSet<String> {
    let mut reader = Reader::new(&folder.join("state/log"), 1);
    let mut tokens = HashSet::new();
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        if let Some(digest) = record["issued"]["token"].as_str() {
            tokens.insert(digest.to_owned());
        }
    }
    tokens
}

fn digest(answer: &Answer) -> String {
    countersign::Digest::of(answer.body["access_token"].as_str().unwrap().as_bytes()).to_string()
}

/// Killed under load repeatedly: no token without a durable record, no acknowledged run or record is
/// lost, and the chain is intact. `KILLS=1000 make kills` does it a thousand times.
#[test]
fn killing_it_loses_nothing() {
    let kills = std::env::var("KILLS").map_or(12, |kills| kills.parse().unwrap());
    let folder = folder();
    let limits = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\nrun-per-second = 1_000_000\nrun-burst = 1_000_000\n\
                  [tokens]\nes256-audiences = [\"aws-workload-identity-provider:demo\"]";
    let api_key = configure(folder.path(), limits);
    let issued = Mutex::new(Vec::new());
    let (mut runs, mut recoveries): (Vec<String>, usize) = (Vec::new(), 0);
    for kill in 0..kills {
        let served = Served::start(folder.path());
        recoveries += usize::from(served.logged().contains("quarantined"));
        let registered = served.register(&api_key, &run());
        assert!(matches!(registered.status, 200 | 201), "{registered:?}");
        // Everything acknowledged before an earlier kill is there.
        let id = format!("{:08x}-0000-4000-8000-000000000000", kill + 1);
        if let Some(before) = runs.last() {
            assert_eq!(Client::new(served.address).unwrap().token(before).unwrap().status, 200);
        }
        let address = served.address;
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let Ok(mut client) = Client::new(address) else { return };
                    while let Ok(answer) = client.token(RUN_ID) {
                        assert_eq!(answer.status, 200, "{answer:?}");
                        issued.lock().unwrap().push(digest(&answer));
                    }
                });
            }
            let mut another = run();
            another["metadata"]["uuid"] = json!(id);
            assert_eq!(served.register(&api_key, &another).status, 201);
            runs.push(id);
            // Killed under load, at varying points of a batch.
            let before = issued.lock().unwrap().len();
            let started = Instant::now();
            while issued.lock().unwrap().len() == before {
                assert!(started.elapsed() < Duration::from_secs(60), "no token is given");
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros(5_000 + kill * 7919 % 45_000));
            served.kill();
        });
    }
    let issued = issued.into_inner().unwrap();
    let served = Served::start(folder.path());
    for id in &runs {
        assert_eq!(Client::new(served.address).unwrap().token(id).unwrap().status, 200);
    }
    assert_eq!(served.stop(), 0);
    let on_record = tokens_on_record(folder.path());
    let lost = issued.iter().filter(|digest| !on_record.contains(*digest)).count();
    assert_eq!(lost, 0, "of {}", issued.len());
    let verified = countersign(folder.path(), "log verify state/log");
    assert_eq!(verified.status, 0, "{}", verified.stdout);
    // And each decision is what the policies say, to the byte, however they are compiled.
    for optimization in ["speed", "none"] {
        let line = format!("replay state/log -p countersign.toml --optimization {optimization}");
        let replayed = countersign(folder.path(), &line);
        assert_eq!(replayed.status, 0, "{replayed:?}");
    }
    println!(
        "killed {kills} times: {} tokens left, all on record of {}; {} runs, none lost; {recoveries} \
         incomplete records quarantined; {}",
        issued.len(),
        on_record.len(),
        runs.len(),
        verified.stdout.trim_end()
    );
}

#[test]
fn policies_are_read_again_and_the_last_good_ones_stay() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let served = Served::start(folder.path());
    assert_eq!(served.register(&api_key, &run()).status, 201);
    assert_eq!(served.token().status, 200);
    let manifest = folder.path().join("countersign.toml");
    let good = fs::read_to_string(&manifest).unwrap();

    // Reloads on a signal, whatever the modification times.
    let seen = served.logged().len();
    fs::write(&manifest, good.replace("\"my-workspace\" }", "\"another\" }")).unwrap();
    served.signal(Signal::HUP);
    served.wait_for("reloaded policies", seen);
    let refused = served.token();
    assert_eq!(refused.status, 403, "{refused:?}");

    // An invalid manifest changes nothing.
    let seen = served.logged().len();
    fs::write(&manifest, "nonsense").unwrap();
    served.wait_for("failed to reload policies", seen);
    assert_eq!(served.token().body["reasons"], refused.body["reasons"]);

    // A changed file is enough.
    let seen = served.logged().len();
    fs::write(&manifest, &good).unwrap();
    served.wait_for("reloaded policies", seen);
    assert_eq!(served.token().status, 200);

    // Another issuer identifier requires a restart.
    let seen = served.logged().len();
    fs::write(&manifest, good.replace("oidc.example.com", "other.example.com")).unwrap();
    served.wait_for("failed to reload policies", seen);
    assert_eq!(served.token().status, 200);

    // A removed API key is reloaded.
    let seen = served.logged().len();
    fs::write(&manifest, &good).unwrap();
    let config = folder.path().join("issuer.toml");
    let text = fs::read_to_string(&config).unwrap();
    // Even if the policies are invalid at the same time.
    fs::write(&manifest, "nonsense").unwrap();
    fs::write(&config, text.split("[[api-key]]").next().unwrap()).unwrap();
    served.signal(Signal::HUP);
    served.wait_for("failed to reload policies", seen);
    assert_eq!(served.token().status, 200);
    assert_eq!(served.register(&api_key, &run()).status, 401);
    assert_eq!(served.stop(), 0);
}

#[test]
fn settings_are_checked_by_their_schema_at_the_start_and_when_they_change() {
    let folder = folder();
    configure(folder.path(), "");
    // A schema that is not used is in the log.
    let schema = json!({ "typ": "object" }).to_string();
    let component = countersign_hostile_policies::guest::with_schema(&schema);
    fs::write(folder.path().join("x.wasm"), component).unwrap();
    let manifest = folder.path().join("countersign.toml");
    let binding = "\n[[binding]]\nname = \"x\"\npolicy = \"x.wasm\"\nscope = \"all\"\n\
                   limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }\n";
    let good = fs::read_to_string(&manifest).unwrap() + binding;
    let bad = good.replace("[\"team-network\"]", "[\"Team\"]");
    assert_ne!(good, bad);
    let problem = "/also/0: expected text that matches `^[a-z0-9]+(-[a-z0-9]+)*$`, found `Team`";
    fs::write(&manifest, &bad).unwrap();
    for line in ["serve --config issuer.toml", "check --config issuer.toml"] {
        let ran = countersign(folder.path(), line);
        assert_eq!(ran.status, 1, "{line}");
        assert!(ran.stderr.contains(problem), "{line}: {}", ran.stderr);
    }
    fs::write(&manifest, &good).unwrap();
    let served = Served::start(folder.path());
    let warning = "the settings schema of the policy `guest` is not used: ";
    assert_eq!(served.logged().matches(warning).count(), 1, "{}", served.logged());
    let seen = served.logged().len();
    fs::write(&manifest, &bad).unwrap();
    served.wait_for("failed to reload policies", seen);
    assert!(served.logged()[seen..].contains(problem), "{}", served.logged());
    assert_eq!(served.stop(), 0);
}

#[test]
fn a_log_is_looked_at_and_checked_from_the_command_line() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let served = Served::start(folder.path());
    served.register(&api_key, &run());
    let issued = served.token();
    let token = issued.body["access_token"].as_str().unwrap();
    let mut stranger = run();
    stranger["metadata"]["uuid"] = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee".into();
    stranger["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-b".into();
    served.register(&api_key, &stranger);
    let mut client = Client::new(served.address).unwrap();
    assert_eq!(client.token("eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee").unwrap().status, 403);

    // Also while it is written.
    let shown = countersign(folder.path(), "log show state/log");
    let lines: Vec<_> = shown.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{}", shown.stdout);
    // The subject format is recorded at each start.
    assert!(lines[0].ends_with(" subjects"), "{}", lines[0]);
    assert!(lines[1].ends_with(&format!(" registered run {RUN_ID}")), "{}", lines[1]);
    assert!(
        lines[2].contains("of my-workspace by my-workspace") && lines[2].contains("issued RS256")
    );
    assert!(lines[4].contains("by team-b") && lines[4].contains("refused"), "{}", lines[4]);
    let of_run = countersign(folder.path(), &format!("log show state/log --run {RUN_ID}"));
    assert_eq!(of_run.stdout.lines().collect::<Vec<_>>(), lines[1..3]);

    // The token verifies with the published keys, as a cloud verifies it.
    let keys = client.ask("GET", "/jwks.json", "", "").unwrap().body;
    fs::write(folder.path().join("jwks.json"), keys.to_string()).unwrap();
    let line =
        format!("verify --key-set jwks.json --issuer https://oidc.example.com --audience {AWS}");
    let verified = with_stdin(folder.path(), &line, token);
    assert_eq!(verified.status, 0, "{}", verified.stderr);
    let claims: Value = serde_json::from_str(&verified.stdout).unwrap();
    for line in [
        line.replace(AWS, "other"),
        line.replace("oidc.", "other."),
        format!("{line} --now 1"),
        format!("{line} --now 9999999999"),
    ] {
        assert_eq!(with_stdin(folder.path(), &line, token).status, 1, "{line}");
    }

    let of_token =
        format!("log show state/log --format json --jti {}", claims["jti"].as_str().unwrap());
    let of_token: Value =
        serde_json::from_str(&countersign(folder.path(), &of_token).stdout).unwrap();
    assert_eq!(of_token["sequence"], 3);
    assert_eq!(of_token["record"]["issued"]["token"], digest(&issued));
    let digest = format!("log show state/log --digest {}", digest(&issued));
    assert_eq!(countersign(folder.path(), &digest).stdout.lines().count(), 1);
    assert_eq!(countersign(folder.path(), "log show state/log --jti other").status, 1);
    let tail = countersign(folder.path(), "log tail state/log -n 1");
    assert_eq!(tail.stdout.trim_end(), lines[4]);
    let subjects = countersign(folder.path(), "log subjects state/log --format json");
    let subjects: Value = serde_json::from_str(&subjects.stdout).unwrap();
    assert_eq!(
        (&subjects[0]["profile"], &subjects[0]["tokens"]),
        (&json!("by-definition"), &json!(1))
    );
    assert_eq!(served.stop(), 0);

    let verified = countersign(folder.path(), "log verify state/log --format json");
    assert_eq!(verified.status, 0, "{}", verified.stdout);
    let report: Value = serde_json::from_str(&verified.stdout).unwrap();
    assert_eq!((&report["records"], &report["checkpoints"]), (&json!(5), &json!(1)));
    assert_eq!(countersign(folder.path(), "log verify state/log --at-least 6").status, 1);
    // A sample of bytes; the log's own tests flip each.
    for entry in fs::read_dir(folder.path().join("state/log")).unwrap() {
        let path = entry.unwrap().path();
        // Public keys for whoever has no log: nothing of the log follows from them.
        if path.ends_with("verifier-keys") {
            continue;
        }
        let whole = fs::read(&path).unwrap();
        for place in (0..whole.len()).step_by(whole.len() / 12 + 1) {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&path, changed).unwrap();
            let verified = countersign(folder.path(), "log verify state/log");
            assert_eq!(verified.status, 1, "byte {place} of {}", path.display());
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(countersign(folder.path(), "log verify state/log").status, 0);
}

#[test]
fn keys_are_listed_and_rotated_from_the_command_line() {
    let folder = folder();
    configure(folder.path(), "");
    let served = Served::start(folder.path());
    let list = || -> Value {
        let ran = countersign(folder.path(), "keys list --config issuer.toml --format json");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let before = list();
    assert_eq!(before.as_array().unwrap().len(), 1);
    assert_eq!((&before[0]["phase"], &before[0]["algorithm"]), (&json!("active"), &json!("RS256")));
    let rotated = countersign(folder.path(), "keys rotate --config issuer.toml");
    assert_eq!(rotated.status, 0, "{}", rotated.stderr);
    let after = list();
    assert_eq!(after[1]["phase"], "published");
    let day = after[1]["active"].as_u64().unwrap() - after[1]["published"].as_u64().unwrap();
    assert_eq!(day, 86_400);
    assert_eq!(after[0]["retired"], after[1]["active"]);
    let again = countersign(folder.path(), "keys rotate --config issuer.toml");
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("already published"), "{}", again.stderr);
    let more = countersign(folder.path(), "keys rotate --config issuer.toml --algorithm es256");
    assert_eq!(more.status, 0, "{}", more.stderr);
    // In other hands: all of them.
    let at_once = countersign(folder.path(), "keys rotate --config issuer.toml --at-once");
    assert_eq!(at_once.status, 0, "{}", at_once.stderr);
    let now = list();
    let of =
        |phase: &str| now.as_array().unwrap().iter().filter(|key| key["phase"] == phase).count();
    assert_eq!((of("active"), of("removed")), (2, now.as_array().unwrap().len() - 2));
    assert_eq!(served.stop(), 0);
}

#[test]
fn what_cannot_be_served_says_why() {
    let folder = folder();
    configure(folder.path(), "");
    let config = fs::read_to_string(folder.path().join("issuer.toml")).unwrap();
    let refuses = |from: &str, to: &str, expected: &str| {
        let changed = config.replacen(from, to, 1);
        assert_ne!(changed, config);
        fs::write(folder.path().join("other.toml"), changed).unwrap();
        let ran = countersign(folder.path(), "serve --config other.toml");
        assert_eq!(ran.status, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    };
    refuses("countersign.toml", "missing.toml", "missing.toml");
    refuses("policies =", "police =", "unknown field `police`");
    refuses("[listen]", "[listen]\nkey = \"x\"", "belong together");
    refuses("\"runs\", ", "\"rums\", ", "unknown variant `rums`");
    refuses("[listen]", "[tokens]\nmax-ttl-seconds = 100_000\n[listen]", "is not in 1 to 86400");
    refuses(
        "[listen]",
        "[keys]\nverifier-cache-seconds = 10\nmax-age-seconds = 11\n[listen]",
        "sign before",
    );
    refuses(
        "[listen]",
        "[[trusted-issuer]]\nurl = \"http://x.example\"\n[listen]",
        "expected an https URL",
    );
    let manifest = folder.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("url = ", "# url = ", 1)).unwrap();
    let ran = countersign(folder.path(), "serve --config issuer.toml");
    assert!(ran.status == 1 && ran.stderr.contains("needs `url`"), "{}", ran.stderr);
}
