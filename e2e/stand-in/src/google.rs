//! Google's Security Token Service: token exchange by a provider of a workload identity pool.

use std::collections::BTreeMap;

use cel::{Context, Program};
use serde_json::Value;

use crate::keys::Published;
use crate::token::{PresentedToken, now};
use crate::{Refusal, Setup};

/// The maximum age of `iat`, in seconds.
const STALE: i64 = 24 * 3600;

/// Exchanges the token, and returns `google.subject`.
pub(crate) async fn exchange(
    setup: &Setup,
    form: &BTreeMap<String, String>,
) -> Result<String, Refusal> {
    let text = |name: &str| {
        form.get(name).ok_or_else(|| Refusal::new("invalid_request", format!("no `{name}`")))
    };
    if text("grant_type")? != "urn:ietf:params:oauth:grant-type:token-exchange" {
        return Err(Refusal::new("unsupported_grant_type", "expected a token exchange"));
    }
    if text("subject_token_type")? != "urn:ietf:params:oauth:token-type:jwt" {
        return Err(Refusal::new("invalid_request", "expected a JWT"));
    }
    let (name, subject_token) = (text("audience")?, text("subject_token")?);
    let provider = setup.gcp_providers.get(name);
    let provider = provider.ok_or_else(|| Refusal::new("invalid_target", "no such provider"))?;
    let invalid = |message: String| Refusal::new("invalid_grant", message);
    let token = PresentedToken::parse(subject_token).map_err(invalid)?;
    let oidc = provider.get("oidc").ok_or_else(|| invalid("not an OIDC provider".to_owned()))?;
    let issuer = oidc.get("issuerUri").and_then(Value::as_str).unwrap_or_default();
    if token.claim("iss").map_err(invalid)? != issuer || !issuer.starts_with("https://") {
        return Err(invalid("the issuer is not the provider's".to_owned()));
    }
    if token.header("kid").is_empty() {
        return Err(invalid("no `kid`".to_owned()));
    }
    audience(&token, oidc, name).map_err(invalid)?;
    let (iat, exp) = (token.time("iat").map_err(invalid)?, token.time("exp").map_err(invalid)?);
    if iat > now() || iat + STALE < now() {
        return Err(invalid("`iat` is not in the past, or stale".to_owned()));
    }
    if exp - iat >= 48 * 3600 {
        return Err(invalid("the token has a lifetime of 48 hours or more".to_owned()));
    }
    // Operators upload a key set if Google cannot reach the issuer.
    let published = match oidc.get("jwksJson").and_then(Value::as_str) {
        Some(keys) => Published::uploaded(issuer, keys),
        None => Published::fetch(setup, issuer).await,
    };
    let published = published.map_err(invalid)?;
    token.verify(&published, &["RS256", "ES256"]).map_err(invalid)?;
    let attributes = mapped(&token, provider).map_err(invalid)?;
    if let Some(condition) = provider.get("attributeCondition").and_then(Value::as_str)
        && evaluate(condition, &token, Some(&attributes)) != Ok(Value::Bool(true))
    {
        let message = "The given credential is rejected by the attribute condition.";
        return Err(Refusal::new("unauthorized_client", message));
    }
    Ok(attributes.get("subject").cloned().unwrap_or_default())
}

/// Checks that the token is for the provider.
fn audience(token: &PresentedToken, oidc: &Value, name: &str) -> Result<(), String> {
    let audiences = token.audiences();
    let allowed = oidc.get("allowedAudiences").and_then(Value::as_array);
    let allowed: Vec<&str> = allowed.into_iter().flatten().filter_map(Value::as_str).collect();
    if audiences.len() > 10 || allowed.len() > 10 {
        return Err("more than 10 audiences".to_owned());
    }
    if audiences.iter().chain(&allowed).any(|audience| audience.len() > 256) {
        return Err("an audience of more than 256 characters".to_owned());
    }
    let own = [name.to_owned(), format!("https:{name}")];
    let matching = audiences.iter().any(|audience| {
        if allowed.is_empty() {
            own.iter().any(|own| own == audience)
        } else {
            allowed.contains(audience)
        }
    });
    if matching {
        Ok(())
    } else {
        Err("The audience in ID Token does not match the expected audience".to_owned())
    }
}

/// Evaluates the provider's attribute mapping, by the last part of each name.
fn mapped(token: &PresentedToken, provider: &Value) -> Result<BTreeMap<String, String>, String> {
    let mapping =
        provider.get("attributeMapping").and_then(Value::as_object).ok_or("no mapping")?;
    if mapping.len() > 50 {
        return Err("more than 50 mapped attributes".to_owned());
    }
    let mut attributes = BTreeMap::new();
    for (name, expression) in mapping {
        let expression = expression.as_str().ok_or("a mapping is no text")?;
        let Ok(Value::String(text)) = evaluate(expression, token, None) else {
            return Err(format!("`{name}` cannot be mapped"));
        };
        attributes.insert(name.rsplit('.').next().unwrap_or_default().to_owned(), text);
    }
    match attributes.get("subject") {
        Some(subject) if subject.len() <= 127 => Ok(attributes),
        Some(subject) => Err(format!(
            "The size of mapped attribute google.subject is {} bytes, over 127",
            subject.len()
        )),
        None => Err("google.subject is not mapped".to_owned()),
    }
}

fn evaluate(
    expression: &str,
    token: &PresentedToken,
    attributes: Option<&BTreeMap<String, String>>,
) -> Result<Value, String> {
    let program = Program::compile(expression).map_err(|error| error.to_string())?;
    let mut context = Context::default();
    context.add_variable("assertion", &token.claims).map_err(|error| error.to_string())?;
    if let Some(attributes) = attributes {
        context.add_variable("google", attributes).map_err(|error| error.to_string())?;
        context.add_variable("attribute", attributes).map_err(|error| error.to_string())?;
    }
    match program.execute(&context).map_err(|error| error.to_string())? {
        cel::Value::Bool(bool) => Ok(Value::Bool(bool)),
        cel::Value::String(text) => Ok(Value::String(text.to_string())),
        _ => Err("neither a string nor a boolean".to_owned()),
    }
}
