//! A service whose policies are in a registry: it starts without it, keeps what decides whatever the registry does, and stages
//! what moves.
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
#[path = "support/shown.rs"]
mod shown;
mod support;

use std::fs;
use std::thread;
use std::time::Duration;

use countersign::Digest;
use registry::{Reply, StandIn};
use serde_json::{Value, json};
use service::{Served, configure};
use shipped::{Forged, Installation, REPOSITORY, add_bundle, changed, ok, published, unsign};
use shown::Shown;

const FOLLOWS: &str = "[releases]\nfollow-seconds = 1\ncandidate-percent = 0\n";
const ONE_ALICE: &str = "keys = [{ file = \"alice.pub\" }]";
const TIMEOUT: &str = "timeout-seconds = 1";

/// Waits until `shown` shows something.
fn wait_for<T>(served: &Served, what: &str, shown: impl Fn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(shown) = shown() {
            return shown;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}: {}", served.logged());
}

/// The value of a metric.
fn metric(served: &Served, api_key: &str, name: &str) -> Option<u64> {
    let text = served.metrics(api_key);
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
}

/// The candidate of the service's releases.
fn candidate(installation: &Installation) -> Option<String> {
    let shown = installation.run("release status --config issuer.toml --format json");
    let json: Value = serde_json::from_str(&shown.stdout).unwrap_or_default();
    let release = json["candidate"]["release"].as_str().or(json["candidate"].as_str());
    release.map(str::to_owned)
}

fn newer(registry: &StandIn, revision: u64) -> Digest {
    let mut digest = None;
    registry.change(|content| {
        let new = changed(content, |manifest| {
            manifest["annotations"]["io.countersign.revision"] = revision.to_string().into();
        });
        let manifest = content.manifests[&(REPOSITORY.to_owned(), new.to_string())].clone();
        content.manifests.insert((REPOSITORY.to_owned(), "1".to_owned()), manifest);
        digest = Some(new);
    });
    digest.unwrap()
}

/// Puts another component under the tag, as revision 2: the one that narrows TTLs.
fn another_policy(registry: &StandIn) {
    let component = fs::read(support::folder().path().join("ttl-ceiling.wasm")).unwrap();
    registry.change(|content| {
        let blob = Digest::of(&component).to_string();
        content.blobs.insert((REPOSITORY.to_owned(), blob.clone()), component.clone());
        let new = changed(content, |manifest| {
            manifest["layers"][0]["digest"] = blob.into();
            manifest["layers"][0]["size"] = component.len().into();
            manifest["annotations"]["io.countersign.revision"] = "2".into();
        });
        let manifest = content.manifests[&(REPOSITORY.to_owned(), new.to_string())].clone();
        content.manifests.insert((REPOSITORY.to_owned(), "1".to_owned()), manifest);
    });
}

/// No registry, and no compiled code: the service starts from the store, and issues a token.
#[test]
fn a_service_starts_without_its_registry() {
    let (content, digest) = published();
    let registry = StandIn::start(content, true);
    let installation = Installation::new(&registry, &format!("@{digest}"), "");
    let api_key = configure(installation.path(), "");
    let refused = installation.run("serve --config issuer.toml --log-format text");
    assert!(
        refused.status == 1 && refused.stderr.contains("not in the store"),
        "{}",
        refused.stderr
    );
    ok(installation.run("fetch"));
    drop(registry);
    let served = Served::start(installation.path());
    assert_eq!(served.register(&api_key, &service::run()).status, 201);
    let token = served.token();
    assert_eq!(token.status, 200, "{}", token.text);
    assert_eq!(served.stop(), 0);
    // Its console says whose signatures were verified, and no more than is known.
    let console = |line: &str| {
        let shown = Shown::start(installation.path(), line);
        shown.wait_for("log", 2);
        let sets = shown.json("/log/policies.json");
        let set = sets["policy_sets"][0]["policy_set"].as_str().unwrap();
        let page = shown.get(&format!("/log/policies/{set}")).body;
        let json = shown.json(&format!("/log/policies/{set}.json"));
        assert_eq!(shown.stop(), 0);
        (page, json["bindings"][0].clone())
    };
    // By the rules of the manifest that the policy is of, also where another one is given before.
    fs::create_dir(installation.path().join("other")).unwrap();
    let other = installation.path().join("other/countersign.toml");
    let text = "[issuer]\nurl = \"https://other.example.com\"\nmeshstack-id = \"demo\"\n[[binding]]\nname = \"other\"\n\
                policy = \"../same-workspace.wasm\"\nscope = \"all\"\nsettings = { also = [\"team-b\"] }\n";
    fs::write(other, text).unwrap();
    let (page, binding) = console("--policies other/countersign.toml --config issuer.toml");
    let signers = binding["signers"].as_array().unwrap();
    assert_eq!(signers.len(), 1, "{binding}");
    let reference = binding["reference"].as_str().unwrap();
    assert!(reference.ends_with(&digest.to_string()), "{binding}");
    assert_eq!(binding["revision"], 1, "{binding}");
    assert!(page.contains("signed by") && page.contains(signers[0].as_str().unwrap()), "{page}");
    // A record does not have them.
    let (page, binding) = console("--log state/log");
    assert_eq!((&binding["signers"], &binding["reference"]), (&json!([]), &Value::Null));
    assert!(!page.contains("signed by"), "{page}");
}

/// Whatever the registry brings for a pin that moves, what decides stays, until there is something to trust.
#[test]
fn what_decides_stays_while_a_registry_is_hostile_or_gone() {
    let (content, first) = published();
    let registry = StandIn::start(content, true);
    let installation = Installation::new(&registry, &format!("@{first}"), TIMEOUT);
    ok(installation.run("fetch"));
    let api_key = configure(installation.path(), FOLLOWS);
    let served = Served::start(installation.path());
    assert_eq!(served.register(&api_key, &service::run()).status, 201);
    assert_eq!(served.token().status, 200);
    let ok_polls = "countersign_registry_polls_total{result=\"ok\"}";
    wait_for(&served, "polls", || metric(&served, &api_key, ok_polls).filter(|polls| *polls > 0));
    // A newer version that nobody has signed, then one that mallory has.
    let second = newer(&registry, 2);
    registry.change(unsign);
    installation.pin(&registry, &format!("@{second}"), TIMEOUT, ONE_ALICE);
    let polls = |code: &str| format!("countersign_registry_polls_total{{result=\"{code}\"}}");
    wait_for(&served, "unsigned", || metric(&served, &api_key, &polls("unsigned")));
    served.wait_for("failed to reload policies", 0);
    assert_eq!(served.token().status, 200);
    registry.change(|content| {
        let mut forged = Forged::of(second);
        forged.key = "mallory";
        add_bundle(content, second, &forged.bundle());
    });
    wait_for(&served, "mallory", || metric(&served, &api_key, &polls("signature-other-key")));
    // It hangs.
    registry.fault(|_| Some(Reply::Hang));
    wait_for(&served, "hangs", || metric(&served, &api_key, &polls("registry-timeout")));
    assert_eq!(served.token().status, 200);
    registry.no_fault();
    // Signed at last: it is fetched, and what the manifest pins decides.
    let seen = served.logged().len();
    registry.change(|content| add_bundle(content, second, &Forged::of(second).bundle()));
    served.wait_for("reloaded policies", seen);
    assert_eq!(served.token().status, 200);
    assert_eq!(candidate(&installation), None, "the manifest decides, and nothing is staged");
    assert_eq!(served.stop(), 0);
}

/// A tag that moves becomes a candidate, once, and decides when somebody promotes it.
#[test]
fn a_tag_that_moves_is_staged_as_a_release() {
    let (content, _) = published();
    let registry = StandIn::start(content, true);
    let installation = Installation::new(&registry, ":1", TIMEOUT);
    ok(installation.run("policy lock"));
    // Settings that both policies take.
    let manifest = installation.path().join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("settings = { also = [\"team-network\"] }\n", "")).unwrap();
    let api_key = configure(installation.path(), FOLLOWS);
    let served = Served::start(installation.path());
    assert_eq!(served.register(&api_key, &service::run()).status, 201);
    assert_eq!(candidate(&installation), None);
    another_policy(&registry);
    let staged = wait_for(&served, "a candidate", || candidate(&installation));
    assert!(staged.starts_with("sha256:"), "{staged}");
    assert_eq!(served.token().status, 200, "what decides is what the lock file says");
    let count = "countersign_registry_releases_staged_total";
    assert_eq!(metric(&served, &api_key, count), Some(1));
    // It decides when somebody says so: a policy that only narrows lets nobody in. Going back is as explicit, and allowed.
    ok(installation.run("release promote --config issuer.toml --without-evidence reviewed"));
    assert_eq!(served.token().status, 403);
    ok(installation.run("release rollback --config issuer.toml --reason no-tokens"));
    assert_eq!(served.token().status, 200);
    // The registry serves the older one again: it is no candidate, and nothing changes.
    let (content, first) = published();
    let manifest = content.manifests[&(REPOSITORY.to_owned(), first.to_string())].clone();
    registry.change(|content| {
        content.manifests.insert((REPOSITORY.to_owned(), "1".to_owned()), manifest);
    });
    let ok_polls = "countersign_registry_polls_total{result=\"ok\"}";
    let before = metric(&served, &api_key, ok_polls).unwrap();
    wait_for(&served, "polls", || {
        metric(&served, &api_key, ok_polls).filter(|now| *now > before + 1)
    });
    assert_eq!(
        metric(&served, &api_key, count),
        Some(1),
        "what was rolled back is not brought up again"
    );
    assert_eq!(candidate(&installation), None);
    assert_eq!(served.stop(), 0);
}
