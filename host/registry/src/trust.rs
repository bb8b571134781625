//! Rules about who may sign which repository, and the verification by them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use countersign::Digest;

use crate::artifact::{PolicyFormError, PolicyManifest};
use crate::bundle::{self, BundleError};
use crate::key::VerificationKey;
use crate::oci::{ImageManifest, ManifestFormError};
use crate::reference::{PinnedReference, Repository, RepositoryPrefix};

/// A key that may sign, and when.
#[derive(Debug, Clone)]
pub struct TrustedKey {
    /// The key.
    pub key: VerificationKey,
    /// The first second at which its signatures count, since 1970.
    pub not_before: Option<u64>,
    /// The first second at which they no longer do.
    pub not_after: Option<u64>,
}

/// The keys that may sign a repository and everything below it, and how many of them have to.
#[derive(Debug, Clone)]
pub struct TrustedSigner {
    /// The repositories.
    pub repositories: RepositoryPrefix,
    /// The number of different keys that have to have signed.
    pub threshold: usize,
    /// The keys.
    pub keys: Vec<TrustedKey>,
}

/// The rules about who may sign. A repository that none is about is trusted by nobody.
#[derive(Debug, Clone, Default)]
pub struct TrustPolicy {
    signers: Vec<TrustedSigner>,
}

/// Rules that contradict each other, or can never be met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustPolicyError {
    /// Two rules are about the same repositories.
    #[error("two are about `{0}`; keep one")]
    Twice(RepositoryPrefix),
    /// A rule has one key twice.
    #[error("`{0}`: one key is listed twice: two signatures of it would count as two signers")]
    SameKey(RepositoryPrefix),
    /// A rule needs no signature, or more than it has keys.
    #[error("`{repositories}`: a threshold of {threshold} of {keys} keys, expected 1 to {keys}")]
    Threshold {
        /// The repositories.
        repositories: RepositoryPrefix,
        /// The threshold.
        threshold: usize,
        /// The number of keys.
        keys: usize,
    },
    /// A key is valid at no time.
    #[error("`{0}`: a key's `not-after` is not after its `not-before`")]
    NoTime(RepositoryPrefix),
}

/// The reason that a manifest is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The bytes have another digest than the reference.
    #[error("the manifest has the digest {found}, expected {expected}")]
    Digest {
        /// The digest of the bytes.
        found: Digest,
        /// The digest of the reference.
        expected: Digest,
    },
    /// No rule is about the repository.
    #[error("no `[[trusted-signer]]` is about `{0}`")]
    NoRule(Repository),
    /// There is no signature.
    #[error("not signed{}", if *.legacy { ": a signature in cosign's old form is not accepted; sign with cosign 2.5 or newer and `--new-bundle-format`, or with `countersign policy sign`" } else { "" })]
    Unsigned {
        /// There is a signature in cosign's old form, the tag `sha256-….sig`.
        legacy: bool,
    },
    /// No signature is valid.
    #[error(transparent)]
    Signature(#[from] BundleError),
    /// Fewer keys than needed have signed.
    #[error("signed by {found} of the keys that may sign, {needed} are needed")]
    Threshold {
        /// The number of keys that signed.
        found: usize,
        /// The number that is needed.
        needed: usize,
    },
    /// Enough keys have signed, and some are expired.
    #[error("signed by a key after its `not-after`")]
    Expired,
    /// Enough keys have signed, and some are not yet valid.
    #[error("signed by a key before its `not-before`")]
    NotYetValid,
    /// The manifest is none.
    #[error(transparent)]
    Form(#[from] ManifestFormError),
    /// The manifest is no policy's.
    #[error(transparent)]
    Policy(#[from] PolicyFormError),
    /// A newer version was accepted from this repository.
    #[error(
        "revision {found} is older than {floor}, which was accepted from `{repository}`; `--allow-older` accepts it \
         nevertheless"
    )]
    Older {
        /// The repository.
        repository: Repository,
        /// The revision of the manifest.
        found: u64,
        /// The revision that it has to have.
        floor: u64,
    },
}

impl VerifyError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Digest { .. } => "manifest-digest",
            Self::NoRule(_) => "no-trusted-signer",
            Self::Unsigned { legacy: false } => "unsigned",
            Self::Unsigned { legacy: true } => "signature-legacy",
            Self::Signature(error) => error.code(),
            Self::Threshold { .. } => "below-threshold",
            Self::Expired => "signer-expired",
            Self::NotYetValid => "signer-not-yet-valid",
            Self::Form(ManifestFormError::TooLarge { .. }) => "manifest-too-large",
            Self::Form(ManifestFormError::Index) => "manifest-index",
            Self::Form(_) => "manifest-malformed",
            Self::Policy(_) => "not-a-policy",
            Self::Older { .. } => "older-than-floor",
        }
    }
}

/// The signatures of a manifest, as they were found. Nothing about them is verified.
#[derive(Debug, Clone, Default)]
pub struct FoundSignatures {
    /// Bundles.
    pub bundles: Vec<Vec<u8>>,
    /// There is a signature in cosign's old form.
    pub legacy: bool,
}

/// A manifest whose signatures were verified. Only [`TrustPolicy::verify`] makes one, and a layer is read only for one.
#[derive(Clone)]
pub struct VerifiedManifest {
    reference: PinnedReference,
    policy: PolicyManifest,
    signers: Vec<Digest>,
    /// The places of the bundles that keys of the rule have signed, one for each key.
    signatures: Vec<usize>,
}

/// The signatures of a manifest that are by keys of a rule.
struct Signed {
    /// The keys whose time it is.
    signers: Vec<Digest>,
    /// The places of the bundles, one for each key, also of one whose time it is not.
    signatures: Vec<usize>,
}

impl TrustPolicy {
    /// Puts rules together.
    ///
    /// # Errors
    /// When two are about the same repositories, or one cannot mean what it says.
    pub fn new(signers: Vec<TrustedSigner>) -> Result<Self, TrustPolicyError> {
        let mut seen = BTreeSet::new();
        for signer in &signers {
            let repositories = || signer.repositories.clone();
            if !seen.insert(&signer.repositories) {
                return Err(TrustPolicyError::Twice(repositories()));
            }
            let keys: BTreeSet<_> = signer.keys.iter().map(|key| key.key.id()).collect();
            if keys.len() != signer.keys.len() {
                return Err(TrustPolicyError::SameKey(repositories()));
            }
            if signer.threshold == 0 || signer.threshold > signer.keys.len() {
                let (threshold, keys) = (signer.threshold, signer.keys.len());
                return Err(TrustPolicyError::Threshold {
                    repositories: repositories(),
                    threshold,
                    keys,
                });
            }
            let never = |key: &TrustedKey| match (key.not_before, key.not_after) {
                (Some(from), Some(until)) => until <= from,
                _ => false,
            };
            if signer.keys.iter().any(never) {
                return Err(TrustPolicyError::NoTime(repositories()));
            }
        }
        Ok(Self { signers })
    }

    /// The rule about a repository: of several, the most specific one alone, so that a wide rule never weakens a narrow one.
    fn rule(&self, repository: &Repository) -> Option<&TrustedSigner> {
        let about = self.signers.iter().filter(|rule| repository.is_within(&rule.repositories));
        about.max_by_key(|rule| rule.repositories.specificity())
    }

    /// Verifies a manifest and its signatures, at `now`, in seconds since 1970. `floor` is the lowest revision that is
    /// accepted.
    ///
    /// # Errors
    /// When the bytes have another digest, too few keys that may sign have signed, or the manifest is no policy's.
    pub fn verify(
        &self,
        reference: &PinnedReference,
        manifest: &[u8],
        found: &FoundSignatures,
        floor: u64,
        now: u64,
    ) -> Result<VerifiedManifest, VerifyError> {
        let digest = Digest::of(manifest);
        if digest != reference.digest {
            return Err(VerifyError::Digest { found: digest, expected: reference.digest });
        }
        let rule = self.rule(&reference.repository);
        let rule = rule.ok_or_else(|| VerifyError::NoRule(reference.repository.clone()))?;
        let Signed { signers, signatures } = rule.signers(digest, found, now)?;
        let policy = PolicyManifest::of(&ImageManifest::parse(manifest)?)?;
        if policy.revision < floor {
            let repository = reference.repository.clone();
            return Err(VerifyError::Older { repository, found: policy.revision, floor });
        }
        Ok(VerifiedManifest { reference: reference.clone(), policy, signers, signatures })
    }
}

impl TrustedSigner {
    /// The different keys that have signed a manifest and whose time it is.
    fn signers(
        &self,
        manifest: Digest,
        found: &FoundSignatures,
        now: u64,
    ) -> Result<Signed, VerifyError> {
        let keys: Vec<&VerificationKey> = self.keys.iter().map(|key| &key.key).collect();
        let mut signed = BTreeMap::new();
        let mut worst = None;
        for (place, bundle) in found.bundles.iter().enumerate() {
            match bundle::verify(bundle, manifest, &keys) {
                Ok(key) => drop(signed.entry(key).or_insert(place)),
                // The one that came furthest says most about what is wrong.
                Err(error) => worst = worst.max(Some(error)),
            }
        }
        if signed.is_empty() {
            return Err(match worst {
                Some(error) => error.into(),
                None => VerifyError::Unsigned { legacy: found.legacy },
            });
        }
        let signatures = signed.values().copied().collect();
        let signed: Vec<_> = signed.keys().filter_map(|at| self.keys.get(*at)).collect();
        let is_early = |key: &&&TrustedKey| key.not_before.is_some_and(|from| now < from);
        let is_late = |key: &&&TrustedKey| key.not_after.is_some_and(|until| now >= until);
        let (early, late) =
            (signed.iter().filter(is_early).count(), signed.iter().filter(is_late).count());
        let valid = signed.iter().filter(|key| !is_early(key) && !is_late(key));
        let valid: Vec<_> = valid.map(|key| key.key.id()).collect();
        if valid.len() >= self.threshold {
            return Ok(Signed { signers: valid, signatures });
        }
        Err(if valid.len() + late >= self.threshold {
            VerifyError::Expired
        } else if valid.len() + late + early >= self.threshold {
            VerifyError::NotYetValid
        } else {
            VerifyError::Threshold { found: valid.len(), needed: self.threshold }
        })
    }
}

impl VerifiedManifest {
    /// The reference.
    pub fn reference(&self) -> &PinnedReference {
        &self.reference
    }

    /// The parts of the policy.
    pub fn policy(&self) -> &PolicyManifest {
        &self.policy
    }

    /// The keys that have signed it, by the SHA-256 of their SubjectPublicKeyInfo.
    pub fn signers(&self) -> &[Digest] {
        &self.signers
    }

    /// The places of the bundles, among those that were found, that count as signatures: one for each key, since anybody can
    /// write a signature of somebody's anew, with another hint in its bundle.
    pub(crate) fn signatures(&self) -> &[usize] {
        &self.signatures
    }

    /// Makes the layer of it of bytes that have its length and its digest.
    ///
    /// # Errors
    /// When they have not.
    pub fn layer(&self, bytes: Vec<u8>) -> Result<VerifiedLayer, LayerError> {
        let expected = &self.policy.layer;
        if bytes.len() as u64 != expected.size {
            let (found, expected) = (bytes.len() as u64, expected.size);
            return Err(LayerError::Size { found, expected });
        }
        match Digest::of(&bytes) {
            found if found == expected.digest => Ok(VerifiedLayer { bytes, digest: found }),
            found => Err(LayerError::Digest { found, expected: expected.digest }),
        }
    }
}

impl fmt::Debug for VerifiedManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedManifest({})", self.reference)
    }
}

/// The bytes of a layer of a verified manifest.
pub struct VerifiedLayer {
    bytes: Vec<u8>,
    digest: Digest,
}

impl VerifiedLayer {
    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Their digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl fmt::Debug for VerifiedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedLayer({} bytes)", self.bytes.len())
    }
}

/// Bytes that are not the layer of a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// They have another length.
    #[error("a layer of {found} bytes, expected {expected}")]
    Size {
        /// Their number, or a byte more than expected where there are more.
        found: u64,
        /// The length in the manifest.
        expected: u64,
    },
    /// They have another digest.
    #[error("a layer with the digest {found}, expected {expected}")]
    Digest {
        /// Their digest.
        found: Digest,
        /// The digest in the manifest.
        expected: Digest,
    },
    /// The manifest says that the layer is longer than the limit.
    #[error("a layer of {size} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The length in the manifest.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

impl LayerError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Size { .. } => "layer-size",
            Self::Digest { .. } => "layer-digest",
            Self::TooLarge { .. } => "layer-too-large",
        }
    }
}
