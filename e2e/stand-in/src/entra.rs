//! Entra's token endpoint: client credentials by a federated identity credential.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::keys::Published;
use crate::token::PresentedToken;
use crate::{Refusal, Setup};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Issues an access token for the identity, or refuses.
pub(crate) async fn token(setup: &Setup, form: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let text = |name: &str| {
        form.get(name)
            .ok_or_else(|| Refusal::new("invalid_request", format!("AADSTS900144: no `{name}`")))
    };
    if text("grant_type")? != "client_credentials"
        || text("client_assertion_type")? != ASSERTION_TYPE
    {
        return Err(Refusal::new("unsupported_grant_type", "AADSTS70003: unsupported grant"));
    }
    let (client_id, assertion) = (text("client_id")?, text("client_assertion")?);
    text("scope")?;
    let invalid =
        |message: String| Refusal::new("invalid_client", format!("AADSTS700213: {message}"));
    let token = PresentedToken::parse(assertion).map_err(invalid)?;
    let issuer = token.claim("iss").map_err(invalid)?;
    let subject = token.claim("sub").map_err(invalid)?;
    if issuer.chars().count() > 600 || subject.chars().count() > 600 {
        return Err(invalid("issuer and subject have at most 600 characters".to_owned()));
    }
    if !issuer.starts_with("https://") || issuer.contains(char::is_whitespace) {
        return Err(invalid("the issuer is no https URL".to_owned()));
    }
    let credentials = setup.azure_identities.get(client_id);
    let credentials = credentials.ok_or_else(|| invalid("no such identity".to_owned()))?;
    if credentials.len() > 20 {
        return Err(invalid("an identity has at most 20 federated credentials".to_owned()));
    }
    // Entra accepts a single string only, and no list of one.
    if token.claims.get("aud").and_then(Value::as_str) != Some(AUDIENCE) {
        return Err(invalid(format!("the assertion's audience is not exactly `{AUDIENCE}`")));
    }
    let matching = credentials.iter().any(|credential| {
        let member = |name: &str| credential.get(name).and_then(Value::as_str);
        let audiences = credential.get("audiences").and_then(Value::as_array);
        let for_it =
            audiences.is_some_and(|all| all.len() == 1 && all.iter().all(|one| one == AUDIENCE));
        member("issuer") == Some(issuer) && member("subject") == Some(subject) && for_it
    });
    if !matching {
        return Err(invalid(format!(
            "No matching federated identity record found for presented assertion subject '{subject}'"
        )));
    }
    let published = Published::fetch(setup, issuer).await.map_err(invalid)?;
    token.verify(&published, &["RS256"]).map_err(invalid)
}
