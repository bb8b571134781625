//! Policies of a registry over time: pins that move, versions that do not come back, signers one after the other, and processes
//! that are killed.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/registry.rs"]
mod registry;
#[path = "support/shipped.rs"]
mod shipped;
mod support;

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use countersign::Digest;
use registry::{Content, Reply, Seen, StandIn};
use serde_json::{Value, json};
use shipped::{
    Forged, Installation, REPOSITORY, add_bundle, changed, ok, published, put_manifest, refused,
    world, write_keys,
};
use support::{command, countersign};

/// Puts a newer revision under the tag, signed by alice, and returns its digest.
fn newer(registry: &StandIn, revision: u64) -> Digest {
    let mut digest = None;
    registry.change(|content| {
        let new = changed(content, |manifest| {
            manifest["annotations"]["io.countersign.revision"] = revision.to_string().into();
        });
        tag(content, new);
        digest = Some(new);
    });
    digest.unwrap()
}

fn tag(content: &mut Content, digest: Digest) {
    let manifest = content.manifests[&(REPOSITORY.to_owned(), digest.to_string())].clone();
    content.manifests.insert((REPOSITORY.to_owned(), "1".to_owned()), manifest);
}

#[test]
fn a_tag_is_what_the_lock_file_says() {
    let (content, first) = published();
    let registry = StandIn::start(content, true);
    let installation = Installation::new(&registry, ":1", "");
    let reference = format!("oci://{}/{REPOSITORY}:1", registry.host());
    refused(&installation.run("fetch"), "not-locked");
    refused(&installation.evaluate(), "not-locked");
    let outdated = installation.run("policy outdated --format json");
    assert_eq!(outdated.status, 1);
    ok(installation.run("policy lock"));
    let lock = fs::read_to_string(installation.path().join("countersign.lock")).unwrap();
    assert!(
        lock.contains(&format!("reference = \"{reference}\"\nmanifest = \"{first}\"")),
        "{lock}"
    );
    ok(installation.run("policy outdated"));
    assert_eq!(installation.evaluate().status, 0);
    // The tag moves. What decides does not, until somebody says so.
    let second = newer(&registry, 2);
    ok(installation.run("policy lock"));
    let unchanged = fs::read_to_string(installation.path().join("countersign.lock")).unwrap();
    assert_eq!(unchanged, lock);
    let outdated = installation.run("policy outdated --format json");
    let json: Value = serde_json::from_str(&outdated.stdout).unwrap();
    assert_eq!(outdated.status, 1);
    assert_eq!(json["policies"][0]["current"], second.to_string());
    assert_eq!(json["policies"][0]["locked"], first.to_string());
    ok(installation.run(&format!("policy update {reference}")));
    assert_eq!(installation.evaluate().status, 0);
    let moved = fs::read_to_string(installation.path().join("countersign.lock")).unwrap();
    assert!(moved.contains(&second.to_string()) && !moved.contains(&first.to_string()), "{moved}");
    // The registry serves the older one again, which was signed.
    registry.change(|content| tag(content, first));
    refused(&installation.run("policy update"), "older-than-floor");
    assert_eq!(fs::read_to_string(installation.path().join("countersign.lock")).unwrap(), moved);
    // Also where somebody writes it into the lock file by hand.
    fs::write(installation.path().join("countersign.lock"), &lock).unwrap();
    refused(&installation.run("fetch"), "older-than-floor");
    refused(&installation.evaluate(), "older-than-floor");
    ok(installation.run("fetch --allow-older"));
    assert_eq!(installation.evaluate().status, 0);
    // A lock file that says something else than the registry.
    let other = lock.replace("revision = 1", "revision = 7");
    fs::write(installation.path().join("countersign.lock"), other).unwrap();
    refused(&installation.evaluate(), "lock-mismatch");
}

/// Two bindings may use two versions, and what neither uses does not come back.
#[test]
fn a_floor_is_the_lowest_that_is_in_use() {
    let (content, first) = published();
    let registry = StandIn::start(content, true);
    let (second, third) = (newer(&registry, 2), newer(&registry, 3));
    let installation = Installation::new(&registry, &format!("@{second}"), "");
    let host = registry.host();
    let other = format!(
        "\n[[binding]]\nname = \"other\"\npolicy = \"oci://{host}/{REPOSITORY}@{third}\"\nscope = \"all\"\nmode = \"shadow\"\n"
    );
    let manifest = installation.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap() + &other;
    fs::write(&manifest, text).unwrap();
    ok(installation.run("fetch"));
    assert_eq!(installation.evaluate().status, 0);
    let signers = "keys = [{ file = \"alice.pub\" }]";
    installation.pin(&registry, &format!("@{first}"), "", signers);
    refused(&installation.run("fetch"), "older-than-floor");
    installation.pin(&registry, &format!("@{third}"), "", signers);
    ok(installation.run("fetch"));
    installation.pin(&registry, &format!("@{second}"), "", signers);
    refused(&installation.run("fetch"), "older-than-floor");
    // A floor that cannot be read is none that lets everything in.
    for floor in fs::read_dir(installation.path().join("policy-store/floors")).unwrap() {
        fs::write(floor.unwrap().path(), "{}").unwrap();
    }
    installation.pin(&registry, &format!("@{third}"), "", signers);
    let ran = installation.run("fetch");
    refused(&ran, "floor-damaged");
    assert!(ran.stderr.contains("floors"), "{}", ran.stderr);
    refused(&installation.evaluate(), "floor-damaged");
    // Fetching does not say what it was; somebody has to.
    ok(installation.run("fetch --allow-older"));
    assert_eq!(installation.evaluate().status, 0);
    installation.pin(&registry, &format!("@{second}"), "", signers);
    refused(&installation.run("fetch"), "older-than-floor");
}

/// Two of three have to sign; the second signature is added to the first.
#[test]
fn several_signers_sign_one_after_the_other() {
    for has_referrers in [true, false] {
        let registry = StandIn::start(Content::default(), has_referrers);
        let folder = support::folder();
        write_keys(folder.path());
        fs::remove_file(folder.path().join("countersign.toml")).unwrap();
        let reference = format!("oci://{}/{REPOSITORY}:1", registry.host());
        let pushed =
            ok(countersign(folder.path(), &format!("policy push same-workspace.wasm {reference}")));
        let pinned = pushed.stdout.trim();
        let digest = pinned.split_once('@').unwrap().1;
        let installation = Installation::new(&registry, &format!("@{digest}"), "");
        let keys =
            ["alice", "bob", "mallory"].map(|key| format!("{{ file = \"{key}.pub\" }}")).join(", ");
        let signers = format!("threshold = 2\nkeys = [{keys}]");
        installation.pin(&registry, &format!("@{digest}"), "", &signers);
        refused(&installation.run("fetch"), "unsigned");
        ok(countersign(folder.path(), &format!("policy sign {pinned} --key alice.pem")));
        refused(&installation.run("fetch"), "below-threshold");
        ok(countersign(folder.path(), &format!("policy sign {pinned} --key bob.pem")));
        let fetched = ok(installation.run("fetch --format json"));
        let json: Value = serde_json::from_str(&fetched.stdout).unwrap();
        assert_eq!(json["policies"][0]["signers"].as_array().unwrap().len(), 2);
        let verified = ok(countersign(
            folder.path(),
            &format!(
                "policy verify {pinned} --key alice.pub --key bob.pub --threshold 2 --format json"
            ),
        ));
        let json: Value = serde_json::from_str(&verified.stdout).unwrap();
        assert_eq!((&json["verified"], &json["code"]), (&json!(true), &Value::Null));
        let inspected =
            ok(countersign(folder.path(), &format!("policy inspect {pinned} --format json")));
        let json: Value = serde_json::from_str(&inspected.stdout).unwrap();
        assert_eq!((&json["signatures"], &json["name"]), (&json!(2), &json!("same-workspace")));
        let wrong =
            countersign(folder.path(), &format!("policy verify {pinned} --key mallory.pub"));
        assert!(
            wrong.status == 1 && wrong.stdout.contains("signature-other-key"),
            "{}",
            wrong.stdout
        );
    }
}

/// A process that is killed while it waits for any answer, or in the middle of a layer, leaves whole content alone, and the next
/// one brings the rest.
#[test]
fn a_fetch_that_is_killed_leaves_whole_content() {
    let (registry, installation) = world("");
    ok(installation.run("fetch"));
    let steps = registry.seen().len();
    assert!(steps >= 5, "{:?}", registry.seen());
    for (step, in_the_middle) in (0..steps).flat_map(|step| [(step, false), (step, true)]) {
        let (registry, installation) = world("");
        let (reached, at_step) = mpsc::channel();
        let asked = AtomicUsize::new(0);
        registry.fault(move |_: &Seen| {
            if asked.fetch_add(1, Ordering::SeqCst) < step {
                return None;
            }
            let _ = reached.send(());
            Some(if in_the_middle { Reply::Endless } else { Reply::Hang })
        });
        let mut child = command(installation.path())
            .arg("fetch")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        at_step.recv().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        // Whole, whatever is there; and nothing decides by a part.
        installation.stored();
        let decided = installation.evaluate();
        assert_eq!(decided.status, 1, "{step}: {}", decided.stdout);
        registry.no_fault();
        ok(installation.run("fetch"));
        assert_eq!(installation.evaluate().status, 0, "{step}");
    }
}

/// A text that is no reference, or a rule that cannot be meant, is an error of the manifest.
#[test]
fn rules_that_contradict_each_other_are_refused() {
    let (registry, installation) = world("");
    let (_, digest) = published();
    let target = format!("@{digest}");
    for (target, signers, expected) in [
        (":", "keys = [{ file = \"alice.pub\" }]", "policy: "),
        ("@sha256:00", "keys = [{ file = \"alice.pub\" }]", "policy: "),
        (&target, "threshold = 0\nkeys = [{ file = \"alice.pub\" }]", "threshold of 0 of 1 keys"),
        (&target, "threshold = 2\nkeys = [{ file = \"alice.pub\" }]", "threshold of 2 of 1 keys"),
        (&target, "keys = []", "threshold of 1 of 0 keys"),
        (
            &target,
            "threshold = 2\nkeys = [{ file = \"alice.pub\" }, { file = \"alice.pub\" }]",
            "one key is listed twice",
        ),
        (&target, "keys = [{ file = \"alice.pem\" }]", "BEGIN PUBLIC KEY"),
        (&target, "keys = [{ file = \"nobody.pub\" }]", "nobody.pub"),
        (
            &target,
            "keys = [{ file = \"alice.pub\", not-after = 2026-01-01T00:00:00 }]",
            "a date and time in UTC",
        ),
        (
            &target,
            "keys = [{ file = \"alice.pub\", not-before = 2027-01-01T00:00:00Z, not-after = 2026-01-01T00:00:00Z }]",
            "not after its `not-before`",
        ),
        (&target, "key = \"alice.pub\"", "unknown field"),
    ] {
        installation.pin(&registry, target, "", signers);
        for ran in [installation.run("fetch"), installation.evaluate()] {
            assert_eq!(ran.status, 1, "{signers}");
            assert!(ran.stderr.contains(expected), "{signers}: {}", ran.stderr);
        }
    }
    assert!(registry.seen().is_empty());
    // A rule about something else is about nothing here, and a wider one does not weaken a narrower one.
    let host = registry.host();
    let manifest = installation.path().join("countersign.toml");
    let narrow = "keys = [{ file = \"bob.pub\" }]";
    installation.pin(&registry, &target, "", narrow);
    let text = fs::read_to_string(&manifest).unwrap();
    let wide = format!(
        "[[trusted-signer]]\nrepository = \"{host}\"\nkeys = [{{ file = \"alice.pub\" }}]\n[[binding]]"
    );
    fs::write(&manifest, text.replace("[[binding]]", &wide)).unwrap();
    refused(&installation.run("fetch"), "signature-other-key");
    for other in
        [format!("{host}/policies/same"), format!("{host}/policy"), "other.example".to_owned()]
    {
        let repository = format!("repository = \"{host}/policies\"");
        fs::write(&manifest, text.replace(&repository, &format!("repository = \"{other}\"")))
            .unwrap();
        refused(&installation.run("fetch"), "no-trusted-signer");
    }
}

/// Content that others have put beside a good signature changes nothing.
#[test]
fn foreign_signatures_do_not_hide_a_good_one() {
    let (registry, installation) = world("");
    let (_, digest) = published();
    registry.change(|content| {
        for number in 0..8 {
            let mut forged = Forged::of(Digest::of(&[number]));
            forged.key = "mallory";
            add_bundle(content, digest, &forged.bundle());
        }
        let subject = json!({ "mediaType": "x", "digest": digest.to_string(), "size": 1 });
        let empty = json!({ "mediaType": "x", "digest": Digest::of(b"{}").to_string(), "size": 2 });
        let other = json!({
            "schemaVersion": 2, "mediaType": shipped::MANIFEST, "artifactType": "application/spdx+json",
            "config": empty, "layers": [], "subject": subject,
        });
        let _ = put_manifest(content, other.to_string().into_bytes());
        // The good one in another bundle, as anybody can write it.
        let mut again = Forged::of(digest).bundle();
        for number in 0..4 {
            again["verificationMaterial"]["publicKey"]["hint"] = number.to_string().into();
            add_bundle(content, digest, &again);
        }
    });
    ok(installation.run("fetch"));
    // Nor are they kept, where so many are read and no more.
    let kept = installation.path().join("policy-store/signatures");
    let kept = kept.join(shipped::hex(digest));
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 1);
    let entry = fs::read_dir(&kept).unwrap().next().unwrap().unwrap().file_name();
    fs::remove_file(installation.path().join("policy-store/blobs").join(shipped::hex(digest)))
        .unwrap();
    ok(installation.run("fetch"));
    assert_eq!(installation.evaluate().status, 0);
    let again: Vec<_> = fs::read_dir(kept).unwrap().map(|of| of.unwrap().file_name()).collect();
    assert_eq!(again, [entry], "the one that was kept");
}
