//! Policies in languages, through a registry: the text and its engine's digest travel together, and the engine once.
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

use registry::{Content, StandIn};
use shipped::{ok, write_keys};
use support::countersign;

/// A policy of each language is created, built, published, signed and fetched, and its cases pass where it arrives.
#[test]
#[ignore = "needs the engines of languages: `make languages` runs it"]
fn a_policy_in_each_language_is_shipped() {
    let registry = StandIn::start(Content::default(), true);
    let host = registry.host();
    for language in ["rego", "cedar", "cel", "javascript", "python"] {
        let folder = support::folder();
        let here = folder.path();
        write_keys(here);
        fs::remove_file(here.join("countersign.toml")).unwrap();
        ok(countersign(here, &format!("policy new mine --lang {language}")));
        ok(countersign(here, "policy build mine"));
        let push = |line: &str| {
            ok(countersign(here, &format!("policy push {line}"))).stdout.trim().to_owned()
        };
        let engine = push(&format!("mine/policy.wasm oci://{host}/engines/{language}:1"));
        let needed =
            countersign(here, &format!("policy push mine oci://{host}/policies/{language}:1"));
        assert!(needed.stderr.contains("--engine is needed"), "{}", needed.stderr);
        let text = push(&format!("mine oci://{host}/policies/{language}:1 --engine {engine}"));
        ok(countersign(here, &format!("policy sign {engine} --key bob.pem")));
        ok(countersign(here, &format!("policy sign {text} --key alice.pem")));
        let manifest = format!(
            "[issuer]\nurl = \"https://oidc.example.com\"\nmeshstack-id = \"demo\"\n\
             [[trusted-signer]]\nrepository = \"{host}/policies\"\nkeys = [{{ file = \"alice.pub\" }}]\n\
             [[trusted-signer]]\nrepository = \"{host}/engines\"\nkeys = [{{ file = \"bob.pub\" }}]\n\
             [[binding]]\nname = \"mine\"\npolicy = \"{text}\"\nscope = \"all\"\n\
             limits = {{ profile = \"interpreter\", prepare-ms = 120_000, wall-clock-ms = 10_000 }}\n"
        );
        fs::write(here.join("countersign.toml"), manifest).unwrap();
        ok(countersign(here, "fetch"));
        let config = "policies = \"countersign.toml\"\nstate = \"state\"\n[listen]\naddress = \"127.0.0.1:0\"\n";
        fs::write(here.join("issuer.toml"), config).unwrap();
        // Prepares it, and runs the cases that were published with it.
        let staged = ok(countersign(here, "release stage --config issuer.toml --format json"));
        let json: serde_json::Value = serde_json::from_str(&staged.stdout).unwrap();
        let passed: u64 =
            json["cases"].as_object().unwrap().values().filter_map(|n| n.as_u64()).sum();
        assert!(passed > 0, "{language}: {}", staged.stdout);
    }
    let engines = registry
        .content()
        .manifests
        .keys()
        .filter(|(name, target)| name.starts_with("engines/") && target.starts_with("sha256:"))
        .count();
    assert!(engines >= 5);
}
