//! Policies of a registry, through the command line: published, signed, fetched and decided by, and every answer of a hostile
//! registry refused before a byte of a component is looked at.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/hostile_registry.rs"]
mod hostile_registry;
#[path = "support/registry.rs"]
mod registry;
#[path = "support/shipped.rs"]
mod shipped;
mod support;

use std::fs;
use std::thread;

use hostile_registry::{Hostile, hostile_registries};
use registry::{Auth, Content, StandIn};
use serde_json::{Value, json};
use shipped::{Installation, REPOSITORY, ok, published};
use support::{Ran, countersign};

const PASSWORD: &str = "a-password-that-must-not-be-shown";

/// Every hostile registry, with and without the API for referrers, gets its code, nothing of the component is kept, and no run is approved.
#[test]
fn a_hostile_registry_brings_nothing_into_the_store() {
    published();
    let table = hostile_registries();
    let table: Vec<_> = table.iter().flat_map(|of| [(of, true), (of, false)]).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((of, has_referrers)) =
                    table.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
                {
                    refuse(of, *has_referrers);
                }
            });
        }
    });
}

/// Codes are documented: each row of the page is a code of the source, and each code of the tables has a row.
#[test]
fn every_code_is_on_its_page() {
    let page = include_str!("../../../docs/codes.md");
    let page = page.split("## Policies of registries").nth(1).unwrap();
    let page = page.split("\n## ").next().unwrap();
    let rows: std::collections::BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(str::to_owned)
        .collect();
    let source = [
        include_str!("../../registry/src/bundle.rs"),
        include_str!("../../registry/src/client.rs"),
        include_str!("../../registry/src/fetch.rs"),
        include_str!("../../registry/src/layout.rs"),
        include_str!("../../registry/src/store.rs"),
        include_str!("../../registry/src/store/load.rs"),
        include_str!("../../registry/src/trust.rs"),
    ];
    let code = regex::Regex::new(r#"=> "([a-z]+(?:-[a-z]+)*)""#).unwrap();
    let mut codes: std::collections::BTreeSet<_> = source
        .iter()
        .flat_map(|text| code.captures_iter(text).map(|found| found[1].to_owned()))
        .collect();
    codes.extend(["not-locked", "lock-mismatch"].map(str::to_owned));
    assert_eq!(rows, codes);
    for of in hostile_registries() {
        assert!(rows.contains(of.code), "{}", of.code);
    }
}

fn refuse(of: &Hostile, has_referrers: bool) {
    let (mut content, digest) = published();
    let digest = (of.content)(&mut content).unwrap_or(digest);
    let registry = StandIn::start(with_index(content, has_referrers), has_referrers);
    registry.ask_for(Auth::Basic { user: "reader", password: PASSWORD });
    if let Some(fault) = of.fault {
        registry.fault(move |seen| seen.authorization.as_ref().and_then(|_| fault(seen)));
    }
    let target = format!("@{digest}");
    let installation = Installation::new(&registry, &target, "timeout-seconds = 1");
    installation.pin(&registry, &target, "timeout-seconds = 1", of.signers);
    log_in(&installation, &registry);
    let ran = fetch(&installation);
    let Hostile { name, code, .. } = of;
    assert_eq!(ran.status, 1, "{name}: {}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&format!("({code})")), "{name}: {}", ran.stderr);
    for secret in [PASSWORD, "s3cret", "Basic ", "authorization"] {
        assert!(!ran.stderr.contains(secret), "{name}: {}", ran.stderr);
    }
    assert_eq!(installation.stored(), Vec::<String>::new(), "{name}");
    let decided = with_credentials(&installation, EVALUATE);
    assert_eq!((decided.status, decided.stdout.as_str()), (1, ""), "{name}: {}", decided.stderr);
    assert!(decided.stderr.contains("not in the store"), "{name}: {}", decided.stderr);
}

const EVALUATE: &str = "evaluate --policies countersign.toml --run run.json --audience aws-workload-identity-provider:demo --ttl 900";

/// Adds the index by tag of what refers to the manifests, for a registry that has no API for it.
fn with_index(mut content: Content, has_referrers: bool) -> Content {
    if has_referrers {
        return content;
    }
    let mut subjects: std::collections::BTreeMap<String, Vec<Value>> = Default::default();
    for ((_, target), (kind, bytes)) in &content.manifests {
        let parsed: Value = serde_json::from_slice(bytes).unwrap();
        let Some(subject) = parsed.pointer("/subject/digest").and_then(Value::as_str) else {
            continue;
        };
        if target.starts_with("sha256:") {
            subjects.entry(subject.replace(':', "-")).or_default().push(json!({
                "mediaType": kind, "digest": target, "size": bytes.len(),
                // As cosign 2.5 writes it.
                "artifactType": "application/vnd.oci.empty.v1+json",
            }));
        }
    }
    for (tag, manifests) in subjects {
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": manifests });
        let bytes = index.to_string().into_bytes();
        content.manifests.insert((REPOSITORY.to_owned(), tag), (kind.to_owned(), bytes));
    }
    content
}

/// Keeps the credential of the registry, as `docker login` does.
fn log_in(installation: &Installation, registry: &StandIn) {
    use base64::Engine as _;
    let auth = base64::prelude::BASE64_STANDARD.encode(format!("reader:{PASSWORD}"));
    let file = json!({ "auths": { registry.host(): { "auth": auth } } });
    fs::write(installation.path().join("auth.json"), file.to_string()).unwrap();
}

fn fetch(installation: &Installation) -> Ran {
    with_credentials(installation, "fetch")
}

fn with_credentials(installation: &Installation, line: &str) -> Ran {
    let output = support::command(installation.path())
        .env("REGISTRY_AUTH_FILE", installation.path().join("auth.json"))
        .args(line.split_whitespace())
        .output()
        .unwrap();
    Ran {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A policy that is published and signed decides in an installation that has only the key, with the registry gone.
#[test]
fn a_pinned_policy_decides_without_its_registry() {
    for has_referrers in [true, false] {
        let (content, digest) = published();
        let registry = StandIn::start(with_index(content, has_referrers), has_referrers);
        let installation = Installation::new(&registry, &format!("@{digest}"), "");
        let fetched = ok(installation.run("fetch --format json"));
        let json: Value = serde_json::from_str(&fetched.stdout).unwrap();
        let policy = &json["policies"][0];
        assert_eq!(policy["manifest"], digest.to_string());
        assert_eq!((&policy["fetched"], &policy["revision"]), (&json!(true), &json!(1)));
        assert_eq!(policy["signers"].as_array().unwrap().len(), 1);
        drop(registry);
        let decided = installation.evaluate();
        assert_eq!(decided.status, 0, "{}{}", decided.stdout, decided.stderr);
        assert!(decided.stdout.contains("approved"), "{}", decided.stdout);
        let again = ok(installation.run("fetch --format json"));
        let json: Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!(json["policies"][0]["fetched"], false);
    }
}

#[test]
fn publishing_is_reproducible_and_counts_revisions() {
    let registry = StandIn::start(Content::default(), false);
    let folder = support::folder();
    fs::remove_file(folder.path().join("countersign.toml")).unwrap();
    let reference = format!("oci://{}/{REPOSITORY}:1", registry.host());
    let push = |line: &str| {
        let ran = ok(countersign(
            folder.path(),
            &format!("policy push {line} {reference} --format json"),
        ));
        let json: Value = serde_json::from_str(&ran.stdout).unwrap();
        (json["revision"].as_u64().unwrap(), json["manifest"].as_str().unwrap().to_owned())
    };
    let (first, digest) = push("same-workspace.wasm");
    assert_eq!((first, push("same-workspace.wasm")), (1, (1, digest.clone())));
    assert_eq!(
        digest,
        published().1.to_string(),
        "the same policy has the same bytes at any registry"
    );
    assert_eq!(push("ttl-ceiling.wasm").0, 2);
    assert_eq!(push("ttl-ceiling.wasm --revision 9").0, 9);
}
