//! Which cloud a token is for.

use std::collections::BTreeMap;
use std::fmt;

use crate::request::identifier::Audience;

/// What takes a token, and so what the token must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cloud {
    /// AWS STS, `AssumeRoleWithWebIdentity`.
    Aws,
    /// Microsoft Entra ID, workload identity federation.
    Azure,
    /// Google Cloud's Security Token Service, workload identity federation.
    Gcp,
    /// STACKIT, workload identity federation.
    Stackit,
    /// Something else, whose demands are not known: no constraint is checked.
    Other,
}

/// A word that names no cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `aws`, `azure`, `gcp`, `stackit`, or `other` for what none of them is")]
pub struct CloudError;

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Aws, Self::Azure, Self::Gcp, Self::Stackit, Self::Other];

    /// The word that manifests, codes and commands have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Stackit => "stackit",
            Self::Other => "other",
        }
    }

    /// The cloud that an audience of a usual form is of.
    ///
    /// These are `aws-workload-identity-provider:…` and `sts.amazonaws.com`;
    /// `gcp-workload-identity-provider:…` and the resource name of a provider;
    /// `api://AzureADTokenExchange` and its forms of other Azure clouds; `sts.accounts.stackit.cloud`.
    pub fn of_audience(audience: &str) -> Option<Self> {
        match audience {
            "sts.amazonaws.com" => Some(Self::Aws),
            "api://AzureADTokenExchange"
            | "api://AzureADTokenExchangeUSGov"
            | "api://AzureADTokenExchangeChina" => Some(Self::Azure),
            "sts.accounts.stackit.cloud" => Some(Self::Stackit),
            _ if audience.starts_with("aws-workload-identity-provider:") => Some(Self::Aws),
            _ if audience.starts_with("gcp-workload-identity-provider:")
                || audience.starts_with("//iam.googleapis.com/")
                || audience.starts_with("https://iam.googleapis.com/") =>
            {
                Some(Self::Gcp)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Cloud {
    type Err = CloudError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|cloud| cloud.as_str() == text).ok_or(CloudError)
    }
}

/// Which cloud takes the tokens of an audience: what an operator said, and otherwise the usual form.
///
/// ```
/// use countersign::{Audience, AudienceClouds, Cloud};
///
/// let own = [(Audience::parse("https://vault.example.com")?, Cloud::Other)];
/// let clouds = AudienceClouds::new(own.into())?;
/// assert_eq!(clouds.of("https://vault.example.com"), Some(Cloud::Other));
/// assert_eq!(clouds.of("aws-workload-identity-provider:demo"), Some(Cloud::Aws));
/// assert_eq!(clouds.of("https://elsewhere.example.com"), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudienceClouds(BTreeMap<Audience, Cloud>);

/// An audience has the usual form of one cloud, and was said to be another's.
///
/// A token that is sent to one could be replayed at the other, and what the one demands would not be checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the audience `{audience}` is {usual}'s: a token for it can be used there; give {said} one of its own"
)]
pub struct AudienceCloudsError {
    /// The audience.
    pub audience: Audience,
    /// Whose form it has.
    pub usual: Cloud,
    /// Whose it was said to be.
    pub said: Cloud,
}

impl AudienceClouds {
    /// With audiences of one's own.
    ///
    /// # Errors
    /// When one has the usual form of another cloud.
    pub fn new(own: BTreeMap<Audience, Cloud>) -> Result<Self, AudienceCloudsError> {
        for (audience, said) in &own {
            let usual = Cloud::of_audience(audience.as_str()).filter(|usual| usual != said);
            if let Some(usual) = usual {
                let (audience, said) = (audience.clone(), *said);
                return Err(AudienceCloudsError { audience, usual, said });
            }
        }
        Ok(Self(own))
    }

    /// The cloud of an audience; `None` where nobody said, and it has no usual form.
    pub fn of(&self, audience: &str) -> Option<Cloud> {
        let own = self.0.iter().find(|(own, _)| own.as_str() == audience);
        own.map(|(_, cloud)| *cloud).or_else(|| Cloud::of_audience(audience))
    }

    /// The audiences of one's own.
    pub fn own(&self) -> impl Iterator<Item = (&Audience, Cloud)> {
        self.0.iter().map(|(audience, cloud)| (audience, *cloud))
    }
}
