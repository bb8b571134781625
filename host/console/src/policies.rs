//! The policy sets that a console can decide with again.

use std::sync::Arc;

use countersign::{Digest, PolicySet};
use countersign_authoring::SettingsLiterals;

/// A policy set that was prepared, with the texts that it was made of.
pub struct KnownPolicies {
    /// The place that it is from, for people: a manifest's path or a release.
    pub origin: String,
    /// The policies.
    pub policies: PolicySet,
    /// The settings of each binding, as JSON text, by its name.
    pub settings: Vec<(String, String)>,
    /// The signatures of each binding whose policy comes from a registry, by its name; or the reason that nothing is known of
    /// them.
    pub signed: Vec<(String, Result<SignedPolicy, String>)>,
}

/// A policy whose signatures were verified when it was prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPolicy {
    /// Its manifest: `oci://REGISTRY/REPOSITORY@DIGEST`.
    pub reference: String,
    /// Its revision.
    pub revision: u64,
    /// The ids of the keys that have signed it and may.
    pub signers: Vec<String>,
}

/// Finds policy sets by their digests. Preparing one may take seconds; it is called on a thread that may block.
pub trait PolicySource: Send + Sync {
    /// The digests of the sets that can be found, each with the place that it is from. May block as well.
    fn known(&self) -> Vec<(Digest, String)>;

    /// Finds a set; `None` if there is none with the digest.
    ///
    /// # Errors
    /// When there is one that cannot be prepared, in words.
    fn find(&self, digest: Digest) -> Result<Option<Arc<KnownPolicies>>, String>;
}

/// No policy set.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPolicies;

impl PolicySource for NoPolicies {
    fn known(&self) -> Vec<(Digest, String)> {
        Vec::new()
    }

    fn find(&self, _: Digest) -> Result<Option<Arc<KnownPolicies>>, String> {
        Ok(None)
    }
}

impl KnownPolicies {
    /// The signatures of a binding's policy, as far as is known; `None` for one that is a file.
    pub(crate) fn signed_of(&self, binding: &str) -> Option<&Result<SignedPolicy, String>> {
        self.signed.iter().find(|(name, _)| name == binding).map(|(_, signed)| signed)
    }

    /// The literals of all settings, which claims are changed to.
    pub(crate) fn literals(&self) -> SettingsLiterals {
        let mut literals = SettingsLiterals::default();
        self.settings.iter().for_each(|(_, settings)| literals.add(settings));
        self.settings.iter().for_each(|(_, settings)| literals.add_texts(settings));
        literals
    }

    /// The settings of a binding.
    pub(crate) fn settings_of(&self, binding: &str) -> Option<&str> {
        let of = self.settings.iter().find(|(name, _)| name == binding);
        of.map(|(_, settings)| settings.as_str())
    }
}
