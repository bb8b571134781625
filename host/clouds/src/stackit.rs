//! STACKIT, workload identity federation.

use crate::preflight::Violations;
use crate::unsigned::{Audiences, UnsignedToken};

pub(crate) fn check(token: &UnsignedToken<'_>, found: &mut Violations) {
    found.algorithm("stackit-algorithm", "STACKIT", token, &["RS256"]);
    found.unless(matches!(token.claims.aud, Audiences::One(_)), "stackit-audience", || {
        let count = token.claims.aud.as_slice().len();
        format!("STACKIT accepts exactly one audience, and this token has {count}")
    });
    found.issuer("stackit-issuer", "STACKIT", token, None, true);
    found.times("stackit-times", "STACKIT", token);
}
