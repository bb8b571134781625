//! The rules by which verdicts become a decision.
//!
//! Any deny refuses; any fault of an enforcing binding refuses; at least one permit is needed, and a
//! restriction is none; grants only narrow. A refusal gives every reason there is, so that one round of
//! mending is enough. Nothing here depends on the order of the trace but the order of the reasons.

use std::collections::BTreeMap;

use super::outcome::{BindingTrace, Outcome, Reason, ReasonSource, Terms, refusal};
use super::verdict::{Grant, Verdict};
use crate::policy_set::scope::Mode;
use crate::request::claims::TokenRequest;
use crate::request::identifier::BindingName;

/// Combines the verdicts of the bindings that apply.
pub(crate) fn combine(token: &TokenRequest, trace: &[BindingTrace]) -> Outcome {
    let enforcing = || trace.iter().filter(|entry| entry.binding.mode == Mode::Enforce);
    let mut reasons = Vec::new();
    let mut grants = Vec::new();
    let mut permitted = false;
    for entry in enforcing() {
        let binding = &entry.binding.name;
        match &entry.result {
            // INVARIANT: a restriction narrows and never counts as a permit, and neither does a permit of a
            // binding that may not permit. Otherwise a policy that only limits tokens, bound to all runs, would
            // let everybody in.
            Ok(Verdict::Permit(grant) | Verdict::Restrict(grant)) => {
                permitted |= entry.permits();
                grants.push((binding, grant));
            }
            Ok(Verdict::Abstain) => {}
            Ok(Verdict::Deny(given)) if given.is_empty() => reasons.push(by_host(
                refusal::NO_REASON_GIVEN,
                format!("the policy of `{binding}` denies, and gives no reason"),
                Some(binding),
            )),
            Ok(Verdict::Deny(given)) => reasons.extend(given.iter().map(|reason| Reason {
                code: reason.code.clone(),
                message: reason.message.clone(),
                source: ReasonSource::Policy,
                binding: Some(binding.clone()),
            })),
            Err(fault) => reasons.push(by_host(
                fault.code(),
                format!("the policy of `{binding}` gave no valid verdict"),
                Some(binding),
            )),
        }
    }
    if !reasons.is_empty() {
        return Outcome::Refused(reasons);
    }
    if !permitted {
        return Outcome::Refused(vec![if enforcing().next().is_none() {
            by_host(
                refusal::NO_APPLICABLE_BINDING,
                "no enforcing binding applies to this run, and a run that no policy decides on is refused"
                    .to_owned(),
                None,
            )
        } else {
            by_host(
                refusal::NO_PERMIT,
                "no policy that applies permits a token for this run, and at least one must"
                    .to_owned(),
                None,
            )
        }]);
    }
    match narrow(token, &grants) {
        Ok(terms) => Outcome::Approved(terms),
        Err(reasons) => Outcome::Refused(reasons),
    }
}

/// Narrows the request by every grant: smallest lifetime, intersection of audiences, union of claims.
fn narrow(token: &TokenRequest, grants: &[(&BindingName, &Grant)]) -> Result<Terms, Vec<Reason>> {
    let mut reasons = Vec::new();
    let ttl_seconds =
        grants.iter().filter_map(|(_, grant)| grant.max_ttl).fold(token.ttl_seconds(), u32::min);

    let mut audiences = token.audiences().to_vec();
    audiences.retain(|audience| {
        grants
            .iter()
            .all(|(_, grant)| grant.audiences.as_ref().is_none_or(|kept| kept.contains(audience)))
    });
    if audiences.is_empty() {
        reasons.push(by_host(
            refusal::NO_AUDIENCE_LEFT,
            "none of the requested audiences is left after the grants of all policies".to_owned(),
            None,
        ));
    }

    let mut claims = BTreeMap::new();
    for (binding, grant) in grants {
        for (name, value) in &grant.claims {
            if claims.insert(name.clone(), value.clone()).is_some_and(|other| other != *value) {
                reasons.push(by_host(
                    refusal::CONFLICTING_CLAIM,
                    format!("two policies give the claim `{name}` two values"),
                    Some(binding),
                ));
            }
        }
    }
    if reasons.is_empty() { Ok(Terms { audiences, ttl_seconds, claims }) } else { Err(reasons) }
}

fn by_host(code: &str, message: String, binding: Option<&BindingName>) -> Reason {
    Reason { code: code.to_owned(), message, source: ReasonSource::Host, binding: binding.cloned() }
}
