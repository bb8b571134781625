//! The way to registries: credentials, which are shown where they belong alone, mirrors, and registries that are busy or slow.
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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_registry::{CredentialFiles, RegistryClient, RegistryOptions, Timing};
use registry::{Auth, Content, Seen, StandIn, answer};
use serde_json::{Value, json};
use shipped::{Installation, PASSWORD, REPOSITORY, layer, ok, published, refused, world};
use support::{Ran, command};

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
