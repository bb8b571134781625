//! Translates the values of the verdict rules to a verdict.

use countersign_policy::{Grant, Reason, Token, Verdict};
use regorus::Value;

/// The verdict of the rules `permit`, `restrict` and `deny`, each of which may be undefined.
///
/// # Errors
/// When a rule has an unexpected shape, or both `permit` and `restrict` have a value: the policy is wrong, and has
/// given no verdict.
pub fn of(
    permit: &Value,
    restrict: &Value,
    deny: &Value,
    token: &Token,
) -> Result<Verdict, String> {
    let reasons = reasons(deny)?;
    // Read even beside a denial: a policy that is wrong must not go unnoticed until the denial is gone.
    let permit = grant("permit", permit, token)?;
    let restrict = grant("restrict", restrict, token)?;
    match (permit, restrict) {
        // Two answers, as two values of one rule are. Which of them was meant cannot be known, and taking the permit
        // would let in whoever the restriction was to leave to other policies.
        (Some(_), Some(_)) => Err("`permit` and `restrict` both have a value; expected one".into()),
        _ if !reasons.is_empty() => Ok(Verdict::Deny(reasons)),
        (Some(grant), None) => Ok(Verdict::Permit(grant)),
        (None, Some(grant)) => Ok(Verdict::Restrict(grant)),
        (None, None) => Ok(Verdict::Abstain),
    }
}

fn reasons(deny: &Value) -> Result<Vec<Reason>, String> {
    match deny {
        Value::Undefined => Ok(Vec::new()),
        Value::Set(items) => items.iter().map(reason).collect(),
        Value::Array(items) => items.iter().map(reason).collect(),
        other => Err(format!("deny: expected a set of reasons, found {}", short(other))),
    }
}

fn reason(item: &Value) -> Result<Reason, String> {
    let wrong = || {
        let found = short(item);
        format!("deny: expected {{\"code\": text, \"message\": text}}, found {found}")
    };
    let members = item.as_object().map_err(|_| wrong())?;
    let (mut code, mut message) = (None, None);
    for (name, value) in members.iter() {
        let text = value.as_string().map_err(|_| wrong())?;
        match name.as_string().map_err(|_| wrong())?.as_ref() {
            "code" => code = Some(text),
            "message" => message = Some(text),
            _ => return Err(wrong()),
        }
    }
    match (code, message) {
        (Some(code), Some(message)) if is_code(code) => Ok(Reason::new(code, message.as_ref())),
        (Some(code), Some(_)) => {
            let expected = "a code of 1 to 64 lower-case letters, digits and dashes";
            Err(format!("deny: expected {expected}, found {}", short(&Value::String(code.clone()))))
        }
        _ => Err(wrong()),
    }
}

fn is_code(code: &str) -> bool {
    let is_of_code = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    (1..=64).contains(&code.len()) && code.bytes().all(is_of_code)
}

/// The grant that the rule `name` has as its value; `None` where it is undefined or `false`.
fn grant(name: &str, value: &Value, token: &Token) -> Result<Option<Grant>, String> {
    let members = match value {
        Value::Undefined | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(Grant::new())),
        Value::Object(members) => members,
        other => {
            return Err(format!("{name}: expected true or an object, found {}", short(other)));
        }
    };
    let mut grant = Grant::new();
    for (key, value) in members.iter() {
        match key.as_string().map_or("", |key| key.as_ref()) {
            "max_ttl" => {
                let seconds = value.as_u32().ok().filter(|seconds| *seconds > 0);
                let wrong = || format!("{name}.max_ttl: expected seconds, found {}", short(value));
                grant = grant.ttl_at_most(seconds.ok_or_else(wrong)?, token);
            }
            "audiences" => {
                let kept = audiences(value).ok_or_else(|| {
                    format!("{name}.audiences: expected strings, found {}", short(value))
                })?;
                grant = grant.keep_audiences(token, |audience| kept.iter().any(|k| k == audience));
            }
            "claims" => {
                let wrong = || {
                    let found = short(value);
                    format!("{name}.claims: expected an object of strings, found {found}")
                };
                for (claim, value) in value.as_object().map_err(|_| wrong())?.iter() {
                    let claim = claim.as_string().map_err(|_| wrong())?;
                    grant = grant.claim(claim, value.as_string().map_err(|_| wrong())?.as_ref());
                }
            }
            _ => {
                return Err(format!(
                    "{name}: expected `max_ttl`, `audiences` and `claims`, found {}",
                    short(key)
                ));
            }
        }
    }
    Ok(Some(grant))
}

fn audiences(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Set(items) => items.iter().map(text).collect(),
        Value::Array(items) => items.iter().map(text).collect(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    Some(value.as_string().ok()?.to_string())
}

/// The first 80 characters of a value's JSON, for an error.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
