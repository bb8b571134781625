//! The limits that the clouds document.

use std::ops::RangeInclusive;

/// AWS: length of a token in characters (`WebIdentityToken` of `AssumeRoleWithWebIdentity`).
pub const AWS_TOKEN_CHARACTERS: RangeInclusive<usize> = 4..=20_000;

/// AWS: maximum bytes of an issuer URL (`Url` of `CreateOpenIDConnectProvider`), and of an audience, which is a client id
/// of the provider.
pub const AWS_ISSUER_BYTES: usize = 255;

/// AWS: maximum session tags of a session.
pub const AWS_SESSION_TAGS: usize = 50;

/// AWS: maximum characters of a session tag's key.
pub const AWS_SESSION_TAG_KEY: usize = 128;

/// AWS: maximum characters of a session tag's value.
pub const AWS_SESSION_TAG_VALUE: usize = 256;

/// Entra: maximum characters of issuer and subject of a federated identity credential.
pub const AZURE_CHARACTERS: usize = 600;

/// GCP: maximum bytes of `google.subject`, which is mapped from `sub`.
pub const GCP_SUBJECT_BYTES: usize = 127;

/// GCP: maximum bytes of an audience.
pub const GCP_AUDIENCE_BYTES: usize = 256;

/// GCP: maximum audiences of a token, since a provider allows no more.
pub const GCP_AUDIENCES: usize = 10;

/// GCP: the seconds from `iat` to `exp` that a token's lifetime must stay below.
pub const GCP_MAX_LIFETIME_SECONDS: u64 = 48 * 3600;
