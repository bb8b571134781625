//! The check before the signature.

use countersign::visible;
use serde::Serialize;

use crate::cloud::{AudienceClouds, Cloud};
use crate::unsigned::UnsignedToken;
use crate::{aws, azure, gcp, stackit};

/// What a cloud would not take. Serialised, it is an object with `code` and `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Stable code; it names cloud and limit. All are in [`CODES`].
    pub code: &'static str,
    /// The limit and the value, for people.
    pub message: String,
}

/// Every code that a violation can have.
pub const CODES: &[&str] = &[
    "audience-without-cloud",
    "audiences-of-several-clouds",
    "aws-algorithm",
    "aws-audience",
    "aws-issuer",
    "aws-session-tags",
    "aws-times",
    "aws-token-size",
    "azure-algorithm",
    "azure-audience",
    "azure-issuer",
    "azure-subject",
    "azure-times",
    "gcp-algorithm",
    "gcp-audience",
    "gcp-issuer",
    "gcp-key-id",
    "gcp-lifetime",
    "gcp-subject",
    "gcp-times",
    "stackit-algorithm",
    "stackit-audience",
    "stackit-issuer",
    "stackit-times",
];

/// Checks a token against the demands of the cloud of each of its audiences.
///
/// An audience whose cloud nobody said is a violation: what is not known is not signed for. So is nothing at
/// all: a token without an audience.
pub fn preflight(token: &UnsignedToken<'_>, clouds: &AudienceClouds) -> Vec<Violation> {
    let mut violations = Violations::default();
    let audiences = token.claims.aud.as_slice();
    if audiences.is_empty() {
        violations.add("audience-without-cloud", "the token has no audience");
    }
    let mut seen = Vec::new();
    for audience in audiences {
        match clouds.of(audience) {
            None => violations.add(
                "audience-without-cloud",
                format!(
                    "`{}` has no usual form of an audience: say in the manifest, under `issuer.audiences`, \
                     which cloud takes it (aws, azure, gcp, stackit, other)",
                    visible(audience)
                ),
            ),
            // Each once, in the order of audiences.
            Some(cloud) if seen.contains(&cloud) => {}
            Some(cloud) => seen.push(cloud),
        }
    }
    if let [first, second, ..] = seen.as_slice() {
        violations.add(
            "audiences-of-several-clouds",
            format!("a token for {first} and {second} can be replayed by either at the other: ask for one for each"),
        );
    }
    for cloud in seen {
        match cloud {
            Cloud::Aws => aws::check(token, clouds, &mut violations),
            Cloud::Azure => azure::check(token, clouds, &mut violations),
            Cloud::Gcp => gcp::check(token, clouds, &mut violations),
            Cloud::Stackit => stackit::check(token, &mut violations),
            Cloud::Other => {}
        }
    }
    violations.0
}

/// Violations, as they are found.
#[derive(Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn add(&mut self, code: &'static str, message: impl Into<String>) {
        self.0.push(Violation { code, message: message.into() });
    }

    /// One where a condition does not hold.
    pub(crate) fn unless(
        &mut self,
        holds: bool,
        code: &'static str,
        message: impl FnOnce() -> String,
    ) {
        if !holds {
            self.add(code, message());
        }
    }

    /// The algorithm is one of those that the cloud takes.
    pub(crate) fn algorithm(
        &mut self,
        code: &'static str,
        cloud: &str,
        token: &UnsignedToken<'_>,
        taken: &[&str],
    ) {
        let algorithm = token.header.alg.as_ref();
        self.unless(taken.contains(&algorithm), code, || {
            format!("{cloud} takes {}, and this token has {}", taken.join(", "), visible(algorithm))
        });
    }

    /// Times are whole seconds that a verifier can reckon with.
    pub(crate) fn times(&mut self, code: &'static str, cloud: &str, token: &UnsignedToken<'_>) {
        let claims = &token.claims;
        let times =
            [("iat", Some(&claims.iat)), ("nbf", claims.nbf.as_ref()), ("exp", Some(&claims.exp))];
        for (name, time) in times {
            let Some(time) = time else { continue };
            self.unless(time.is_u64(), code, || {
                format!("{cloud} takes whole seconds since 1970, and `{name}` is {time}")
            });
        }
        if let (Some(iat), Some(exp)) = (claims.iat.as_u64(), claims.exp.as_u64()) {
            self.unless(iat < exp, code, || format!("`exp` ({exp}) is not after `iat` ({iat})"));
        }
    }

    /// The issuer is an https URL in the plainest form, of at most so many bytes, with a port or not.
    pub(crate) fn issuer(
        &mut self,
        code: &'static str,
        cloud: &str,
        token: &UnsignedToken<'_>,
        most: Option<usize>,
        port: bool,
    ) {
        let issuer = token.claims.iss.as_ref();
        let shown = visible(issuer);
        if let Some(most) = most.filter(|most| issuer.len() > *most) {
            let found = issuer.len();
            self.add(
                code,
                format!(
                    "{cloud} takes an issuer of at most {most} bytes, and this one has {found}"
                ),
            );
        }
        let Some(rest) = issuer.strip_prefix("https://") else {
            self.add(
                code,
                format!("{cloud} takes an issuer that begins with `https://`: `{shown}`"),
            );
            return;
        };
        self.unless(!issuer.contains(['?', '#', '@']), code, || {
            format!("{cloud} takes an issuer without user, query and fragment: `{shown}`")
        });
        self.unless(issuer.bytes().all(|byte| byte.is_ascii_graphic()), code, || {
            format!(
                "{cloud} compares issuers byte by byte, and this one has white space: `{shown}`"
            )
        });
        let host = rest.split('/').next().unwrap_or_default();
        self.unless(!host.is_empty() && (port || !host.contains(':')), code, || {
            format!("{cloud} takes an issuer with a host and without a port: `{shown}`")
        });
    }
}
