//! Signatures of policies: Sigstore bundles, version 0.3, with a DSSE envelope that a key has signed.
//!
//! The envelope has an in-toto statement about the digest of the manifest, as `cosign sign` makes it. Nothing of a bundle is
//! used before its signature is verified, and then everything that could mean something else is checked.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign::{Digest, check_json};
use serde::{Deserialize, Serialize};

use crate::key::{PolicySigner, SignPolicyError, VerificationKey};

/// The media type of a bundle, and the type of the artifact that it is.
pub const BUNDLE_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The predicate of a statement that signs an image (cosign, pkg/types/predicate.go).
pub const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

/// The type of the payload of an envelope.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// The versions of the statement that cosign writes.
const STATEMENT_TYPES: [&str; 2] =
    ["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"];

/// The maximum length of a bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 128 << 10;

/// The maximum depth of a bundle and of a statement.
const MAX_DEPTH: usize = 16;

/// The reason that a bundle is no signature of a manifest by one of some keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// The text is no bundle of version 0.3 with an envelope and one signature.
    #[error("a signature is malformed: expected a Sigstore bundle v0.3 with a DSSE envelope")]
    Malformed,
    /// The bundle has a certificate in the place of a key.
    #[error("a signature is of a certificate; expected one by a key")]
    Certificate,
    /// No key that may sign has made the signature.
    #[error("a signature is not by a key that may sign this repository")]
    OtherKey,
    /// The payload of the envelope is of another type.
    #[error("a signed payload is of another type, expected `{PAYLOAD_TYPE}`")]
    PayloadType,
    /// The statement says something else than that an image is signed.
    #[error("a signed statement has another predicate, expected `{SIGN_PREDICATE}`")]
    PredicateType,
    /// The statement is not about exactly one subject.
    #[error("a signed statement has not exactly one subject with one digest")]
    Subjects,
    /// The statement is about another digest.
    #[error("a signature is of another digest")]
    OtherDigest,
}

impl BundleError {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "signature-malformed",
            Self::Certificate => "signature-certificate",
            Self::OtherKey => "signature-other-key",
            Self::PayloadType => "signature-payload-type",
            Self::PredicateType => "signature-predicate-type",
            Self::Subjects => "signature-subjects",
            Self::OtherDigest => "signature-other-digest",
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    verification_material: VerificationMaterial,
    dsse_envelope: Option<Envelope>,
}

/// Other members are notes of a transparency log, which a key needs none of.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerificationMaterial {
    public_key: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    statement_type: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

/// A digest of another algorithm beside it would be a second subject.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectDigest {
    sha256: String,
}

/// Verifies that a bundle is a signature of a manifest by one of `keys`, and gives the index of that key.
///
/// # Errors
/// When it is not. The signature is verified before the statement is read.
pub(crate) fn verify(
    bundle: &[u8],
    manifest: Digest,
    keys: &[&VerificationKey],
) -> Result<usize, BundleError> {
    check_json(bundle, MAX_BUNDLE_BYTES, MAX_DEPTH).map_err(|_| BundleError::Malformed)?;
    let bundle: Bundle = serde_json::from_slice(bundle).map_err(|_| BundleError::Malformed)?;
    if bundle.media_type != BUNDLE_TYPE {
        return Err(BundleError::Malformed);
    }
    if bundle.verification_material.public_key.is_none() {
        return Err(BundleError::Certificate);
    }
    let envelope = bundle.dsse_envelope.ok_or(BundleError::Malformed)?;
    let [signature] = envelope.signatures.as_slice() else { return Err(BundleError::Malformed) };
    let decode = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| BundleError::Malformed);
    let (payload, signature) = (decode(&envelope.payload)?, decode(&signature.sig)?);
    let signed = pae(&envelope.payload_type, &payload);
    // The hint of the bundle names a key, and is not signed: every key is tried.
    let key = keys.iter().position(|key| key.verifies(&signed, &signature));
    let key = key.ok_or(BundleError::OtherKey)?;
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(BundleError::PayloadType);
    }
    check_json(&payload, MAX_BUNDLE_BYTES, MAX_DEPTH).map_err(|_| BundleError::Malformed)?;
    let kind: serde_json::Value =
        serde_json::from_slice(&payload).map_err(|_| BundleError::Malformed)?;
    // Before the rest is read: a statement of another kind has other members.
    if kind.get("predicateType").and_then(|kind| kind.as_str()) != Some(SIGN_PREDICATE) {
        return Err(BundleError::PredicateType);
    }
    let subjects = kind.get("subject").and_then(|subject| subject.as_array());
    if subjects.map(Vec::len) != Some(1) {
        return Err(BundleError::Subjects);
    }
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|_| BundleError::Subjects)?;
    if !STATEMENT_TYPES.contains(&statement.statement_type.as_str()) {
        return Err(BundleError::PayloadType);
    }
    let [Subject { digest: SubjectDigest { sha256 } }] = statement.subject.as_slice() else {
        return Err(BundleError::Subjects);
    };
    debug_assert_eq!(statement.predicate_type, SIGN_PREDICATE);
    if Digest::parse(&format!("sha256:{sha256}")) != Ok(manifest) {
        return Err(BundleError::OtherDigest);
    }
    Ok(key)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewBundle<'b> {
    media_type: &'b str,
    verification_material: NewMaterial,
    dsse_envelope: NewEnvelope<'b>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewMaterial {
    public_key: Hint,
}

#[derive(Serialize)]
struct Hint {
    hint: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewEnvelope<'b> {
    payload: String,
    payload_type: &'b str,
    signatures: [NewSignature; 1],
}

#[derive(Serialize)]
struct NewSignature {
    sig: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewStatement<'s> {
    #[serde(rename = "_type")]
    statement_type: &'s str,
    subject: [NewSubject<'s>; 1],
    predicate_type: &'s str,
    predicate: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct NewSubject<'s> {
    name: &'s str,
    digest: NewDigest,
}

#[derive(Serialize)]
struct NewDigest {
    sha256: String,
}

/// Signs a manifest of a repository: the bundle that `cosign verify` accepts.
///
/// # Errors
/// When the key gives no signature.
pub(crate) fn sign(
    repository: &str,
    manifest: Digest,
    signer: &dyn PolicySigner,
) -> Result<Vec<u8>, SignPolicyError> {
    let text = manifest.to_string();
    let hex = text.strip_prefix("sha256:").unwrap_or(&text).to_owned();
    let [statement_type, _] = STATEMENT_TYPES;
    let statement = NewStatement {
        statement_type,
        subject: [NewSubject { name: repository, digest: NewDigest { sha256: hex } }],
        predicate_type: SIGN_PREDICATE,
        predicate: serde_json::Map::new(),
    };
    let payload = serde_json::to_vec(&statement).map_err(|_| SignPolicyError)?;
    let signature = signer.sign(&pae(PAYLOAD_TYPE, &payload))?;
    let hint = BASE64_STANDARD.encode(signer.public_key().id().as_bytes());
    let bundle = NewBundle {
        media_type: BUNDLE_TYPE,
        verification_material: NewMaterial { public_key: Hint { hint } },
        dsse_envelope: NewEnvelope {
            payload: BASE64_STANDARD.encode(&payload),
            payload_type: PAYLOAD_TYPE,
            signatures: [NewSignature { sig: BASE64_STANDARD.encode(signature) }],
        },
    };
    serde_json::to_vec(&bundle).map_err(|_| SignPolicyError)
}

/// The bytes that an envelope's signature is over: DSSE's pre-authentication encoding, version 1.
fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}
