//! Every way in which a registry is hostile, with the code that it gets.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use countersign::Digest;
use serde_json::{Value, json};

use crate::registry::{self, Content, Reply, answer};
use crate::shipped::{
    self, Forged, MANIFEST, REPOSITORY, add_bundle, changed, hex, layer, published, unsign,
};

const ONE_ALICE: &str = "threshold = 1\nkeys = [{ file = \"alice.pub\" }]";

/// Changes the content of a registry.
pub(crate) type Change = Box<dyn Fn(&mut Content) -> Option<Digest> + Send + Sync>;

/// A way to be hostile: what is changed, and the code that it gets.
pub(crate) struct Hostile {
    pub(crate) name: &'static str,
    pub(crate) code: &'static str,
    pub(crate) signers: &'static str,
    /// Changes the content, and gives the digest to pin where that is not the published one.
    pub(crate) content: Change,
    /// Changes answers.
    pub(crate) fault: Option<fn(&registry::Seen) -> Option<Reply>>,
}

/// Every way to be hostile.
pub(crate) fn hostile_registries() -> Vec<Hostile> {
    signatures().into_iter().chain(contents()).collect()
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

/// Those of signatures.
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

/// Those of manifests, layers and answers.
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
