//! A release: the description of an immutable policy set, and the files that it is made of.

use std::collections::BTreeMap;

use countersign::{BindingIdentity, Digest, Limits, PolicySet};
use serde::{Deserialize, Serialize};

/// The version of the description.
pub(super) const VERSION: u32 = 1;

/// A release, as it was staged. Within a `version`, members are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// 1.
    pub version: u32,
    /// Its digest: that of the policy set.
    pub release: Digest,
    /// The time at which it was staged first, in seconds since 1970.
    pub staged_at: u64,
    /// The version of the program that staged it.
    pub program: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Digests of components and settings files, by the paths that the manifest has for them.
    pub files: BTreeMap<String, Digest>,
    /// The bindings, in the order of names.
    pub bindings: Vec<ReleaseBinding>,
    /// The number of cases that passed, by the path of their component.
    #[serde(default)]
    pub cases: BTreeMap<String, u64>,
}

/// A binding of a release: everything that its verdicts follow from, and its part in decisions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseBinding {
    /// Its name.
    pub name: String,
    /// The policy's own name and version.
    pub policy: String,
    /// Digest of the component.
    pub component: Digest,
    /// Digest of the settings.
    pub settings: Digest,
    /// The scope, as records have it.
    pub scope: serde_json::Value,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// Counts a permit as one.
    pub may_permit: bool,
    /// The limits.
    pub limits: BTreeMap<String, u64>,
    /// The claims that it may add.
    pub claims: Vec<String>,
}

impl ReleaseBinding {
    fn new(identity: &BindingIdentity) -> Self {
        let limits = Limits::FIELDS.iter();
        let limits =
            limits.map(|field| (field.member.to_owned(), field.get(&identity.limits))).collect();
        Self {
            name: identity.name.to_string(),
            policy: format!("{} {}", identity.policy_name, identity.policy_version),
            component: identity.policy,
            settings: identity.settings,
            scope: serde_json::to_value(&identity.scope).unwrap_or_default(),
            mode: identity.mode.as_str().to_owned(),
            may_permit: identity.may_permit,
            limits,
            claims: identity.claims.iter().map(ToString::to_string).collect(),
        }
    }

    /// The bindings of a policy set.
    pub(super) fn of(policies: &PolicySet) -> Vec<Self> {
        policies.bindings().iter().map(|binding| Self::new(binding.identity())).collect()
    }
}
