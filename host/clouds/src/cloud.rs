//! The clouds, and the audiences of their tokens.

use std::collections::BTreeMap;
use std::fmt;

use countersign::Audience;

/// A cloud that takes a token, and so sets its constraints.
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
    /// Another relying party, whose constraints are not known: none is checked.
    Other,
}

/// A word that names no cloud.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `aws`, `azure`, `gcp`, `stackit`, or `other` for what none of them is")]
pub struct CloudError;

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Aws, Self::Azure, Self::Gcp, Self::Stackit, Self::Other];

    /// The word for it in manifests, codes and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Gcp => "gcp",
            Self::Stackit => "stackit",
            Self::Other => "other",
        }
    }

    /// The cloud that an audience of a usual form belongs to.
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

/// The cloud that takes the tokens of an audience: by the operator's configuration, or else by the usual form.
///
/// ```
/// use countersign::Audience;
/// use countersign_clouds::{AudienceClouds, Cloud};
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

/// An audience has the usual form of one cloud, and is assigned to another.
///
/// A token that is sent to one could be replayed at the other, whose constraints were not checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the audience `{audience}` belongs to {usual}: a token for it can be used there; give {assigned} one of its own"
)]
pub struct AudienceCloudsError {
    /// The audience.
    pub audience: Audience,
    /// The cloud of its form.
    pub usual: Cloud,
    /// The cloud that it is assigned to.
    pub assigned: Cloud,
}

impl AudienceClouds {
    /// Audiences that the operator assigns.
    ///
    /// # Errors
    /// When one has the usual form of another cloud.
    pub fn new(own: BTreeMap<Audience, Cloud>) -> Result<Self, AudienceCloudsError> {
        for (audience, assigned) in &own {
            let usual = Cloud::of_audience(audience.as_str()).filter(|usual| usual != assigned);
            if let Some(usual) = usual {
                let (audience, assigned) = (audience.clone(), *assigned);
                return Err(AudienceCloudsError { audience, usual, assigned });
            }
        }
        Ok(Self(own))
    }

    /// The cloud of an audience; `None` where none is assigned and it has no usual form.
    pub fn of(&self, audience: &str) -> Option<Cloud> {
        let own = self.0.iter().find(|(own, _)| own.as_str() == audience);
        own.map(|(_, cloud)| *cloud).or_else(|| Cloud::of_audience(audience))
    }

    /// The audiences that the operator assigned.
    pub fn own(&self) -> impl Iterator<Item = (&Audience, Cloud)> {
        self.0.iter().map(|(audience, cloud)| (audience, *cloud))
    }
}
