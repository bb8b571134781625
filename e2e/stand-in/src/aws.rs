//! AWS STS: `AssumeRoleWithWebIdentity`.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

use crate::keys::Published;
use crate::token::PresentedToken;
use crate::{Refusal, Setup};

const ALGORITHMS: &[&str] = &["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];
/// The quota of a trust policy, in characters without white space.
const POLICY_CHARACTERS: usize = 2048;

const TAGS: &str = "https://aws.amazon.com/tags";

/// Assumes the role, and returns the session's name.
pub(crate) async fn assume(
    setup: &Setup,
    form: &BTreeMap<String, String>,
) -> Result<String, Refusal> {
    let text = |name: &str| {
        form.get(name).ok_or_else(|| Refusal::new("ValidationError", format!("no {name}")))
    };
    let (role, session, token) =
        (text("RoleArn")?, text("RoleSessionName")?, text("WebIdentityToken")?);
    if !(4..=20_000).contains(&token.chars().count()) {
        return Err(Refusal::new("ValidationError", "WebIdentityToken: 4 to 20000 characters"));
    }
    let invalid = |message: String| Refusal::new("InvalidIdentityToken", message);
    let token = PresentedToken::parse(token).map_err(invalid)?;
    let issuer = token.claim("iss").map_err(invalid)?;
    let Some(client_ids) = setup.aws_providers.get(issuer) else {
        return Err(invalid(format!("no OpenIDConnect provider found for {issuer}")));
    };
    let host = issuer.strip_prefix("https://").ok_or_else(|| invalid("not https".to_owned()))?;
    if issuer.len() > 255 || host.contains(['?', '#', ':']) {
        return Err(invalid("the provider's URL has a port or a query, or is too long".to_owned()));
    }
    let published = Published::fetch(setup, issuer).await.map_err(invalid)?;
    token.verify(&published, ALGORITHMS).map_err(invalid)?;
    let audiences = token.audiences();
    let Some(audience) =
        audiences.iter().find(|audience| client_ids.iter().any(|id| id == *audience))
    else {
        return Err(invalid("Incorrect token audience".to_owned()));
    };
    let tagged =
        session_tags(&token).map_err(|message| Refusal::new("InvalidIdentityToken", message))?;
    let policy = setup.aws_roles.get(role);
    let policy = policy.ok_or_else(|| Refusal::new("AccessDenied", "no such role"))?;
    // AWS rejects such a policy when the role is created.
    if policy.to_string().chars().filter(|c| !c.is_whitespace()).count() > POLICY_CHARACTERS {
        return Err(Refusal::new("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048"));
    }
    let subject = token.claim("sub").map_err(invalid)?;
    let keys = BTreeMap::from([
        (format!("{host}:sub"), subject.to_owned()),
        (format!("{host}:aud"), (*audience).to_owned()),
    ]);
    let allowed = |action| allows(policy, action, host, &keys);
    if !allowed("sts:AssumeRoleWithWebIdentity") || (tagged && !allowed("sts:TagSession")) {
        let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
        return Err(Refusal::new("AccessDenied", message));
    }
    Ok(session.clone())
}

/// Returns true for a token with session tags, and an error if they exceed a limit.
fn session_tags(token: &PresentedToken) -> Result<bool, String> {
    let Some(claim) = token.claims.get(TAGS) else { return Ok(false) };
    let tags = claim.get("principal_tags").and_then(Value::as_object).ok_or("no principal_tags")?;
    if tags.len() > 50 {
        return Err("more than 50 session tags".to_owned());
    }
    for (key, value) in tags {
        let value = value.as_array().and_then(|values| values.first()).and_then(Value::as_str);
        let value = value.ok_or("a session tag has no value")?;
        if key.chars().count() > 128 || value.chars().count() > 256 {
            return Err("a session tag is too long".to_owned());
        }
    }
    Ok(true)
}

/// Evaluates whether a trust policy allows an action to a token with these claims.
fn allows(policy: &Value, action: &str, host: &str, keys: &BTreeMap<String, String>) -> bool {
    let statements = list(policy.get("Statement"));
    let applies = |statement: &&&Value| {
        let acts = list(statement.get("Action")).iter().any(|a| a.as_str() == Some(action));
        let federated = list(statement.get("Principal").and_then(|p| p.get("Federated")));
        let provider = format!(":oidc-provider/{host}");
        let of_provider =
            federated.iter().any(|arn| arn.as_str().is_some_and(|a| a.ends_with(&provider)));
        acts && of_provider && holds(statement.get("Condition"), keys)
    };
    let effect = |effect: &str| {
        let applying = statements.iter().filter(applies);
        applying.filter(|s| s.get("Effect").and_then(Value::as_str) == Some(effect)).count() > 0
    };
    effect("Allow") && !effect("Deny")
}

/// Evaluates all conditions.
fn holds(condition: Option<&Value>, keys: &BTreeMap<String, String>) -> bool {
    let Some(condition) = condition else { return true };
    let Some(operators) = condition.as_object() else { return false };
    operators.iter().all(|(operator, tests)| {
        tests.as_object().is_some_and(|tests| {
            tests.iter().all(|(key, values)| {
                let Some(found) = keys.get(key) else { return false };
                list(Some(values)).iter().filter_map(|value| value.as_str()).any(|value| {
                    match &**operator {
                        "StringEquals" => value == found,
                        "StringLike" => like(value, found),
                        // Operators that are not implemented here never hold.
                        _ => false,
                    }
                })
            })
        })
    })
}

fn like(pattern: &str, text: &str) -> bool {
    let pattern = regex::escape(pattern).replace(r"\*", "(?s:.*)").replace(r"\?", "(?s:.)");
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(text))
}

/// The elements of a list, or the single value.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
        None => Vec::new(),
    }
}
