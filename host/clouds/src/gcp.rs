//! Google Cloud's Security Token Service, workload identity federation.

use crate::cloud::{AudienceClouds, Cloud};
use crate::limits::{
    GCP_AUDIENCE_BYTES, GCP_AUDIENCES, GCP_MAX_LIFETIME_SECONDS, GCP_SUBJECT_BYTES,
};
use crate::preflight::Violations;
use crate::unsigned::UnsignedToken;

pub(crate) fn check(token: &UnsignedToken<'_>, clouds: &AudienceClouds, found: &mut Violations) {
    found.algorithm("gcp-algorithm", "GCP", token, &["RS256", "ES256"]);
    let has_key_id = token.header.kid.as_deref().is_some_and(|kid| !kid.is_empty());
    found.unless(has_key_id, "gcp-key-id", || "GCP accepts no token without a `kid`".to_owned());
    let bytes = token.claims.sub.len();
    found.unless(bytes <= GCP_SUBJECT_BYTES, "gcp-subject", || {
        format!(
            "GCP accepts at most {GCP_SUBJECT_BYTES} bytes for `google.subject`, which is mapped from the subject, \
             and this one has {bytes}"
        )
    });
    let audiences = token.claims.aud.as_slice();
    found.unless(audiences.len() <= GCP_AUDIENCES, "gcp-audience", || {
        format!(
            "GCP accepts at most {GCP_AUDIENCES} audiences, and this token has {}",
            audiences.len()
        )
    });
    for audience in audiences {
        let of_gcp = clouds.of(audience) == Some(Cloud::Gcp);
        found.unless(!of_gcp || audience.len() <= GCP_AUDIENCE_BYTES, "gcp-audience", || {
            format!(
                "GCP accepts an audience of at most {GCP_AUDIENCE_BYTES} bytes, and this one has {}",
                audience.len()
            )
        });
    }
    found.issuer("gcp-issuer", "GCP", token, None, true);
    found.times("gcp-times", "GCP", token);
    if let (Some(iat), Some(exp)) = (token.claims.iat.as_u64(), token.claims.exp.as_u64()) {
        let lifetime = exp.saturating_sub(iat);
        found.unless(lifetime < GCP_MAX_LIFETIME_SECONDS, "gcp-lifetime", || {
            format!("GCP accepts a lifetime of less than {GCP_MAX_LIFETIME_SECONDS} seconds, and this token has {lifetime}")
        });
    }
}
