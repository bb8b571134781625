//! The policies of the settings, and their annotations.

use std::collections::BTreeMap;
use std::str::FromStr;

use cedar_policy::{
    Effect, Policy, PolicyId, PolicySet, Schema, ValidationError, ValidationMode,
    ValidationWarning, Validator,
};
use cedar_policy_core::ast::PolicyID;
use cedar_policy_core::parser::Loc;
use countersign_policy::{Grant, Problem, Reason, Token, Verdict};
use engine_shared::did_you_mean;
use miette::Diagnostic;

use crate::source::{self, POLICIES};
use crate::{local, vocabulary};

/// The annotations that a policy may have. Any other is likely to be a misspelt one, which would narrow nothing.
const KNOWN: [&str; 6] = ["id", "code", "message", "max_ttl", "restrict", "description"];

/// The annotations of each policy.
pub struct Annotations(BTreeMap<PolicyID, Annotation>);

struct Annotation {
    /// The reason of a denial, for a `forbid`.
    reason: Reason,
    max_ttl: Option<u32>,
    /// Restricts, and does not permit.
    restricts: bool,
}

/// The problems of a text: those for which it is not taken, and those that its author is told of.
#[derive(Default)]
pub struct Findings {
    pub errors: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// Parses policies and validates them by the schema. The `@id` of a policy is its id.
pub fn parse(
    text: &str,
    schema: &Schema,
) -> Result<(PolicySet, Annotations, Findings), Vec<Problem>> {
    let source = POLICIES.of(text);
    let parsed = PolicySet::from_str(text).map_err(|error| source.problems(&error))?;
    let mut findings = Findings::default();
    for template in parsed.templates() {
        let message = format!("`{}` is a template; nothing links it", template.id());
        findings.errors.push(source.at(start(template.as_ref().loc()), &message));
    }
    let (mut policies, mut annotations) = (PolicySet::new(), BTreeMap::new());
    // In the order of the text.
    let mut of_text: Vec<_> = parsed.policies().collect();
    of_text.sort_by_key(|policy| start(policy.as_ref().loc()));
    for policy in of_text {
        let id = policy.annotation("id").map_or_else(|| policy.id().clone(), PolicyId::new);
        let place = start(policy.as_ref().loc());
        match annotation(policy, &id) {
            Ok(annotation) => drop(annotations.insert(PolicyID::from_string(&id), annotation)),
            Err((key, message)) => {
                let place = of_annotation(policy, key).unwrap_or(place);
                findings.errors.push(source.at(place, &message));
            }
        }
        if let Err(error) = policies.add(policy.new_id(id)) {
            findings.errors.push(source.at(place, &source::message(&error)));
        }
    }
    if policies.is_empty() && findings.errors.is_empty() {
        findings.errors.push(source.whole("expected at least one policy"));
    }
    let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
    findings
        .errors
        .extend(source.all(result.validation_errors().map(|error| error as &dyn Diagnostic)));
    // One warning is that a policy can never apply, and a `forbid` that never applies protects nothing. Texts of several
    // scripts are what people are called.
    let (told, wrong): (Vec<_>, Vec<_>) = result.validation_warnings().partition(|warning| {
        use ValidationWarning::{MixedScriptIdentifier, MixedScriptString};
        matches!(warning, MixedScriptIdentifier(_) | MixedScriptString(_))
    });
    // What follows from an error is no other one, and a policy that no action applies to is impossible.
    let wrong_ids: Vec<_> = result.validation_errors().map(ValidationError::policy_id).collect();
    let is_application = |warning: &ValidationWarning| {
        matches!(warning, ValidationWarning::InvalidActionApplication(_))
    };
    let unapplied: Vec<_> =
        wrong.iter().filter(|warning| is_application(warning)).map(|w| w.policy_id()).collect();
    let wrong = wrong.iter().copied().filter(|warning| {
        let id = warning.policy_id();
        !wrong_ids.contains(&id) && (is_application(warning) || !unapplied.contains(&id))
    });
    findings
        .warnings
        .extend(source.all(told.into_iter().map(|warning| warning as &dyn Diagnostic)));
    findings.errors.extend(source.all(wrong.map(|warning| warning as &dyn Diagnostic)));
    for policy in policies.policies() {
        let condition = policy.as_ref().condition();
        let mut never = vocabulary::check(&condition);
        never.extend(local::unknown(&condition));
        findings.errors.extend(never.iter().map(|(offset, message)| {
            source.at(*offset, &format!("for policy `{}`, {message}", policy.id()))
        }));
    }
    findings.errors.dedup();
    Ok((policies, Annotations(annotations), findings))
}

fn start(loc: Option<&Loc>) -> usize {
    loc.map_or(0, Loc::start)
}

/// The place of an annotation of a policy.
fn of_annotation(policy: &Policy, key: &str) -> Option<usize> {
    let mut annotations = policy.as_ref().annotations();
    let (_, annotation) = annotations.find(|(name, _)| AsRef::<str>::as_ref(*name) == key)?;
    annotation.loc.as_ref().map(Loc::start)
}

/// The annotation of a policy, or the key that is wrong in it and why.
fn annotation<'p>(policy: &'p Policy, id: &PolicyId) -> Result<Annotation, (&'p str, String)> {
    if let Some((key, _)) = policy.annotations().find(|(key, _)| !KNOWN.contains(key)) {
        let hint = did_you_mean(key, KNOWN);
        let known = KNOWN.join(", @");
        return Err((key, format!("`{id}`: @{key} is not known, expected one of @{known}{hint}")));
    }
    let permits = policy.effect() == Effect::Permit;
    let uses = [("code", false), ("message", false), ("max_ttl", true), ("restrict", true)];
    for (key, for_permit) in uses {
        if policy.annotation(key).is_some() && permits != for_permit {
            let effect = if for_permit { "permit" } else { "forbid" };
            return Err((key, format!("`{id}`: @{key} is for a policy that {effect}s")));
        }
    }
    let max_ttl = match policy.annotation("max_ttl") {
        None => None,
        Some(text) => match text.parse::<u32>() {
            Ok(seconds) if seconds > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(seconds)
            }
            _ => {
                let message = format!("`{id}`: @max_ttl: expected seconds, found `{text}`");
                return Err(("max_ttl", message));
            }
        },
    };
    // Cedar reads `@restrict` as `@restrict("")`. Any other value would look as if it meant something.
    if let Some(value) = policy.annotation("restrict").filter(|value| !value.is_empty()) {
        return Err(("restrict", format!("`{id}`: @restrict takes no value, found `{value}`")));
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
        let key = if policy.annotation("code").is_some() { "code" } else { "id" };
        let expected = "the code of a denial, @code or @id, is 1 to 64 of a-z, 0-9 and -";
        return Err((key, format!("`{id}`: {expected}, found `{code}`")));
    }
    if message.is_empty() {
        return Err(("message", format!("`{id}`: @message is empty")));
    }
    let restricts = policy.annotation("restrict").is_some();
    Ok(Annotation { reason: Reason { code, message }, max_ttl, restricts })
}

impl Annotations {
    /// The reasons of the policies that forbid, in the order of their ids.
    pub fn reasons<'p>(&self, determining: impl Iterator<Item = &'p PolicyID>) -> Vec<Reason> {
        let mut ids: Vec<_> = determining.collect();
        ids.sort();
        ids.iter().filter_map(|id| Some(self.0.get(id)?.reason.clone())).collect()
    }

    /// The verdict of the policies that allow: narrowed by the smallest `@max_ttl` of them all, and a permit only
    /// where at least one of them is not annotated `@restrict`. Policies combine within the component as bindings
    /// combine in a decision.
    pub fn allow<'p>(
        &self,
        determining: impl Iterator<Item = &'p PolicyID>,
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
