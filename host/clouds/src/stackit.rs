//! STACKIT, workload identity federation.

use countersign::{AudienceClouds, Cloud, visible};

use crate::preflight::Violations;
use crate::unsigned::{Audiences, UnsignedToken};

/// As long as any issuer is.
const ISSUER_BYTES: usize = 255;

pub(crate) fn check(token: &UnsignedToken<'_>, clouds: &AudienceClouds, found: &mut Violations) {
    found.algorithm("stackit-algorithm", "STACKIT", token, &["RS256"]);
    found.unless(matches!(token.claims.aud, Audiences::One(_)), "stackit-audience", || {
        let count = token.claims.aud.as_slice().len();
        format!("STACKIT takes exactly one audience, and this token has {count}")
    });
    for audience in token.claims.aud.as_slice() {
        let of_stackit = clouds.of(audience) == Some(Cloud::Stackit);
        let elsewhere = Cloud::of_audience(audience).filter(|cloud| *cloud != Cloud::Stackit);
        if let (true, Some(elsewhere)) = (of_stackit, elsewhere) {
            found.add(
                "stackit-audience",
                format!(
                    "`{}` is an audience of {elsewhere} as well, so a token that is sent to one can be replayed \
                     at the other: give STACKIT its own, such as `sts.accounts.stackit.cloud`",
                    visible(audience)
                ),
            );
        }
    }
    found.issuer("stackit-issuer", "STACKIT", token, ISSUER_BYTES, true);
    found.times("stackit-times", "STACKIT", token);
}
