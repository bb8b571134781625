//! The check of a token before it is signed.

use countersign::visible;
use serde::Serialize;

use crate::cloud::{AudienceClouds, Cloud};
use crate::unsigned::UnsignedToken;
use crate::{aws, azure, gcp, stackit};

/// A limit of a cloud that the token violates. It serialises to an object with `code` and `message`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The stable code: cloud and limit. [`CODES`] has all of them.
    pub code: &'static str,
    /// The limit and the value, in words.
    pub message: String,
}

/// All codes of violations.
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

/// Checks a token against the limits of the cloud of each of its audiences.
///
/// An audience of an unknown cloud is a violation, since none of its limits can be checked. So is a token without an
/// audience.
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
                    "`{}` is not a known audience of a cloud: assign it to one in the manifest, under \
                     `issuer.audiences` (aws, azure, gcp, stackit, other)",
                    visible(audience)
                ),
            ),
            // Each cloud is checked once, in the order of the audiences.
            Some(cloud) if seen.contains(&cloud) => {}
            Some(cloud) => seen.push(cloud),
        }
    }
    if let [first, second, ..] = seen.as_slice() {
        violations.add(
            "audiences-of-several-clouds",
            format!("a token for {first} and {second} can be replayed by either at the other: request one for each"),
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

/// Collects violations.
#[derive(Default)]
pub(crate) struct Violations(Vec<Violation>);

impl Violations {
    pub(crate) fn add(&mut self, code: &'static str, message: impl Into<String>) {
        self.0.push(Violation { code, message: message.into() });
    }

    /// Adds a violation if a condition does not hold.
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

    /// Checks that the algorithm is one of those that the cloud accepts.
    pub(crate) fn algorithm(
        &mut self,
        code: &'static str,
        cloud: &str,
        token: &UnsignedToken<'_>,
        accepted: &[&str],
    ) {
        let algorithm = token.header.alg.as_ref();
        self.unless(accepted.contains(&algorithm), code, || {
            format!(
                "{cloud} accepts {}, and this token has {}",
                accepted.join(", "),
                visible(algorithm)
            )
        });
    }

    /// Checks that times are whole seconds, and in order.
    pub(crate) fn times(&mut self, code: &'static str, cloud: &str, token: &UnsignedToken<'_>) {
        let claims = &token.claims;
        let times =
            [("iat", Some(&claims.iat)), ("nbf", claims.nbf.as_ref()), ("exp", Some(&claims.exp))];
        for (name, time) in times {
            let Some(time) = time else { continue };
            self.unless(time.is_u64(), code, || {
                format!("{cloud} accepts whole seconds since 1970, and `{name}` is {time}")
            });
        }
        if let (Some(iat), Some(exp)) = (claims.iat.as_u64(), claims.exp.as_u64()) {
            self.unless(iat < exp, code, || format!("`exp` ({exp}) is not after `iat` ({iat})"));
        }
    }

    /// Checks that the issuer is an https URL in its plainest form, with at most `max` bytes, and a port only if `port`
    /// allows it.
    pub(crate) fn issuer(
        &mut self,
        code: &'static str,
        cloud: &str,
        token: &UnsignedToken<'_>,
        max: Option<usize>,
        port: bool,
    ) {
        let issuer = token.claims.iss.as_ref();
        let shown = visible(issuer);
        if let Some(max) = max.filter(|max| issuer.len() > *max) {
            let found = issuer.len();
            self.add(
                code,
                format!(
                    "{cloud} accepts an issuer of at most {max} bytes, and this one has {found}"
                ),
            );
        }
        let Some(rest) = issuer.strip_prefix("https://") else {
            self.add(
                code,
                format!("{cloud} accepts an issuer that begins with `https://`: `{shown}`"),
            );
            return;
        };
        self.unless(!issuer.contains(['?', '#', '@']), code, || {
            format!("{cloud} accepts an issuer without user, query and fragment: `{shown}`")
        });
        self.unless(issuer.bytes().all(|byte| byte.is_ascii_graphic()), code, || {
            format!(
                "{cloud} compares issuers byte by byte, and this one has white space: `{shown}`"
            )
        });
        let host = rest.split('/').next().unwrap_or_default();
        self.unless(!host.is_empty() && (port || !host.contains(':')), code, || {
            format!("{cloud} accepts an issuer with a host and without a port: `{shown}`")
        });
    }
}
