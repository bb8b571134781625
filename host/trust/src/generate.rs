//! Trust, written.

mod aws;
mod azure;
mod gcp;
mod hcl;
mod stackit;

use countersign::{Audience, Subject};
use countersign_clouds::Cloud;
use countersign_clouds::{AWS_ISSUER_BYTES, AZURE_CHARACTERS, GCP_SUBJECT_BYTES};
use serde_json::Value;

/// AWS: characters of a trust policy without white space, unless the quota was raised.
pub const AWS_POLICY_CHARACTERS: usize = 2048;

/// Azure: federated credentials of an identity.
pub const AZURE_CREDENTIALS: usize = 20;

/// GCP: characters of a condition of a provider.
const GCP_CONDITION_CHARACTERS: usize = 4096;

/// Who is trusted: tokens of an issuer, for an audience, with one of some subjects. Everything is compared
/// for equality.
#[derive(Debug, Clone)]
pub struct TrustOf {
    /// The issuer identifier.
    pub issuer: String,
    /// The audience.
    pub audience: Audience,
    /// The subjects, and a short name for each, of letters, digits and dashes.
    pub subjects: Vec<(String, Subject)>,
    /// What resources are called: lower-case letters, digits and dashes.
    pub name: String,
    /// AWS: whether there is a provider of the issuer already.
    pub existing_provider: bool,
}

/// The same trust in two languages.
#[derive(Debug, Clone)]
pub struct GeneratedTrust {
    /// As the cloud's own commands take it.
    pub json: Value,
    /// As OpenTofu takes it.
    pub hcl: String,
}

/// Why there can be no such trust.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustError {
    /// Nobody would be let in.
    #[error("no subject: name a definition")]
    NoSubject,
    /// A value is longer than the cloud takes.
    #[error("{what} has {found} {unit}, and {cloud} takes {most}: {remedy}")]
    TooLong {
        /// Which value.
        what: String,
        /// The cloud.
        cloud: Cloud,
        /// How long it is.
        found: usize,
        /// How long it can be.
        most: usize,
        /// What is counted.
        unit: &'static str,
        /// What helps.
        remedy: &'static str,
    },
    /// The audience is another cloud's.
    #[error(
        "`{audience}` is an audience of {other}, so that a token could be replayed there; give {cloud} its own"
    )]
    AudienceOfAnother {
        /// The audience.
        audience: Audience,
        /// The cloud whose it is.
        other: Cloud,
        /// The cloud that it is for.
        cloud: Cloud,
    },
    /// The issuer is none that the cloud takes.
    #[error("AWS takes an issuer without a port: `{issuer}`")]
    Port {
        /// The issuer.
        issuer: String,
    },
    /// Nothing is written for this cloud.
    #[error("no trust is written for `{0}`")]
    NoTrust(Cloud),
}

impl TrustOf {
    /// Writes the trust of a cloud. What belongs to the account and not to the issuer (account number, pool,
    /// identity) stands as a variable of OpenTofu, and in JSON as a word in capitals.
    ///
    /// # Errors
    /// When it is over a limit of the cloud, or the audience is another cloud's.
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

/// A value that is too long, if it is.
fn bounded(
    cloud: Cloud,
    what: impl Into<String>,
    (found, most): (usize, usize),
    unit: &'static str,
    remedy: &'static str,
) -> Result<(), TrustError> {
    if found <= most {
        return Ok(());
    }
    Err(TrustError::TooLong { what: what.into(), cloud, found, most, unit, remedy })
}

/// What limits a subject has.
fn subject_limits(trust: &TrustOf, cloud: Cloud) -> Result<(), TrustError> {
    let (most, unit) = match cloud {
        Cloud::Gcp => (GCP_SUBJECT_BYTES, "bytes"),
        Cloud::Azure => (AZURE_CHARACTERS, "characters"),
        _ => return Ok(()),
    };
    for subject in trust.subject_texts() {
        let remedy = "a shorter meshStack id or workspace identifier is needed";
        bounded(cloud, format!("the subject `{subject}`"), (subject.len(), most), unit, remedy)?;
    }
    Ok(())
}

/// What limits the issuer has with AWS.
fn aws_issuer(trust: &TrustOf) -> Result<&str, TrustError> {
    let issuer = &trust.issuer;
    let remedy = "the issuer needs a shorter URL";
    bounded(Cloud::Aws, "the issuer", (issuer.len(), AWS_ISSUER_BYTES), "bytes", remedy)?;
    let without_scheme = issuer.strip_prefix("https://").unwrap_or(issuer);
    if without_scheme.split('/').next().is_some_and(|host| host.contains(':')) {
        return Err(TrustError::Port { issuer: issuer.clone() });
    }
    Ok(without_scheme)
}
