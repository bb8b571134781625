//! Microsoft Entra ID, workload identity federation.

use countersign::visible;

use crate::cloud::{AudienceClouds, Cloud};
use crate::limits::AZURE_CHARACTERS;
use crate::preflight::Violations;
use crate::unsigned::{Audiences, UnsignedToken};

pub(crate) fn check(token: &UnsignedToken<'_>, clouds: &AudienceClouds, found: &mut Violations) {
    found.algorithm("azure-algorithm", "Entra", token, &["RS256"]);
    let length = token.claims.sub.chars().count();
    found.unless(length <= AZURE_CHARACTERS, "azure-subject", || {
        format!("Entra accepts a subject of at most {AZURE_CHARACTERS} characters, and this one has {length}")
    });
    found.unless(matches!(token.claims.aud, Audiences::One(_)), "azure-audience", || {
        let audiences = token.claims.aud.as_slice();
        let shown: Vec<_> = audiences.iter().map(|audience| visible(audience)).collect();
        format!(
            "Entra accepts exactly one audience, and this token has {}: {}",
            shown.len(),
            shown.join(", ")
        )
    });
    // An operator may have assigned another audience to Entra.
    for audience in token.claims.aud.as_slice() {
        let is_usual = Cloud::of_audience(audience) == Some(Cloud::Azure);
        found.unless(
            is_usual || clouds.of(audience) != Some(Cloud::Azure),
            "azure-audience",
            || {
                format!(
                    "Entra accepts `api://AzureADTokenExchange`, and this token is for `{}`",
                    visible(audience)
                )
            },
        );
    }
    found.issuer("azure-issuer", "Entra", token, Some(AZURE_CHARACTERS), true);
    found.times("azure-times", "Entra", token);
}
