//! The limits, as the clouds document them.

use std::ops::RangeInclusive;

/// AWS: characters of a token (`WebIdentityToken` of `AssumeRoleWithWebIdentity`).
pub const AWS_TOKEN_CHARACTERS: RangeInclusive<usize> = 4..=20_000;

/// AWS: bytes of an issuer URL (`Url` of `CreateOpenIDConnectProvider`), and of an audience, which is a client
/// id of the provider.
pub const AWS_ISSUER_BYTES: usize = 255;

/// AWS: session tags of a session.
pub const AWS_SESSION_TAGS: usize = 50;

/// AWS: characters of a session tag's key.
pub const AWS_SESSION_TAG_KEY: usize = 128;

/// AWS: characters of a session tag's value.
pub const AWS_SESSION_TAG_VALUE: usize = 256;

/// Entra: characters of issuer and subject of a federated identity credential.
pub const AZURE_CHARACTERS: usize = 600;

/// GCP: bytes of `google.subject`, which is mapped from `sub`.
pub const GCP_SUBJECT_BYTES: usize = 127;

/// GCP: bytes of an audience.
pub const GCP_AUDIENCE_BYTES: usize = 256;

/// GCP: audiences of a token, since a provider allows no more.
pub const GCP_AUDIENCES: usize = 10;

/// GCP: seconds from `iat` to `exp` must be fewer.
pub const GCP_LIFETIME_SECONDS: u64 = 48 * 3600;
