//! Generates trust policies.

mod aws;
mod azure;
mod gcp;
mod hcl;
mod stackit;

use countersign::{Audience, Subject};
use countersign_clouds::Cloud;
use countersign_clouds::{AWS_ISSUER_BYTES, AZURE_CHARACTERS, GCP_SUBJECT_BYTES};
use serde_json::Value;

/// AWS: the default quota of a trust policy, in characters without white space.
pub const AWS_POLICY_CHARACTERS: usize = 2048;

/// Azure: the maximum number of federated credentials of an identity.
pub const AZURE_CREDENTIALS: usize = 20;

/// GCP: the maximum length of a provider's condition, in characters.
const GCP_CONDITION_CHARACTERS: usize = 4096;

/// The tokens to trust: those of an issuer, for an audience, with one of the given subjects. Everything is compared
/// for equality.
#[derive(Debug, Clone)]
pub struct TrustSpec {
    /// The issuer identifier.
    pub issuer: String,
    /// The audience.
    pub audience: Audience,
    /// The subjects, and a short name for each, of letters, digits and dashes.
    pub subjects: Vec<(String, Subject)>,
    /// The name of the resources: lower-case letters, digits and dashes.
    pub name: String,
    /// AWS: use the provider that the account already has for the issuer.
    pub existing_provider: bool,
    /// Azure: the credentials are of an application, `azuread_application_federated_identity_credential`, and not of
    /// a user-assigned identity.
    pub of_application: bool,
}

/// The same trust policy in two languages.
#[derive(Debug, Clone)]
pub struct GeneratedTrust {
    /// JSON for the cloud's own command line.
    pub json: Value,
    /// HCL for OpenTofu.
    pub hcl: String,
}

/// The errors of [`TrustSpec::generate`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// No subject would be admitted.
    #[error("no subject: name a definition")]
    NoSubject,
    /// A value is over the cloud's limit.
    #[error("{what} has {found} {unit}, and {cloud} takes {max}: {remedy}")]
    TooLong {
        /// The name of the value.
        what: String,
        /// The cloud.
        cloud: Cloud,
        /// The value's length.
        found: usize,
        /// The maximum length.
        max: usize,
        /// The unit of both lengths.
        unit: &'static str,
        /// A way to stay below the limit.
        remedy: &'static str,
    },
    /// The audience is another cloud's.
    #[error(
        "`{audience}` is an audience of {other}, so that a token could be replayed there; give {cloud} its own"
    )]
    AudienceOfAnother {
        /// The audience.
        audience: Audience,
        /// The cloud that the audience belongs to.
        other: Cloud,
        /// The cloud that the policy is for.
        cloud: Cloud,
    },
    /// The audience has what AWS takes for a variable.
    #[error(
        "`{audience}` has `{begin}`, with which a variable begins in a policy of AWS: choose an audience without it"
    )]
    Variable {
        /// The audience.
        audience: Audience,
        /// The beginning of a variable.
        begin: &'static str,
    },
    /// The issuer has a port, which AWS does not accept.
    #[error("AWS accepts an issuer without a port: `{issuer}`")]
    Port {
        /// The issuer.
        issuer: String,
    },
    /// Trust policies of this cloud are not supported.
    #[error("no trust is written for `{0}`")]
    NoTrust(Cloud),
}

impl TrustSpec {
    /// Generates the trust policy of a cloud. Values of the account rather than the issuer (account number, pool,
    /// identity) are OpenTofu variables, and words in capitals in JSON.
    ///
    /// # Errors
    /// Returns an error if the policy is over a limit of the cloud, or the audience belongs to another cloud.
    pub fn generate(&self, cloud: Cloud) -> Result<GeneratedTrust, TrustError> {
        if self.subjects.is_empty() {
            return Err(TrustError::NoSubject);
        }
        let other = Cloud::of_audience(self.audience.as_str()).filter(|other| *other != cloud);
        if let Some(other) = other {
            let audience = self.audience.clone();
            return Err(TrustError::AudienceOfAnother { audience, other, cloud });
        }
        match cloud {
            Cloud::Aws => aws::generate(self),
            Cloud::Azure => azure::generate(self),
            Cloud::Gcp => gcp::generate(self),
            Cloud::Stackit => Ok(stackit::generate(self)),
            Cloud::Other => Err(TrustError::NoTrust(cloud)),
        }
    }

    fn subject_texts(&self) -> Vec<&str> {
        self.subjects.iter().map(|(_, subject)| subject.as_str()).collect()
    }
}

/// Checks a length against a limit of the cloud.
fn bounded(
    cloud: Cloud,
    what: impl Into<String>,
    (found, max): (usize, usize),
    unit: &'static str,
    remedy: &'static str,
) -> Result<(), TrustError> {
    if found <= max {
        return Ok(());
    }
    Err(TrustError::TooLong { what: what.into(), cloud, found, max, unit, remedy })
}

/// Checks the subjects against the cloud's limit.
fn subject_limits(trust: &TrustSpec, cloud: Cloud) -> Result<(), TrustError> {
    let (max, unit) = match cloud {
        Cloud::Gcp => (GCP_SUBJECT_BYTES, "bytes"),
        Cloud::Azure => (AZURE_CHARACTERS, "characters"),
        _ => return Ok(()),
    };
    for subject in trust.subject_texts() {
        let remedy = "a shorter meshStack id or workspace identifier is needed";
        bounded(cloud, format!("the subject `{subject}`"), (subject.len(), max), unit, remedy)?;
    }
    Ok(())
}

/// Checks the issuer against AWS's limits, and returns it without its scheme.
fn aws_issuer(trust: &TrustSpec) -> Result<&str, TrustError> {
    let issuer = &trust.issuer;
    let remedy = "the issuer needs a shorter URL";
    bounded(Cloud::Aws, "the issuer", (issuer.len(), AWS_ISSUER_BYTES), "bytes", remedy)?;
    let without_scheme = issuer.strip_prefix("https://").unwrap_or(issuer);
    if without_scheme.split('/').next().is_some_and(|host| host.contains(':')) {
        return Err(TrustError::Port { issuer: issuer.clone() });
    }
    Ok(without_scheme)
}
