//! Verdicts in the form of `expect` in a file of cases.

use countersign::{Fault, Grant, Verdict};

use crate::cases::{Expectation, ExpectedGrant};

/// Writes a verdict as `expect` in a file of cases has it, with the messages of a denial or the description of a fault.
pub fn verdict_text(result: &Result<Verdict, Fault>) -> (String, Vec<String>) {
    (found(result), detail(result))
}

/// Writes an expectation as the file has it.
pub(crate) fn expected(expect: &Expectation) -> String {
    match expect {
        Expectation::Permit(grant) => expected_grant("permit", grant),
        Expectation::Restrict(grant) => expected_grant("restrict", grant),
        Expectation::Deny(codes) => deny(codes.as_slice().iter().map(String::as_str)),
        Expectation::Abstain => "abstain".to_owned(),
        Expectation::Fault(code) => format!("fault = {code:?}"),
    }
}

/// Writes a verdict in the same form.
pub(crate) fn found(result: &Result<Verdict, Fault>) -> String {
    match result {
        Ok(Verdict::Permit(grant)) => found_grant("permit", grant),
        Ok(Verdict::Restrict(grant)) => found_grant("restrict", grant),
        Ok(Verdict::Deny(reasons)) => deny(reasons.iter().map(|reason| reason.code.as_str())),
        Ok(Verdict::Abstain) => "abstain".to_owned(),
        Err(fault) => format!("fault = {:?}", fault.code()),
    }
}

/// The messages of a denial, or the description of a fault.
pub(crate) fn detail(result: &Result<Verdict, Fault>) -> Vec<String> {
    match result {
        Ok(Verdict::Deny(reasons)) => reasons.iter().map(|reason| reason.message.clone()).collect(),
        Err(fault) => vec![fault.to_string()],
        Ok(Verdict::Permit(_) | Verdict::Restrict(_) | Verdict::Abstain) => Vec::new(),
    }
}

fn expected_grant(verdict: &str, grant: &ExpectedGrant) -> String {
    let ExpectedGrant { max_ttl, audiences, claims } = grant;
    let claims = claims.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    narrowing(verdict, *max_ttl, audiences.clone(), claims)
}

fn found_grant(verdict: &str, grant: &Grant) -> String {
    let Grant { max_ttl, audiences, claims } = grant;
    let audiences = audiences
        .as_ref()
        .map(|kept| kept.iter().map(|audience| audience.as_str().to_owned()).collect());
    let claims = claims.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    narrowing(verdict, *max_ttl, audiences, claims)
}

fn narrowing<'c>(
    verdict: &str,
    max_ttl: Option<u32>,
    audiences: Option<Vec<String>>,
    claims: impl Iterator<Item = (&'c str, &'c str)>,
) -> String {
    let mut members = Vec::new();
    members.extend(max_ttl.map(|seconds| format!("max-ttl = {seconds}")));
    members.extend(audiences.map(|kept| format!("audiences = {kept:?}")));
    let claims: Vec<_> = claims.map(|(name, value)| format!("{name:?} = {value:?}")).collect();
    if !claims.is_empty() {
        members.push(format!("claims = {{ {} }}", claims.join(", ")));
    }
    match members.as_slice() {
        [] => format!("{verdict} = {{}}"),
        members => format!("{verdict} = {{ {} }}", members.join(", ")),
    }
}

fn deny<'c>(codes: impl Iterator<Item = &'c str>) -> String {
    let codes: Vec<_> = codes.collect();
    match codes.as_slice() {
        [one] => format!("deny = {one:?}"),
        several => format!("deny = {several:?}"),
    }
}
