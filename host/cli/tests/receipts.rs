//! `countersign log prove` and `tiles`: what a service has on record is proved to somebody who has no log.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};
use support::{Ran, countersign, folder};

const SIGN: &str = "sign --policies countersign.toml --run run.json --ttl 900 --now 1790000000 \
                    --audience aws-workload-identity-provider:demo --key key.pem --log state/log";

fn sign(folder: &Path, times: usize) {
    if !folder.join("key.pem").exists() {
        countersign(folder, "keys generate --algorithm es256 --out key.pem");
    }
    for _ in 0..times {
        let signed = countersign(folder, SIGN);
        assert_eq!(signed.status, 0, "{}", signed.stderr);
    }
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn shown(folder: &Path) -> Vec<Value> {
    let shown = countersign(folder, "log show state/log --format json");
    shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn origin(folder: &Path) -> String {
    let keys = fs::read_to_string(folder.join("state/log/verifier-keys")).unwrap();
    keys.split_once('+').unwrap().0.to_owned()
}

#[test]
fn a_token_s_record_is_proved_without_the_log() {
    let folder = folder();
    let at = folder.path();
    sign(at, 3);
    let records = shown(at);
    let jti = records[1]["record"]["issued"]["jti"].as_str().unwrap();
    let printed = countersign(at, &format!("log prove state/log --jti {jti}"));
    assert_eq!((printed.status, printed.stderr.as_str()), (0, ""));
    fs::write(at.join("token.tlog-proof"), &printed.stdout).unwrap();
    let written =
        countersign(at, &format!("log prove state/log --jti {jti} --to out --format json"));
    let written = json_of(&written);
    assert_eq!(written["origin"], json!(origin(at)));
    assert_eq!(written["size"], 3);
    assert_eq!(
        written["proofs"],
        json!([{"sequence": 2, "proof": "out/2.tlog-proof", "record": "out/2.json"}])
    );
    assert_eq!(fs::read_to_string(at.join("out/2.tlog-proof")).unwrap(), printed.stdout);
    let record: Value = serde_json::from_slice(&fs::read(at.join("out/2.json")).unwrap()).unwrap();
    assert_eq!(record, records[1]["record"]);
    // Elsewhere: with the proof, the record, and the keys alone.
    let elsewhere = tempfile::TempDir::new().unwrap();
    let there = elsewhere.path();
    for (file, from) in [
        ("proof", "token.tlog-proof"),
        ("record", "out/2.json"),
        ("verifier-keys", "state/log/verifier-keys"),
        ("checkpoint-key.json", "state/log/checkpoint-key.json"),
    ] {
        fs::copy(at.join(from), there.join(file)).unwrap();
    }
    for key in ["verifier-keys", "checkpoint-key.json"] {
        let ran = countersign(
            there,
            &format!("log verify --proof proof --key {key} --record record --format json"),
        );
        assert_eq!(ran.status, 0, "{ran:?}");
        let verified = json_of(&ran);
        assert_eq!((&verified["sequence"], &verified["size"]), (&json!(2), &json!(3)));
        assert_eq!(verified["hash"], records[1]["hash"]);
        assert_eq!((&verified["record"], &verified["witnesses"]), (&json!("verified"), &json!([])));
        assert_eq!(verified["origin"], json!(origin(at)));
    }
    let ran = countersign(there, "log verify --proof proof --key verifier-keys");
    assert!(ran.stdout.contains("give --record to verify the record itself"), "{ran:?}");
    // Another record, another key, none, a changed proof.
    fs::write(there.join("other"), "{}").unwrap();
    fs::write(there.join("none"), "").unwrap();
    let other = tempfile::TempDir::new().unwrap();
    support::fill(other.path());
    sign(other.path(), 1);
    fs::copy(other.path().join("state/log/verifier-keys"), there.join("foreign")).unwrap();
    fs::copy(other.path().join("state/log/checkpoint-key.json"), there.join("foreign.json"))
        .unwrap();
    fs::write(there.join("changed"), printed.stdout.replace("index 1", "index 0")).unwrap();
    for (line, expected) in [
        ("--proof proof --key verifier-keys --record other", "not the record of this proof"),
        ("--proof proof --key foreign", "no key of the log `countersign-decision-log/"),
        ("--proof proof --key foreign.json", "none of the given keys has signed it"),
        ("--proof proof --key none", "no key of a log is given"),
        ("--proof proof --key record", "expected a JWK Set"),
        ("--proof proof --key other", "expected a JWK Set"),
        ("--proof proof", "no key of a log is given"),
        ("--proof record --key verifier-keys", "not a proof"),
        ("--proof changed --key verifier-keys", "the entry is not in the log's tree"),
        ("--proof absent --key verifier-keys", "absent"),
        ("--proof proof --key verifier-keys --at-least 1", "cannot be used with"),
        ("--record record folder", "cannot be used with"),
        ("", "FOLDER"),
    ] {
        let ran = countersign(there, &format!("log verify {line}"));
        assert!(ran.status == 1 && ran.stdout.is_empty(), "{line}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{line}: {ran:?}");
    }
    // Questions of the log.
    for (line, expected) in [
        ("--jti 00000000-0000-4000-8000-000000000000", "no record matches"),
        ("--sequence 4", "no record matches"),
        ("--run b3116611-e08b-4b00-91c5-10365b25a6ef", "3 records match"),
        ("--sequence 1 --jti x", "cannot be used with"),
        ("", "--jti"),
        ("--sequence 1 --tiles nowhere", "no tiles here"),
    ] {
        let ran = countersign(at, &format!("log prove state/log {line}"));
        assert!(ran.status != 0 && ran.stdout.is_empty(), "{line}: {ran:?}");
        assert!(ran.stderr.contains(expected), "{line}: {ran:?}");
    }
    let ran =
        countersign(at, "log prove state/log --run b3116611-e08b-4b00-91c5-10365b25a6ef --to out");
    assert_eq!((ran.status, ran.stdout.lines().count()), (0, 3), "{ran:?}");
}

#[test]
fn tiles_are_published_and_proofs_are_made_with_them() {
    let folder = folder();
    let at = folder.path();
    sign(at, 2);
    let written = json_of(&countersign(at, "log tiles state/log --to tiles --format json"));
    assert_eq!(written["origin"], json!(origin(at)));
    let expected = json!({"before": 0, "size": 2, "files": 1, "witnesses": []});
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(written[name], *value, "{name}");
    }
    assert_eq!(fs::read(at.join("tiles/tile/0/000.p/2")).unwrap().len(), 64);
    sign(at, 1);
    // The tiles are behind: what they have is proved by their checkpoint, and the rest is not yet.
    let ran = countersign(at, "log prove state/log --sequence 2 --tiles tiles");
    assert!(ran.stdout.contains("\n2\n") && ran.status == 0, "{ran:?}");
    let ran = countersign(at, "log prove state/log --sequence 3 --tiles tiles");
    assert!(ran.stderr.contains("not covered by a checkpoint yet"), "{ran:?}");
    let ran = countersign(at, "log tiles state/log --to tiles");
    assert!(ran.stdout.contains("1 more than before"), "{ran:?}");
    // Nothing is published that the witnesses have not cosigned.
    let published = fs::read(at.join("tiles/checkpoint")).unwrap();
    sign(at, 1);
    let witness = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = witness.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let (mut stream, _) = witness.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let answer = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let key = countersign_receipts::VerifierKey::cosignature("w.example", [7; 32]).unwrap();
    let policy = format!("witness w {key} http://{address}/prefix/\nquorum w\n");
    fs::write(at.join("policy"), policy).unwrap();
    let ran = countersign(at, "log tiles state/log --to tiles --witnesses policy");
    assert!(ran.status == 1 && ran.stdout.is_empty(), "{ran:?}");
    assert!(ran.stderr.contains("w: 404: it does not know this log's origin"), "{ran:?}");
    assert_eq!(fs::read(at.join("tiles/checkpoint")).unwrap(), published);
    let request = answering.join().unwrap();
    assert!(request.starts_with("POST /prefix/add-checkpoint "), "{request}");
    // The service can be written to meanwhile, and is not changed.
    assert_eq!(countersign(at, "log verify state/log").status, 0);
    let ran = countersign(at, "log prove state/log --sequence 1 --tiles tiles --to out");
    assert_eq!(ran.status, 0, "{ran:?}");
    let line = "log verify --proof out/1.tlog-proof --key state/log/verifier-keys";
    assert_eq!(countersign(at, line).status, 0);
    // A quorum that nobody has met.
    let ran = countersign(at, &format!("{line} --witnesses policy"));
    assert!(ran.status == 1 && ran.stderr.contains("0 of 1 witnesses have cosigned"), "{ran:?}");
    fs::write(at.join("policy"), "quorum none").unwrap();
    assert_eq!(countersign(at, &format!("{line} --witnesses policy")).status, 0);
}

/// No two checkpoints of one origin can be inconsistent: a log that may go another way than before gets another one.
#[test]
fn a_log_that_was_begun_anew_or_restored_has_another_origin() {
    let folder = folder();
    let at = folder.path();
    sign(at, 2);
    let first = origin(at);
    sign(at, 1);
    assert_eq!(origin(at), first);
    countersign(at, "log prove state/log --sequence 1 --to early");
    assert_eq!(countersign(at, "log tiles state/log --to tiles").status, 0);
    // As from a backup, which does not have the key of the notes.
    let private = at.join("state/keys/log-notes.key");
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = fs::read(&private).unwrap();
    fs::remove_file(&private).unwrap();
    sign(at, 1);
    let second = origin(at);
    assert_ne!(second, first);
    // Proofs of before still verify, and those of now go on from the same tree.
    countersign(at, "log prove state/log --sequence 1 --to late");
    for proof in ["early", "late"] {
        let line = format!("log verify --proof {proof}/1.tlog-proof --key state/log/verifier-keys");
        let ran = countersign(at, &line);
        assert_eq!(ran.status, 0, "{ran:?}");
    }
    assert_eq!(countersign(at, "log verify state/log").status, 0);
    let ran = countersign(at, "log tiles state/log --to tiles");
    assert!(ran.status == 1 && ran.stderr.contains("the checkpoint of another log"), "{ran:?}");
    // The old key put back beside the new log signs nothing.
    fs::write(&private, kept).unwrap();
    sign(at, 1);
    let third = origin(at);
    assert!(third != first && third != second);
    // Without the checkpoint that is kept beside the keys, the log may have been cut.
    fs::remove_file(at.join("state/keys/last-checkpoint.json")).unwrap();
    sign(at, 1);
    let fourth = origin(at);
    assert_ne!(fourth, third);
    // A new log with the old keys.
    fs::rename(at.join("state/log"), at.join("old")).unwrap();
    fs::remove_file(at.join("state/keys/last-checkpoint.json")).unwrap();
    sign(at, 1);
    assert_ne!(origin(at), fourth);
    assert_eq!(countersign(at, "log verify old").status, 0);
    // Neither log says anything of the other one, which is not taken for agreement.
    let both = countersign(at, "log verify old state/log");
    assert!(both.status == 0 && both.stdout.contains("not compared: none of the logs"), "{both:?}");
    assert!(!both.stdout.contains("anchors agree"), "{both:?}");
    // Damage in one leaves the report of all.
    let segment = at.join("old/00000000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let both = countersign(at, "log verify old state/log");
    assert_eq!(both.status, 1, "{both:?}");
    let is_of = |name: &str, text: &str| {
        both.stdout.lines().any(|line| line.starts_with(name) && line.contains(text))
    };
    assert!(is_of("old: ", "damaged:") && is_of("state/log: ", "whole"), "{both:?}");
    // The key of the notes is a secret of its owner.
    fs::write(&private, "PRIVATE+KEY+x").unwrap();
    let ran = countersign(at, SIGN);
    assert!(ran.status == 1 && ran.stderr.contains("log-notes.key"), "{ran:?}");
}
