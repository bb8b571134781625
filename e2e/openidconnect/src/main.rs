//! Verifies an ID token by the crate `openidconnect`: finds the issuer by its name, and checks discovery, signature,
//! issuer, audience and expiry.
//!
//! Prints `{"admitted": …, "says": …}`, as the other clients of the end-to-end tests do: the token's subject, or why it
//! is rejected. Its environment has `ISSUER`, `ISSUER_ADDRESS` (where that is here), `CA_FILE`, `TOKEN_FILE` and
//! `AUDIENCE`.

use std::env;
use std::error::Error;
use std::fs;

use openidconnect::core::{CoreIdToken, CoreIdTokenVerifier, CoreProviderMetadata};
use openidconnect::{ClientId, HttpRequest, IssuerUrl, Nonce, http};
use reqwest::{Certificate, Client, Url};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let client = client()?;
    let (admitted, says) = match verified_subject(&client).await? {
        Ok(subject) => (true, subject),
        Err(problem) => (false, problem),
    };
    println!("{}", serde_json::json!({"admitted": admitted, "says": says}));
    Ok(())
}

/// The outer error is one of the test's own; the inner one is what the crate says of the token.
async fn verified_subject(client: &Client) -> Result<std::result::Result<String, String>> {
    let fetch = |request: HttpRequest| {
        let client = client.clone();
        async move {
            let (parts, body) = request.into_parts();
            let request =
                client.request(parts.method, parts.uri.to_string()).headers(parts.headers);
            let response = request.body(body).send().await?;
            let mut answer = http::Response::new(Vec::new());
            *answer.status_mut() = response.status();
            *answer.headers_mut() = response.headers().clone();
            *answer.body_mut() = response.bytes().await?.to_vec();
            Ok::<_, reqwest::Error>(answer)
        }
    };
    let issuer = IssuerUrl::new(env::var("ISSUER")?)?;
    let provider = match CoreProviderMetadata::discover_async(issuer.clone(), &fetch).await {
        Ok(provider) => provider,
        Err(error) => return Ok(Err(format!("{error:?}"))),
    };
    let verifier = CoreIdTokenVerifier::new_public_client(
        ClientId::new(env::var("AUDIENCE")?),
        issuer,
        provider.jwks().clone(),
    );
    let token: CoreIdToken = match fs::read_to_string(env::var("TOKEN_FILE")?)?.parse() {
        Ok(token) => token,
        Err(error) => return Ok(Err(format!("{error:?}"))),
    };
    // Nobody logged in here, so there is no nonce.
    let claims = token.claims(&verifier, |_: Option<&Nonce>| Ok(()));
    Ok(claims
        .map(|claims| claims.subject().to_string())
        .map_err(|error| format!("{error} {error:?}").to_lowercase()))
}

fn client() -> Result<Client> {
    let issuer = Url::parse(&env::var("ISSUER")?)?;
    let host = issuer.host_str().ok_or("the issuer has no host")?;
    let authority = Certificate::from_pem(&fs::read(env::var("CA_FILE")?)?)?;
    let client = Client::builder().no_proxy().tls_certs_only([authority]);
    Ok(client.resolve(host, env::var("ISSUER_ADDRESS")?.parse()?).build()?)
}
