//! STACKIT's token endpoint: client credentials by a federated identity provider.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::keys::Published;
use crate::token::PresentedToken;
use crate::{Refusal, Setup};

const ASSERTION_TYPE: &str = "urn:schwarz:params:oauth:client-assertion-type:workload-jwt";

/// Issues an access token for the service account, or refuses.
pub(crate) async fn token(setup: &Setup, form: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let text = |name: &str| {
        form.get(name).ok_or_else(|| Refusal::new("invalid_request", format!("no `{name}`")))
    };
    if text("grant_type")? != "client_credentials"
        || text("client_assertion_type")? != ASSERTION_TYPE
    {
        return Err(Refusal::new("unsupported_grant_type", "expected a workload's token"));
    }
    let (account, assertion) = (text("client_id")?, text("client_assertion")?);
    let invalid = |message: String| Refusal::new("invalid_client", message);
    let token = PresentedToken::parse(assertion).map_err(invalid)?;
    let issuer = token.claim("iss").map_err(invalid)?;
    if !issuer.starts_with("https://") {
        return Err(invalid("the issuer is no https URL".to_owned()));
    }
    let providers = setup.stackit_accounts.get(account);
    let providers = providers.ok_or_else(|| invalid("no such service account".to_owned()))?;
    let matching = providers.iter().any(|provider| {
        let assertions = provider.get("assertions").and_then(Value::as_array);
        // STACKIT demands an assertion on `aud`.
        let assertions = assertions.filter(|all| all.iter().any(|one| one["item"] == "aud"));
        provider.get("issuer").and_then(Value::as_str) == Some(issuer)
            && assertions.is_some_and(|all| all.iter().all(|one| holds(one, &token)))
    });
    if !matching {
        return Err(invalid("no federated identity provider matches the token".to_owned()));
    }
    let published = Published::fetch(setup, issuer).await.map_err(invalid)?;
    token.verify(&published, &["RS256"]).map_err(invalid)
}

fn holds(assertion: &Value, token: &PresentedToken) -> bool {
    let (Some(item), Some(value)) = (assertion["item"].as_str(), assertion["value"].as_str())
    else {
        return false;
    };
    assertion["operator"] == "equals"
        && token.claims.get(item).and_then(Value::as_str) == Some(value)
}
