//! The policies of the settings, and their annotations.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{Effect, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use countersign_policy::{Grant, Problem, Reason, Token, Verdict};

use crate::problem;

/// The annotations that a policy may have. Any other is likely to be a misspelt one, which would narrow nothing.
const KNOWN: [&str; 6] = ["id", "code", "message", "max_ttl", "restrict", "description"];

/// The annotations of each policy.
pub struct Annotations(BTreeMap<PolicyId, Annotation>);

struct Annotation {
    /// The reason of a denial, for a `forbid`.
    reason: Reason,
    max_ttl: Option<u32>,
    /// Restricts, and does not permit.
    restricts: bool,
}

/// Parses policies and validates them by the schema. The `@id` of a policy is its id.
pub fn parse(text: &str, schema: &Schema) -> Result<(PolicySet, Annotations), Vec<Problem>> {
    let parsed = PolicySet::from_str(text).map_err(|error| vec![problem("/policies", &error)])?;
    let wrong = |message: String| vec![Problem { pointer: "/policies".to_owned(), message }];
    if let Some(template) = parsed.templates().next() {
        return Err(wrong(format!("`{}` is a template; nothing links it", template.id())));
    }
    let (mut policies, mut annotations) = (PolicySet::new(), BTreeMap::new());
    for policy in parsed.policies() {
        let id = policy.annotation("id").map_or_else(|| policy.id().clone(), PolicyId::new);
        let annotation = annotation(policy, &id).map_err(wrong)?;
        policies.add(policy.new_id(id.clone())).map_err(|error| wrong(error.to_string()))?;
        annotations.insert(id, annotation);
    }
    if annotations.is_empty() {
        return Err(wrong("expected at least one policy".to_owned()));
    }
    let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    // Warnings too: one is that a policy can never apply, and a `forbid` that never applies protects nothing.
    let errors = result.validation_errors().map(|error| problem("/policies", error));
    let warnings = result.validation_warnings().map(|warning| problem("/policies", warning));
    let problems: Vec<_> = errors.chain(warnings).collect();
    if problems.is_empty() { Ok((policies, Annotations(annotations))) } else { Err(problems) }
}

fn annotation(policy: &Policy, id: &PolicyId) -> Result<Annotation, String> {
    if let Some((key, _)) = policy.annotations().find(|(key, _)| !KNOWN.contains(key)) {
        return Err(format!("`{id}`: @{key} is not known, expected one of @{}", KNOWN.join(", @")));
    }
    let permits = policy.effect() == Effect::Permit;
    let uses = [("code", false), ("message", false), ("max_ttl", true), ("restrict", true)];
    for (key, for_permit) in uses {
        if policy.annotation(key).is_some() && permits != for_permit {
            let effect = if for_permit { "permit" } else { "forbid" };
            return Err(format!("`{id}`: @{key} is for a policy that {effect}s"));
        }
    }
    let max_ttl = match policy.annotation("max_ttl") {
        None => None,
        Some(text) => match text.parse::<u32>() {
            Ok(seconds) if seconds > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(seconds)
            }
            _ => {
                return Err(format!("`{id}`: @max_ttl: expected seconds, found `{text}`"));
            }
        },
    };
    // Cedar reads `@restrict` as `@restrict("")`. Any other value would look as if it meant something.
    if let Some(value) = policy.annotation("restrict").filter(|value| !value.is_empty()) {
        return Err(format!("`{id}`: @restrict takes no value, found `{value}`"));
    }
    let code = policy.annotation("code").map_or_else(|| id.to_string(), ToOwned::to_owned);
    let message = policy
        .annotation("message")
        .map_or_else(|| format!("the Cedar policy `{id}` forbids it"), ToOwned::to_owned);
    let is_code = |code: &str| {
        (1..=64).contains(&code.len())
            && code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    // Cedar's own ids, such as `policy0`, are codes.
    if !permits && !is_code(&code) {
        return Err(format!(
            "`{id}`: the code of a denial, @code or @id, is 1 to 64 of a-z, 0-9 and -, found `{code}`"
        ));
    }
    if message.is_empty() {
        return Err(format!("`{id}`: @message is empty"));
    }
    let restricts = policy.annotation("restrict").is_some();
    Ok(Annotation { reason: Reason { code, message }, max_ttl, restricts })
}

impl Annotations {
    /// The reasons of the policies that forbid, in the order of their ids.
    pub fn reasons<'p>(&self, determining: impl Iterator<Item = &'p PolicyId>) -> Vec<Reason> {
        let mut ids: Vec<_> = determining.collect();
        ids.sort();
        ids.iter().filter_map(|id| Some(self.0.get(id)?.reason.clone())).collect()
    }

    /// The verdict of the policies that allow: narrowed by the smallest `@max_ttl` of them all, and a permit only
    /// where at least one of them is not annotated `@restrict`. Policies combine within the component as bindings
    /// combine in a decision.
    pub fn allow<'p>(
        &self,
        determining: impl Iterator<Item = &'p PolicyId>,
        token: &Token,
    ) -> Verdict {
        let (mut grant, mut permits) = (Grant::new(), false);
        for annotation in determining.filter_map(|id| self.0.get(id)) {
            if let Some(seconds) = annotation.max_ttl {
                grant = grant.ttl_at_most(seconds, token);
            }
            permits |= !annotation.restricts;
        }
        if permits { Verdict::Permit(grant) } else { Verdict::Restrict(grant) }
    }
}
