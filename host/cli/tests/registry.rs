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

#[path = "support/registry.rs"]
mod registry;
#[path = "support/shipped.rs"]
mod shipped;
mod support;

use std::fs;
use std::thread;

use countersign::Digest;
use registry::{Auth, Content, Reply, StandIn, answer};
use serde_json::{Value, json};
use shipped::{
    Forged, Installation, MANIFEST, REPOSITORY, add_bundle, changed, hex, layer, ok, published,
    unsign,
};
use support::{Ran, countersign};

const ONE_ALICE: &str = "threshold = 1\nkeys = [{ file = \"alice.pub\" }]";
const PASSWORD: &str = "a-password-that-must-not-be-shown";

/// Changes the content of a registry.
type Change = Box<dyn Fn(&mut Content) -> Option<Digest> + Send + Sync>;

/// A way to be hostile: what is changed, and the code that it gets.
struct Hostile {
    name: &'static str,
    code: &'static str,
    signers: &'static str,
    /// Changes the content, and gives the digest to pin where that is not the published one.
    content: Change,
    /// Changes answers.
    fault: Option<fn(&registry::Seen) -> Option<Reply>>,
}

fn hostile(
    name: &'static str,
    code: &'static str,
    content: impl Fn(&mut Content) -> Option<Digest> + Send + Sync + 'static,
) -> Hostile {
    Hostile { name, code, signers: ONE_ALICE, content: Box::new(content), fault: None }
}

/// A signature that is wrong in one way.
fn forged(
    name: &'static str,
    code: &'static str,
    forge: impl Fn(Digest, &mut Forged) -> Option<Value> + Send + Sync + 'static,
) -> Hostile {
    hostile(name, code, move |content| {
        let (_, digest) = published();
        unsign(content);
        let mut forged = Forged::of(digest);
        let bundle = forge(digest, &mut forged);
        add_bundle(content, digest, &bundle.unwrap_or_else(|| forged.bundle()));
        None
    })
}

fn answering(
    name: &'static str,
    code: &'static str,
    fault: fn(&registry::Seen) -> Option<Reply>,
) -> Hostile {
    Hostile { fault: Some(fault), ..hostile(name, code, |_| None) }
}

fn signed_by(signers: &'static str, of: Hostile) -> Hostile {
    Hostile { signers, ..of }
}

fn is_policy(seen: &registry::Seen) -> bool {
    seen.target.contains(&format!("/manifests/{}", published().1))
}

fn is_layer(seen: &registry::Seen) -> bool {
    seen.method == "GET" && seen.target.contains(&layer(&published().0))
}

fn layer_bytes() -> Vec<u8> {
    let (content, _) = published();
    content.blobs[&(REPOSITORY.to_owned(), layer(&content))].clone()
}

fn signatures() -> Vec<Hostile> {
    vec![
        hostile("no signature", "unsigned", |content| {
            unsign(content);
            None
        }),
        hostile("the old form of cosign", "signature-legacy", |content| {
            unsign(content);
            let tag = format!("sha256-{}.sig", hex(published().1));
            let key = (REPOSITORY.to_owned(), tag);
            content.manifests.insert(key, (MANIFEST.to_owned(), b"{}".to_vec()));
            None
        }),
        forged("another key", "signature-other-key", |_, forged| {
            forged.key = "mallory";
            None
        }),
        forged("a signature of another text", "signature-other-key", |digest, forged| {
            let mut bundle = forged.bundle();
            let other = Forged::of(Digest::of(b"other")).bundle();
            bundle["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
            let _ = digest;
            Some(bundle)
        }),
        forged("another digest", "signature-other-digest", |_, forged| {
            forged.statement = Forged::of(Digest::of(b"other")).statement;
            None
        }),
        forged("two subjects", "signature-subjects", |digest, forged| {
            let subject = &forged.statement["subject"][0];
            let other = json!({ "name": "any", "digest": { "sha256": hex(Digest::of(b"x")) } });
            forged.statement["subject"] = json!([subject, other]);
            let _ = digest;
            None
        }),
        forged("no subject", "signature-subjects", |_, forged| {
            forged.statement["subject"] = json!([]);
            None
        }),
        forged("a subject with two digests", "signature-subjects", |digest, forged| {
            let digests = json!({ "sha256": hex(digest), "sha512": "00" });
            forged.statement["subject"][0]["digest"] = digests;
            None
        }),
        forged("another type of payload", "signature-payload-type", |_, forged| {
            forged.payload_type = "application/json";
            None
        }),
        forged("another type of statement", "signature-payload-type", |_, forged| {
            forged.statement["_type"] = "https://in-toto.io/Statement/v9".into();
            None
        }),
        forged("another predicate", "signature-predicate-type", |_, forged| {
            forged.statement["predicateType"] = "https://slsa.dev/provenance/v1".into();
            None
        }),
        forged("two signatures in one envelope", "signature-malformed", |_, forged| {
            let mut bundle = forged.bundle();
            let signature = bundle["dsseEnvelope"]["signatures"][0].clone();
            bundle["dsseEnvelope"]["signatures"] = json!([signature, signature]);
            Some(bundle)
        }),
        forged("another version of the bundle", "signature-malformed", |_, forged| {
            let mut bundle = forged.bundle();
            bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.2".into();
            Some(bundle)
        }),
        forged("a message signature", "signature-malformed", |_, forged| {
            let mut bundle = forged.bundle();
            bundle.as_object_mut().unwrap().remove("dsseEnvelope");
            bundle["messageSignature"] = json!({ "signature": "" });
            Some(bundle)
        }),
        forged("a certificate", "signature-certificate", |_, forged| {
            let mut bundle = forged.bundle();
            bundle["verificationMaterial"] = json!({ "certificate": { "rawBytes": "" } });
            Some(bundle)
        }),
        forged("a statement that says something twice", "signature-malformed", |digest, _| {
            // Written by hand, since no writer makes it.
            let payload = format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":"{}","subject":[{{"digest":{{"sha256":"{}","sha256":"{}"}}}}]}}"#,
                shipped::SIGNS,
                hex(Digest::of(b"x")),
                hex(digest)
            );
            Some(sign_raw(&payload))
        }),
        signed_by(
            "threshold = 2\nkeys = [{ file = \"alice.pub\" }, { file = \"bob.pub\" }]",
            hostile("one of two", "below-threshold", |_| None),
        ),
        signed_by(
            "threshold = 2\nkeys = [{ file = \"alice.pub\" }, { file = \"bob.pub\" }]",
            hostile("one key twice", "below-threshold", |content| {
                // ECDSA has another signature each time.
                let (_, digest) = published();
                add_bundle(content, digest, &Forged::of(digest).bundle());
                None
            }),
        ),
        signed_by(
            "keys = [{ file = \"alice.pub\", not-after = 2020-01-01T00:00:00Z }]",
            hostile("expired", "signer-expired", |_| None),
        ),
        signed_by(
            "keys = [{ file = \"alice.pub\", not-before = 2999-01-01T00:00:00Z }]",
            hostile("not yet valid", "signer-not-yet-valid", |_| None),
        ),
    ]
}

/// A bundle of a payload that is signed as it is.
fn sign_raw(payload: &str) -> Value {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use countersign_registry::PolicySigner as _;
    let kind = shipped::IN_TOTO;
    let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = shipped::signer("alice").sign(signed.as_bytes()).unwrap();
    json!({
        "mediaType": shipped::BUNDLE,
        "verificationMaterial": { "publicKey": { "hint": "" } },
        "dsseEnvelope": {
            "payload": BASE64_STANDARD.encode(payload),
            "payloadType": kind,
            "signatures": [{ "sig": BASE64_STANDARD.encode(signature) }],
        },
    })
}

fn contents() -> Vec<Hostile> {
    vec![
        answering("a layer that ends early", "registry-broken", |seen| {
            is_layer(seen).then(|| Reply::Truncated(layer_bytes()))
        }),
        answering("a shorter layer", "layer-size", |seen| {
            is_layer(seen).then(|| answer(200, &[], layer_bytes()[1..].to_vec()))
        }),
        answering("a longer layer", "layer-size", |seen| {
            is_layer(seen).then(|| answer(200, &[], [layer_bytes(), vec![0]].concat()))
        }),
        answering("a layer without an end", "layer-size", |seen| {
            is_layer(seen).then_some(Reply::Endless)
        }),
        answering("another layer", "layer-digest", |seen| {
            is_layer(seen).then(|| {
                let mut bytes = layer_bytes();
                *bytes.last_mut().unwrap() ^= 1;
                answer(200, &[], bytes)
            })
        }),
        hostile("a size that is too small", "layer-size", |content| {
            Some(changed(content, |manifest| manifest["layers"][0]["size"] = 100.into()))
        }),
        hostile("a size that is too large", "layer-size", |content| {
            let size = layer_bytes().len() + 1;
            Some(changed(content, |manifest| manifest["layers"][0]["size"] = size.into()))
        }),
        hostile("a layer of ten gigabytes", "layer-too-large", |content| {
            Some(changed(content, |manifest| {
                manifest["layers"][0]["size"] = 10_000_000_000_u64.into();
            }))
        }),
        hostile("a digest that is another one's", "layer-size", |content| {
            let other = b"other".to_vec();
            let digest = Digest::of(&other).to_string();
            content.blobs.insert((REPOSITORY.to_owned(), digest.clone()), other);
            Some(changed(content, |manifest| manifest["layers"][0]["digest"] = digest.into()))
        }),
        hostile("no layer", "not-a-policy", |content| {
            Some(changed(content, |manifest| manifest["layers"] = json!([])))
        }),
        hostile("two layers", "not-a-policy", |content| {
            Some(changed(content, |manifest| {
                let layer = manifest["layers"][0].clone();
                manifest["layers"].as_array_mut().unwrap().push(layer);
            }))
        }),
        hostile("a layer of another type", "not-a-policy", |content| {
            Some(changed(content, |manifest| {
                manifest["layers"][0]["mediaType"] =
                    "application/vnd.oci.image.layer.v1.tar".into();
            }))
        }),
        hostile("an image of a container", "not-a-policy", |content| {
            Some(changed(content, |manifest| {
                let kind = "application/vnd.oci.image.config.v1+json";
                manifest["config"]["mediaType"] = kind.into();
            }))
        }),
        hostile("another version of the contract", "not-a-policy", |content| {
            Some(changed(content, |manifest| {
                let contract = "countersign:policy/token-policy@2.0.0";
                manifest["annotations"]["io.countersign.contract"] = contract.into();
            }))
        }),
        hostile("a manifest that is an index too", "manifest-index", |content| {
            Some(changed(content, |manifest| manifest["manifests"] = json!([])))
        }),
        hostile("a revision that is no number", "not-a-policy", |content| {
            Some(changed(content, |manifest| {
                manifest["annotations"]["io.countersign.revision"] = "1e9".into();
            }))
        }),
        answering("a manifest with another digest", "manifest-digest", |seen| {
            is_policy(seen).then(|| {
                let (content, digest) = published();
                let key = (REPOSITORY.to_owned(), digest.to_string());
                let bytes = [content.manifests[&key].1.as_slice(), b" "].concat();
                answer(200, &[("content-type", MANIFEST)], bytes)
            })
        }),
        answering("a manifest of 100 MB", "manifest-too-large", |seen| {
            is_policy(seen)
                .then(|| answer(200, &[("content-type", MANIFEST)], vec![b' '; 100 << 20]))
        }),
        answering("a manifest without an end", "manifest-too-large", |seen| {
            is_policy(seen).then_some(Reply::Endless)
        }),
        answering("an index in the place of a manifest", "manifest-digest", |seen| {
            is_policy(seen).then(|| {
                let kind = "application/vnd.oci.image.index.v1+json";
                let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": [] });
                answer(200, &[("content-type", kind)], index.to_string())
            })
        }),
        answering("a page", "registry-answer", |seen| {
            let page = "<!doctype html><title>Sign in</title>";
            is_policy(seen).then(|| answer(200, &[("content-type", "text/html")], page))
        }),
        answering("no answer", "registry-timeout", |seen| is_policy(seen).then_some(Reply::Hang)),
        answering("a layer that hangs", "registry-timeout", |seen| {
            is_layer(seen).then_some(Reply::Hang)
        }),
        answering("a wait of an hour", "registry-status", |seen| {
            is_policy(seen).then(|| answer(429, &[("retry-after", "3600")], ""))
        }),
        answering("a manifest elsewhere", "registry-redirect", |seen| {
            is_policy(seen).then(|| {
                answer(307, &[("location", "https://other.invalid/v2/x?token=s3cret")], "")
            })
        }),
        answering("a layer at a host without TLS", "registry-redirect", |seen| {
            is_layer(seen).then(|| answer(307, &[("location", "http://192.0.2.1/x")], ""))
        }),
        answering("a layer at a file", "registry-redirect", |seen| {
            is_layer(seen).then(|| answer(307, &[("location", "file:///etc/passwd")], ""))
        }),
        answering("a redirect without an end", "registry-redirect", |seen| {
            let location = seen.target.clone();
            is_layer(seen).then(|| answer(307, &[("location", &location)], ""))
        }),
        answering("a registry that denies", "registry-denied", |seen| {
            is_policy(seen).then(|| answer(403, &[], r#"{"errors":[{"code":"DENIED"}]}"#))
        }),
        answering("a manifest that is gone", "registry-not-found", |seen| {
            is_policy(seen).then(|| answer(404, &[], ""))
        }),
    ]
}

/// Every hostile registry gets its code, nothing of the component is kept, and no run is approved.
#[test]
fn a_hostile_registry_brings_nothing_into_the_store() {
    published();
    let table: Vec<Hostile> = signatures().into_iter().chain(contents()).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(of) =
                    table.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst))
                {
                    refuse(of);
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
    for of in signatures().into_iter().chain(contents()) {
        assert!(rows.contains(of.code), "{}", of.code);
    }
}

fn refuse(of: &Hostile) {
    let (mut content, digest) = published();
    let digest = (of.content)(&mut content).unwrap_or(digest);
    let has_referrers = of.name.len().is_multiple_of(2);
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

/// What is published and signed decides in an installation that has only the key, with the registry gone.
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
