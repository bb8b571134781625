//! From what the rules are to a verdict.

use countersign_policy::{Grant, Reason, Token, Verdict};
use regorus::Value;

/// The verdict of the rules `permit` and `deny`, either of which may be undefined.
///
/// # Errors
/// When one has another shape: the policy is wrong, and has said nothing.
pub fn of(permit: &Value, deny: &Value, token: &Token) -> Result<Verdict, String> {
    let reasons = reasons(deny)?;
    // Looked at also where it makes no difference: a policy that is wrong must not pass for a while.
    let grant = grant(permit, token)?;
    Ok(match grant {
        _ if !reasons.is_empty() => Verdict::Deny(reasons),
        Some(grant) => Verdict::Permit(grant),
        None => Verdict::Abstain,
    })
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
        (Some(code), Some(message)) => Ok(Reason::new(code, message.as_ref())),
        _ => Err(wrong()),
    }
}

fn grant(permit: &Value, token: &Token) -> Result<Option<Grant>, String> {
    let members = match permit {
        Value::Undefined | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => return Ok(Some(Grant::new())),
        Value::Object(members) => members,
        other => {
            return Err(format!("permit: expected true or an object, found {}", short(other)));
        }
    };
    let mut grant = Grant::new();
    for (name, value) in members.iter() {
        match name.as_string().map_or("", |name| name.as_ref()) {
            "max_ttl" => {
                let seconds = value.as_u32().ok().filter(|seconds| *seconds > 0);
                let wrong = || format!("permit.max_ttl: expected seconds, found {}", short(value));
                grant = grant.ttl_at_most(seconds.ok_or_else(wrong)?, token);
            }
            "audiences" => {
                let kept = audiences(value)?;
                grant = grant.keep_audiences(token, |audience| kept.iter().any(|k| k == audience));
            }
            "claims" => {
                let wrong = || {
                    let found = short(value);
                    format!("permit.claims: expected an object of texts, found {found}")
                };
                for (name, value) in value.as_object().map_err(|_| wrong())?.iter() {
                    let name = name.as_string().map_err(|_| wrong())?;
                    grant = grant.claim(name, value.as_string().map_err(|_| wrong())?.as_ref());
                }
            }
            _ => {
                return Err(format!(
                    "permit: expected `max_ttl`, `audiences` and `claims`, found {}",
                    short(name)
                ));
            }
        }
    }
    Ok(Some(grant))
}

fn audiences(value: &Value) -> Result<Vec<String>, String> {
    let items: Option<Vec<_>> = match value {
        Value::Set(items) => items.iter().map(text).collect(),
        Value::Array(items) => items.iter().map(text).collect(),
        _ => None,
    };
    items.ok_or_else(|| format!("permit.audiences: expected texts, found {}", short(value)))
}

fn text(value: &Value) -> Option<String> {
    Some(value.as_string().ok()?.to_string())
}

/// A value for an error: the beginning of its JSON.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
