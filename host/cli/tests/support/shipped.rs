//! A policy that was published and signed in a stand-in, and an installation that pins it.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign::Digest;
use countersign_registry::{PolicyKey, PolicySigner};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::registry::{Content, StandIn};
use crate::support::{Ran, countersign, folder};

pub(crate) const REPOSITORY: &str = "policies/same-workspace";
pub(crate) const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";
pub(crate) const SIGNS: &str = "https://sigstore.dev/cosign/sign/v1";

/// The names of the keys that every folder has.
pub(crate) const KEYS: [&str; 3] = ["alice", "bob", "mallory"];

/// The private keys, in PEM, each made once.
fn key_pairs() -> &'static [KeyPair; 3] {
    static PAIRS: OnceLock<[KeyPair; 3]> = OnceLock::new();
    PAIRS.get_or_init(|| KEYS.map(|_| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()))
}

pub(crate) fn signer(name: &str) -> PolicyKey {
    let at = KEYS.iter().position(|key| *key == name).unwrap();
    PolicyKey::from_pem(key_pairs()[at].serialize_pem().as_bytes()).unwrap()
}

/// Writes the keys into a folder: `alice.pem`, which is private, and `alice.pub`.
pub(crate) fn write_keys(folder: &Path) {
    for (name, pair) in KEYS.iter().zip(key_pairs()) {
        let private = folder.join(format!("{name}.pem"));
        fs::write(&private, pair.serialize_pem()).unwrap();
        #[cfg(unix)]
        fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        fs::write(folder.join(format!("{name}.pub")), pair.public_key_pem()).unwrap();
    }
}

/// The example's policy, published as revision 1 and signed by alice; and the digest of its manifest.
pub(crate) fn published() -> (Content, Digest) {
    static PUBLISHED: OnceLock<(Content, Digest)> = OnceLock::new();
    let published = PUBLISHED.get_or_init(|| {
        let registry = StandIn::start(Content::default(), true);
        let folder = folder();
        write_keys(folder.path());
        fs::remove_file(folder.path().join("countersign.toml")).unwrap();
        let reference = format!("oci://{}/{REPOSITORY}:1", registry.host());
        let pushed =
            ok(countersign(folder.path(), &format!("policy push same-workspace.wasm {reference}")));
        let pinned = pushed.stdout.trim().to_owned();
        ok(countersign(folder.path(), &format!("policy sign {pinned} --key alice.pem")));
        let digest = Digest::parse(pinned.split_once('@').unwrap().1).unwrap();
        (registry.content(), digest)
    });
    published.clone()
}

/// An installation: a manifest that pins a policy of a registry, and the keys.
pub(crate) struct Installation {
    pub folder: TempDir,
}

impl Installation {
    /// One that trusts `keys`, of which `threshold` have to have signed, and pins a reference. `more` is put into the table of
    /// the registry.
    pub(crate) fn new(registry: &StandIn, target: &str, more: &str) -> Self {
        let folder = folder();
        write_keys(folder.path());
        let installation = Self { folder };
        installation.pin(
            registry,
            target,
            more,
            "threshold = 1\nkeys = [{ file = \"alice.pub\" }]",
        );
        installation
    }

    /// Writes the manifest anew.
    pub(crate) fn pin(&self, registry: &StandIn, target: &str, more: &str, signers: &str) {
        let host = registry.host();
        let text = format!(
            "[issuer]\nurl = \"https://oidc.example.com\"\nmeshstack-id = \"demo\"\n\
             [[registry]]\nhost = \"{host}\"\n{more}\n\
             [[trusted-signer]]\nrepository = \"{host}/policies\"\n{signers}\n\
             [[binding]]\nname = \"who\"\npolicy = \"oci://{host}/{REPOSITORY}{target}\"\nscope = \"all\"\n\
             limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}\nsettings = {{ also = [\"team-network\"] }}\n"
        );
        fs::write(self.path().join("countersign.toml"), text).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn run(&self, line: &str) -> Ran {
        countersign(self.path(), line)
    }

    /// The decision of the manifest about the example's run.
    pub(crate) fn evaluate(&self) -> Ran {
        self.run(
            "evaluate --policies countersign.toml --run run.json --audience aws-workload-identity-provider:demo --ttl 900",
        )
    }

    /// The digests of the content of the store; fails where a file is not what its name says.
    pub(crate) fn stored(&self) -> Vec<String> {
        let folder = self.path().join("policy-store/blobs");
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let digests = entries.map(|entry| {
            let path = entry.unwrap().path();
            let digest = Digest::of(&fs::read(&path).unwrap()).to_string();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(digest, format!("sha256:{name}"), "not whole");
            digest
        });
        digests.collect()
    }
}

/// The result of a command that has to succeed.
#[track_caller]
pub(crate) fn ok(ran: Ran) -> Ran {
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    ran
}

/// A bundle as an attacker or another tool could make it.
pub(crate) struct Forged {
    pub key: &'static str,
    pub payload_type: &'static str,
    pub statement: Value,
}

impl Forged {
    /// A statement that is right about a manifest.
    pub(crate) fn of(digest: Digest) -> Self {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": SIGNS,
            "subject": [{ "name": "any", "digest": { "sha256": hex(digest) } }],
            "predicate": {},
        });
        Self { key: "alice", payload_type: IN_TOTO, statement }
    }

    pub(crate) fn bundle(&self) -> Value {
        let payload = self.statement.to_string();
        let signed = format!(
            "DSSEv1 {} {} {} {payload}",
            self.payload_type.len(),
            self.payload_type,
            payload.len()
        );
        let signature = signer(self.key).sign(signed.as_bytes()).unwrap();
        json!({
            "mediaType": BUNDLE,
            "verificationMaterial": { "publicKey": { "hint": "" } },
            "dsseEnvelope": {
                "payload": BASE64_STANDARD.encode(&payload),
                "payloadType": self.payload_type,
                "signatures": [{ "sig": BASE64_STANDARD.encode(signature) }],
            },
        })
    }
}

pub(crate) fn hex(digest: Digest) -> String {
    digest.to_string().replace("sha256:", "")
}

/// Removes what refers to a manifest.
pub(crate) fn unsign(content: &mut Content) {
    content.manifests.retain(|_, (_, bytes)| {
        let parsed: Value = serde_json::from_slice(bytes).unwrap();
        parsed.get("subject").is_none()
    });
}

/// Adds a bundle that refers to a manifest.
pub(crate) fn add_bundle(content: &mut Content, digest: Digest, bundle: &Value) {
    let bundle = bundle.to_string().into_bytes();
    let blob = Digest::of(&bundle).to_string();
    let size = content.manifests[&(REPOSITORY.to_owned(), digest.to_string())].1.len();
    let empty = Digest::of(b"{}").to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": BUNDLE,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2 },
        "layers": [{ "mediaType": BUNDLE, "digest": blob, "size": bundle.len() }],
        "subject": { "mediaType": MANIFEST, "digest": digest.to_string(), "size": size },
    });
    content.blobs.insert((REPOSITORY.to_owned(), blob), bundle);
    let _ = put_manifest(content, manifest.to_string().into_bytes());
}

/// Puts a manifest into the repository, and returns its digest.
pub(crate) fn put_manifest(content: &mut Content, bytes: Vec<u8>) -> Digest {
    let digest = Digest::of(&bytes);
    let key = (REPOSITORY.to_owned(), digest.to_string());
    content.manifests.insert(key, (MANIFEST.to_owned(), bytes));
    digest
}

/// Puts a changed manifest of the published policy into the repository, signed by alice.
pub(crate) fn changed(content: &mut Content, change: impl FnOnce(&mut Value)) -> Digest {
    let (_, digest) = published();
    let bytes = &content.manifests[&(REPOSITORY.to_owned(), digest.to_string())].1;
    let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
    change(&mut manifest);
    let digest = put_manifest(content, manifest.to_string().into_bytes());
    add_bundle(content, digest, &Forged::of(digest).bundle());
    digest
}

/// The digest of the layer of the published policy.
pub(crate) fn layer(content: &Content) -> String {
    let (_, digest) = published();
    let bytes = &content.manifests[&(REPOSITORY.to_owned(), digest.to_string())].1;
    let manifest: Value = serde_json::from_slice(bytes).unwrap();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}

/// The password of the credentials of tests, which no message has.
pub(crate) const PASSWORD: &str = "a-password-that-must-not-be-shown";

/// The published policy in a registry with the referrers API, and an installation that pins it.
pub(crate) fn world(more: &str) -> (StandIn, Installation) {
    let (content, digest) = published();
    let registry = StandIn::start(content, true);
    let installation = Installation::new(&registry, &format!("@{digest}"), more);
    (registry, installation)
}

/// Checks that a command was refused with a code.
#[track_caller]
pub(crate) fn refused(ran: &Ran, code: &str) {
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(&format!("({code})")), "{}", ran.stderr);
    assert!(!ran.stderr.contains(PASSWORD), "{}", ran.stderr);
}
