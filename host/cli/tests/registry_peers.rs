//! Policies through a real registry, beside the field's own tools: Debian's docker-registry, cosign, oras, and npm's
//! @sigstore/verify. `make registry` installs them.
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
#[path = "support/service.rs"]
mod service;
#[path = "support/shipped.rs"]
mod shipped;
mod support;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use registry::{Content, StandIn};
use serde_json::Value;
use service::{Served, configure};
use shipped::{REPOSITORY, ok, write_keys};
use support::{Ran, countersign};

/// The trusted root of nobody: keys alone are trusted.
const EMPTY_ROOT: &str = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"ctlogs":[],"certificateAuthorities":[],"timestampAuthorities":[]}"#;

/// The folder into which `make registry` installs the peers.
fn installed() -> PathBuf {
    let folder = std::env::var_os("COUNTERSIGN_E2E").expect("`make registry` says where they are");
    PathBuf::from(folder).join("registry")
}

/// Debian's registry, running on a folder.
struct DockerRegistry {
    host: String,
    child: Child,
}

impl DockerRegistry {
    fn start(folder: &Path) -> Self {
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let data = folder.join("registry-data");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n",
            data.display()
        );
        let path = folder.join("registry.yml");
        fs::write(&path, config).unwrap();
        let child = Command::new(installed().join("root/usr/bin/docker-registry"))
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { host: address.to_string(), child };
        for _ in 0..400 {
            if TcpStream::connect(address).is_ok() {
                return registry;
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("docker-registry does not listen");
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        // It may have exited before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one of the peers.
fn peer(folder: &Path, program: &str, line: &str) -> Ran {
    let output = Command::new(installed().join("root/usr/bin").join(program))
        .current_dir(folder)
        .args(line.split_whitespace())
        .env("COSIGN_PASSWORD", "")
        .env("HOME", folder)
        .output()
        .unwrap();
    Ran {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The verdict of `cosign verify` on a reference and a public key.
fn cosign_verifies(folder: &Path, reference: &str, key: &str) -> bool {
    let line = format!(
        "verify --key {key} --insecure-ignore-tlog --trusted-root empty-root.json {reference}"
    );
    let ran = peer(folder, "cosign", &line);
    assert!(ran.status == 0 || ran.stderr.contains("signatures"), "{}", ran.stderr);
    ran.status == 0
}

/// A folder with keys, and a policy that was pushed and signed by alice: the folder, and the reference without its scheme.
fn shipped_to(host: &str) -> (tempfile::TempDir, String) {
    let folder = support::folder();
    write_keys(folder.path());
    fs::write(folder.path().join("empty-root.json"), EMPTY_ROOT).unwrap();
    fs::remove_file(folder.path().join("countersign.toml")).unwrap();
    let line = format!("policy push same-workspace.wasm oci://{host}/{REPOSITORY}:1");
    let pinned = ok(countersign(folder.path(), &line)).stdout.trim().to_owned();
    (folder, pinned.strip_prefix("oci://").unwrap().to_owned())
}

/// Puts the manifest of an installation that trusts a key into a folder.
fn trust(folder: &Path, host: &str, reference: &str, keys: &[&str], threshold: usize) {
    let keys: Vec<_> = keys.iter().map(|key| format!("{{ file = \"{key}\" }}")).collect();
    let text = format!(
        "[issuer]\nurl = \"https://oidc.example.com\"\nmeshstack-id = \"demo\"\n\
         [[trusted-signer]]\nrepository = \"{host}\"\nthreshold = {threshold}\nkeys = [{}]\n\
         [[binding]]\nname = \"who\"\npolicy = \"oci://{reference}\"\nscope = \"all\"\n\
         limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}\n",
        keys.join(", ")
    );
    fs::write(folder.join("countersign.toml"), text).unwrap();
}

/// The whole way: published and signed here, verified by others' tools, and a token issued by it in another installation, from
/// the store alone.
#[test]
#[ignore = "needs docker-registry, cosign, oras and npm: `make registry` runs it"]
fn a_policy_is_shipped_through_a_registry() {
    let of_registry = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start(of_registry.path());
    let (folder, reference) = shipped_to(&registry.host);
    let here = folder.path();
    assert!(!cosign_verifies(here, &reference, "alice.pub"), "not signed yet");
    let installation = support::folder();
    let there = installation.path();
    write_keys(there);
    trust(there, &registry.host, &reference, &["alice.pub"], 1);
    let unsigned = countersign(there, "fetch");
    assert!(unsigned.stderr.contains("(unsigned)"), "{}", unsigned.stderr);
    ok(countersign(here, &format!("policy sign oci://{reference} --key alice.pem")));
    assert!(cosign_verifies(here, &reference, "alice.pub"));
    assert!(!cosign_verifies(here, &reference, "bob.pub"));
    sigstore_verifies(here, &registry.host, &reference);
    // Other tools pull what was pushed.
    let pulled = peer(here, "oras", &format!("pull --plain-http --output pulled {reference}"));
    assert_eq!(pulled.status, 0, "{}", pulled.stderr);
    let component = fs::read(here.join("same-workspace.wasm")).unwrap();
    assert_eq!(fs::read(here.join("pulled/same-workspace.wasm")).unwrap(), component);

    trust(there, &registry.host, &reference, &["bob.pub"], 1);
    let other = countersign(there, "fetch");
    assert!(other.stderr.contains("(signature-other-key)"), "{}", other.stderr);
    trust(there, &registry.host, &reference, &["alice.pub", "bob.pub"], 2);
    let below = countersign(there, "fetch");
    assert!(below.stderr.contains("(below-threshold)"), "{}", below.stderr);
    trust(there, &registry.host, &reference, &["alice.pub"], 1);
    ok(countersign(there, "fetch"));
    drop(registry);
    // The registry is stopped, and no code is compiled yet.
    let api_key = configure(there, "");
    let served = Served::start(there);
    assert_eq!(served.register(&api_key, &service::run()).status, 201);
    let token = served.token();
    assert_eq!(token.status, 200, "{}", token.text);
    assert!(token.body["access_token"].as_str().is_some_and(|token| token.len() > 100));
    assert_eq!(served.stop(), 0);
}

/// The bundle is one to Sigstore's own library, which finds the statement about this manifest in it.
fn sigstore_verifies(folder: &Path, host: &str, reference: &str) {
    let repository = format!("{host}/{REPOSITORY}");
    let json = |line: &str| -> Value {
        let ran = peer(folder, "oras", line);
        assert_eq!(ran.status, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let kind = shipped::BUNDLE;
    let found =
        json(&format!("discover --plain-http --format json --artifact-type {kind} {reference}"));
    let referrers = ["referrers", "manifests"].iter().find_map(|name| found[*name].as_array());
    let [signature] = referrers.unwrap().as_slice() else { panic!("{found}") };
    let digest = signature["digest"].as_str().unwrap();
    let manifest = json(&format!("manifest fetch --plain-http {repository}@{digest}"));
    let blob = manifest["layers"][0]["digest"].as_str().unwrap();
    let line = format!("blob fetch --plain-http --output bundle.json {repository}@{blob}");
    assert_eq!(peer(folder, "oras", &line).status, 0);
    let verify = |key: &str| {
        let output = Command::new("node")
            .arg(installed().join("node/verify.mjs"))
            .args([folder.join("bundle.json"), folder.join(key)])
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (verified, statement) = verify("alice.pub");
    let hex = reference.split_once("@sha256:").unwrap().1;
    assert!(verified && statement.contains(hex), "{statement}");
    assert!(!verify("bob.pub").0);
}

/// A signature of cosign's counts as one of ours, beside ours.
#[test]
#[ignore = "needs docker-registry and cosign: `make registry` runs it"]
fn signatures_of_cosign_are_accepted() {
    let of_registry = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start(of_registry.path());
    let (folder, reference) = shipped_to(&registry.host);
    let here = folder.path();
    let made = peer(here, "cosign", "generate-key-pair");
    assert_eq!(made.status, 0, "{}", made.stderr);
    let line = format!(
        "sign --key cosign.key --tlog-upload=false --use-signing-config=false --yes {reference}"
    );
    let signed = peer(here, "cosign", &line);
    assert_eq!(signed.status, 0, "{}", signed.stderr);
    ok(countersign(here, &format!("policy verify oci://{reference} --key cosign.pub")));
    ok(countersign(here, &format!("policy sign oci://{reference} --key alice.pem")));
    let both = "--key cosign.pub --key alice.pub --threshold 2";
    ok(countersign(here, &format!("policy verify oci://{reference} {both}")));
    assert!(cosign_verifies(here, &reference, "cosign.pub"));
    assert!(cosign_verifies(here, &reference, "alice.pub"));
    // The old form is refused by its name.
    let line = format!("policy push ttl-ceiling.wasm oci://{}/policies/old:1", registry.host);
    let old = ok(countersign(here, &line)).stdout.trim().to_owned();
    let line = format!(
        "sign --key cosign.key --tlog-upload=false --use-signing-config=false --new-bundle-format=false --yes {}",
        old.strip_prefix("oci://").unwrap()
    );
    let signed = peer(here, "cosign", &line);
    assert_eq!(signed.status, 0, "{}", signed.stderr);
    let refused = countersign(here, &format!("policy verify {old} --key cosign.pub"));
    assert!(refused.stdout.contains("(signature-legacy)"), "{}{}", refused.stdout, refused.stderr);
}

/// `make publish` publishes and signs every policy, and changes nothing when it runs again.
#[test]
#[ignore = "needs docker-registry: `make registry` runs it"]
fn the_policies_of_this_repository_are_published() {
    let of_registry = tempfile::tempdir().unwrap();
    let registry = DockerRegistry::start(of_registry.path());
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    write_keys(here);
    fs::create_dir(here.join("policies")).unwrap();
    for (name, component) in countersign_policy_artifacts::POLICIES {
        fs::write(here.join("policies").join(format!("{name}.wasm")), component).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/publish.sh");
    let publish = || {
        let output = Command::new("sh")
            .arg(script.canonicalize().unwrap())
            .args([env!("CARGO_BIN_EXE_countersign"), &registry.host])
            .args(["policies", "no-engines", "alice.pem"])
            .current_dir(here)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let references = publish();
    assert_eq!(references.lines().count(), countersign_policy_artifacts::POLICIES.len());
    assert_eq!(publish(), references);
    for reference in references.lines() {
        ok(countersign(here, &format!("policy verify {reference} --key alice.pub")));
    }
}

/// The stand-in that other tests use is a registry to other tools too, with the referrers API and without it.
#[test]
#[ignore = "needs oras and cosign: `make registry` runs it"]
fn the_stand_in_is_a_registry_to_others() {
    for has_referrers in [true, false] {
        let stand_in = StandIn::start(Content::default(), has_referrers);
        let (folder, reference) = shipped_to(&stand_in.host());
        let here = folder.path();
        ok(countersign(here, &format!("policy sign oci://{reference} --key alice.pem")));
        assert!(cosign_verifies(here, &reference, "alice.pub"));
        sigstore_verifies(here, &stand_in.host(), &reference);
        // Content that oras publishes and attaches does not hide it.
        fs::write(here.join("note.txt"), "a note").unwrap();
        let line =
            format!("attach --plain-http --artifact-type application/note {reference} note.txt");
        let attached = peer(here, "oras", &line);
        assert_eq!(attached.status, 0, "{}", attached.stderr);
        let by_api = stand_in.seen().iter().any(|seen| seen.target.contains("/referrers/"));
        assert!(by_api);
        ok(countersign(here, &format!("policy verify oci://{reference} --key alice.pub")));
        let pulled = peer(here, "oras", &format!("pull --plain-http --output pulled {reference}"));
        assert_eq!(pulled.status, 0, "{}", pulled.stderr);
    }
}
