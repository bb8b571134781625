//! Policies of a registry over time: credentials, mirrors, retries, pins that move, versions that do not come back, folders that
//! are carried, and processes that are killed.
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
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use countersign::Digest;
use countersign_registry::{CredentialFiles, RegistryClient, RegistryOptions, Timing};
use registry::{Auth, Content, Reply, Seen, StandIn, answer};
use serde_json::{Value, json};
use shipped::{
    Forged, Installation, REPOSITORY, add_bundle, changed, layer, ok, published, put_manifest,
    write_keys,
};
use support::{Ran, command, countersign};

const PASSWORD: &str = "a-password-that-must-not-be-shown";

/// The published policy in a registry with the referrers API, and an installation that pins it.
fn world(more: &str) -> (StandIn, Installation) {
    let (content, digest) = published();
    let registry = StandIn::start(content, true);
    let installation = Installation::new(&registry, &format!("@{digest}"), more);
    (registry, installation)
}

/// A command with the credential of a registry, as `docker login` keeps it.
fn logged_in(installation: &Installation, auths: Value, line: &str) -> Ran {
    fs::write(installation.path().join("config.json"), auths.to_string()).unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = command(installation.path())
        .env_remove("REGISTRY_AUTH_FILE")
        .env_remove("XDG_RUNTIME_DIR")
        .env("HOME", installation.path())
        .env("DOCKER_CONFIG", installation.path())
        .env("PATH", format!("{}:{path}", installation.path().display()))
        .args(line.split_whitespace())
        .output()
        .unwrap();
    Ran {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn auths(registry: &StandIn) -> Value {
    use base64::Engine as _;
    let auth = base64::prelude::BASE64_STANDARD.encode(format!("reader:{PASSWORD}"));
    json!({ "auths": { registry.host(): { "auth": auth } } })
}

#[track_caller]
fn refused(ran: &Ran, code: &str) {
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&format!("({code})")), "{}", ran.stderr);
    assert!(!ran.stderr.contains(PASSWORD), "{}", ran.stderr);
}

#[test]
fn a_credential_is_used_where_it_is_for() {
    let (registry, installation) = world("");
    registry.ask_for(Auth::Basic { user: "reader", password: PASSWORD });
    refused(&logged_in(&installation, json!({}), "fetch"), "registry-denied");
    ok(logged_in(&installation, auths(&registry), "fetch"));
    // A helper, by its name.
    let (registry, installation) = world("");
    let realm = format!("http://{}/token", registry.host());
    registry.ask_for(Auth::Token { realm, user: "reader", password: PASSWORD });
    let helper = installation.path().join("docker-credential-stand-in");
    let script = format!(
        "#!/bin/sh\nread host\n[ \"$1 $host\" = 'get {}' ] || exit 1\n\
         echo '{{\"ServerURL\":\"x\",\"Username\":\"reader\",\"Secret\":\"{PASSWORD}\"}}'\n",
        registry.host()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    ok(logged_in(&installation, json!({ "credsStore": "stand-in" }), "fetch"));
    fs::write(&helper, format!("#!/bin/sh\necho {PASSWORD} >&2\necho {PASSWORD}\nexit 1\n"))
        .unwrap();
    let (other, installation_of_other) = world("");
    other.ask_for(Auth::Basic { user: "reader", password: PASSWORD });
    let helper_of_other = installation_of_other.path().join("docker-credential-stand-in");
    fs::copy(&helper, helper_of_other).unwrap();
    let ran = logged_in(&installation_of_other, json!({ "credsStore": "stand-in" }), "fetch");
    refused(&ran, "registry-credentials");
}

/// A registry names its token endpoint; one elsewhere gets no credential, unless the operator has named it.
#[test]
fn a_credential_is_shown_to_no_other_host() {
    for is_named in [false, true] {
        let (registry, installation) = world("");
        let endpoint = StandIn::start(Content::default(), true);
        let realm = format!("http://{}/token", endpoint.host());
        registry.ask_for(Auth::Token { realm: realm.clone(), user: "reader", password: PASSWORD });
        endpoint.ask_for(Auth::Token { realm, user: "reader", password: PASSWORD });
        if is_named {
            let hosts = format!("token-hosts = [\"{}\"]", endpoint.host());
            let (_, digest) = published();
            let signers = "keys = [{ file = \"alice.pub\" }]";
            installation.pin(&registry, &format!("@{digest}"), &hosts, signers);
        }
        let ran = logged_in(&installation, auths(&registry), "fetch");
        let shown = endpoint.seen().iter().any(|seen| seen.authorization.is_some());
        assert_eq!(shown, is_named);
        match is_named {
            true => drop(ok(ran)),
            false => {
                refused(&ran, "registry-denied");
                assert!(ran.stderr.contains("token-hosts"), "{}", ran.stderr);
            }
        }
    }
    // Nor over HTTP beyond this machine, also where the operator has named the host: everybody on the way could read it.
    let (registry, installation) = world("");
    let proxy = StandIn::start(Content::default(), true);
    let challenge = "Bearer realm=\"http://auth.example/token\"";
    proxy.fault(move |seen| {
        Some(match seen.target.starts_with("http://auth.example/") {
            true => answer(200, &[], json!({ "token": "anonymous" }).to_string()),
            false => answer(401, &[("www-authenticate", challenge)], ""),
        })
    });
    let more = format!(
        "proxy = \"http://{}\"\ntoken-hosts = [\"auth.example\"]\n\
         [[registry]]\nhost = \"auth.example\"\nplain-http = true\n",
        proxy.host()
    );
    let target = format!("@{}", published().1);
    installation.pin(&registry, &target, &more, "keys = [{ file = \"alice.pub\" }]");
    let ran = logged_in(&installation, auths(&registry), "fetch");
    refused(&ran, "registry-denied");
    assert!(ran.stderr.contains("without TLS"), "{}", ran.stderr);
    let seen = proxy.seen();
    assert!(seen.iter().any(|seen| seen.target.starts_with("http://auth.example/")), "{seen:?}");
    let is_credential = |seen: &Seen| seen.authorization.iter().any(|of| of.starts_with("Basic"));
    assert!(!seen.iter().any(is_credential), "{seen:?}");
    // A layer may be elsewhere, and the credential stays.
    let (registry, installation) = world("");
    let (content, _) = published();
    let storage = StandIn::start(content.clone(), true);
    registry.ask_for(Auth::Basic { user: "reader", password: PASSWORD });
    let (host, digest) = (storage.host(), layer(&content));
    registry.fault(move |seen| {
        let is_layer = seen.target.contains("/blobs/") && seen.target.ends_with(&digest);
        let to = format!("http://{host}{}?X-Signature=secret", seen.target);
        (is_layer && seen.authorization.is_some()).then(|| answer(307, &[("location", &to)], ""))
    });
    ok(logged_in(&installation, auths(&registry), "fetch"));
    let seen = storage.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.authorization.is_none()), "{seen:?}");
    // Nor does a place for an upload, which would be shown the credential and the policy.
    registry.fault(|seen| {
        (seen.method == "POST").then(|| answer(202, &[("location", "https://other.invalid/x")], ""))
    });
    fs::remove_file(installation.path().join("countersign.toml")).unwrap();
    let line = format!("policy push ttl-ceiling.wasm oci://{}/policies/x:1", registry.host());
    refused(&logged_in(&installation, auths(&registry), &line), "registry-redirect");
}

#[test]
fn a_registry_that_is_busy_is_asked_again() {
    let (registry, installation) = world("");
    let asked = Arc::new(AtomicUsize::new(0));
    let of_fault = Arc::clone(&asked);
    registry.fault(move |seen| {
        let number = of_fault.fetch_add(1, Ordering::SeqCst);
        let statuses = [(503, "0"), (429, "0"), (500, "")];
        let (status, after) = *statuses.get(number)?;
        let _ = seen;
        let headers: &[(&str, &str)] =
            if after.is_empty() { &[] } else { &[("retry-after", after)] };
        Some(answer(status, headers, ""))
    });
    ok(installation.run("fetch"));
    assert!(asked.load(Ordering::SeqCst) > 4);
    // Not for ever.
    let (registry, installation) = world("");
    registry.fault(|_| Some(answer(503, &[("retry-after", "0")], "")));
    refused(&installation.run("fetch"), "registry-status");
    assert_eq!(registry.seen().len(), 4);
}

/// `timeout-seconds` is about the wait for the head of an answer too.
#[test]
fn a_slow_registry_can_have_longer() {
    let (content, digest) = published();
    let registry = StandIn::start(content, true);
    registry.fault(|_| {
        std::thread::sleep(Duration::from_millis(500));
        None
    });
    let timing = Timing { idle: Duration::from_millis(50), attempts: 1, ..Timing::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let repository = format!("{}/{REPOSITORY}", registry.host()).parse().unwrap();
    let resolved = |timeout: Option<Duration>| {
        let name = registry.host().parse().unwrap();
        let options = RegistryOptions { timeout, ..RegistryOptions::of(name) };
        let client = RegistryClient::new(vec![options], CredentialFiles::default(), timing);
        let resolved = runtime.block_on(client.resolve(&repository, &"1".parse().unwrap()));
        resolved.map_err(|error| error.code())
    };
    assert_eq!(resolved(None), Err("registry-timeout"));
    assert_eq!(resolved(Some(Duration::from_secs(60))), Ok(digest));
}

#[test]
fn a_mirror_is_asked_first_and_trusted_with_nothing() {
    let (content, digest) = published();
    for mirror_content in [content.clone(), Content::default()] {
        let has_all = !mirror_content.blobs.is_empty();
        let (mirror, registry) =
            (StandIn::start(mirror_content, true), StandIn::start(content.clone(), true));
        let more = format!("mirrors = [\"{}\"]", mirror.host());
        let installation = Installation::new(&registry, &format!("@{digest}"), &more);
        ok(installation.run("fetch"));
        assert!(!mirror.seen().is_empty());
        assert_eq!(registry.seen().is_empty(), has_all);
    }
    // A tag is the registry's own to say: a mirror that lags would bring an older version.
    let (mirror, registry) = (StandIn::start(content.clone(), true), StandIn::start(content, true));
    let more = format!("mirrors = [\"{}\"]", mirror.host());
    let installation = Installation::new(&registry, ":1", &more);
    ok(installation.run("policy lock"));
    let asked_for_tag =
        |of: &StandIn| of.seen().iter().any(|seen| seen.target.ends_with("/manifests/1"));
    assert!(asked_for_tag(&registry) && !asked_for_tag(&mirror));
}

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
