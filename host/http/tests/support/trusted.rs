//! Keys of every accepted algorithm, and a service that trusts an issuer on loopback.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use countersign_deployment::HttpsFetch;
use countersign_issuer::{Identity, KeySource, TrustedIssuer, TrustedIssuers};
use countersign_signing::{Algorithm, Signer, SigningKey};
use serde_json::{Value, json};

use crate::stand_in::StandIn;
use crate::support::{
    ISSUER, RUN, Running, SHARED_RUNNER, SHARED_SUBJECT, answer, claims, identities, unsigned,
};

/// Signs an input.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A key of an issuer.
pub(crate) struct TestKey {
    pub algorithm: &'static str,
    jwk: Value,
    sign: Sign,
}

impl TestKey {
    /// Makes a key for signatures of an algorithm.
    pub(crate) fn new(algorithm: &'static str) -> Self {
        let random = SystemRandom::new();
        match algorithm {
            "RS256" | "ES256" => {
                let which = if algorithm == "RS256" { Algorithm::Rs256 } else { Algorithm::Es256 };
                let (key, _) = SigningKey::generate(which).unwrap();
                let jwk = serde_json::to_value(key.public()).unwrap();
                Self { algorithm, jwk, sign: Box::new(move |input| key.sign(input).unwrap()) }
            }
            "PS256" => {
                let (key, pem) = SigningKey::generate(Algorithm::Rs256).unwrap();
                let mut jwk = serde_json::to_value(key.public()).unwrap();
                jwk["alg"] = "PS256".into();
                let text = pem.expose();
                let text: String = text.lines().filter(|line| !line.starts_with('-')).collect();
                let der = BASE64_STANDARD.decode(text).unwrap();
                let key = RsaKeyPair::from_pkcs8(&der).unwrap();
                let sign = move |input: &[u8]| {
                    let mut signature = vec![0; key.public_modulus_len()];
                    key.sign(&RSA_PSS_SHA256, &random, input, &mut signature).unwrap();
                    signature
                };
                Self { algorithm, jwk, sign: Box::new(sign) }
            }
            "ES384" => {
                let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
                let (x, y) = key.public_key().as_ref()[1..].split_at(48);
                let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
                let jwk = json!({"kty": "EC", "crv": "P-384", "x": encoded(x), "y": encoded(y),
                    "alg": "ES384"});
                let sign = move |input: &[u8]| key.sign(&random, input).unwrap().as_ref().to_vec();
                Self { algorithm, jwk, sign: Box::new(sign) }
            }
            "EdDSA" => {
                let key = Ed25519KeyPair::generate().unwrap();
                let x = BASE64_URL_SAFE_NO_PAD.encode(key.public_key());
                let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"});
                let sign = move |input: &[u8]| key.sign(input).as_ref().to_vec();
                Self { algorithm, jwk, sign: Box::new(sign) }
            }
            other => unreachable!("{other}"),
        }
    }

    /// Its JWK, with these members in the place of its own; without those that are null.
    pub(crate) fn jwk(&self, members: &Value) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = "k".into();
        jwk["use"] = "sig".into();
        for (name, value) in members.as_object().unwrap() {
            match value {
                Value::Null => drop(jwk.as_object_mut().unwrap().remove(name)),
                value => jwk[name] = value.clone(),
            }
        }
        jwk
    }

    pub(crate) fn header(&self) -> Value {
        json!({"alg": self.algorithm, "kid": "k", "typ": "JWT"})
    }

    /// A token with any header and claims.
    pub(crate) fn token(&self, header: &Value, claims: &Value) -> String {
        let input = unsigned(&header.to_string(), &claims.to_string());
        let signature = BASE64_URL_SAFE_NO_PAD.encode((self.sign)(input.as_bytes()));
        format!("{input}.{signature}")
    }
}

/// Claims of a runner by this issuer.
pub(crate) fn runner_claims(issuer: &StandIn, now: u64) -> Value {
    let mut claims = claims(SHARED_SUBJECT, now);
    claims["iss"] = issuer.url.as_str().into();
    claims
}

/// The source of the keys that an issuer publishes.
pub(crate) fn source(url: &str) -> Arc<KeySource> {
    // An issuer that a test holds back is not to be taken for one that does not answer.
    let fetch = HttpsFetch::new(None, None, None).unwrap().with_timeout(Duration::from_secs(60));
    let fetch = Arc::new(fetch);
    Arc::new(KeySource::published(url.to_owned(), None, fetch))
}

/// Has a service trust these issuers beside the cluster, as if none of their keys had been fetched.
pub(crate) fn trust(service: &Running, issuers: impl IntoIterator<Item = TrustedIssuer>) {
    let mut authorizer = service.authorizer();
    let TrustedIssuers(trusted) = &mut authorizer.trusted;
    let issuers = issuers.into_iter().map(|issuer| (issuer.url.clone(), issuer));
    trusted.extend(issuers.collect::<HashMap<_, _>>());
    service.service.replace_authorizer(authorizer);
}

/// An issuer of the shared runner.
pub(crate) fn issuer(url: &str) -> TrustedIssuer {
    TrustedIssuer {
        url: url.to_owned(),
        audience: ISSUER.to_owned(),
        keys: source(url),
        single_use: false,
        max_token_lifetime: 3600,
        identities: identities(&[(
            SHARED_SUBJECT,
            Identity::Runner(SHARED_RUNNER.parse().unwrap()),
        )]),
    }
}

/// An answer to a token: its status, the description of its error, and the seconds after which a retry may succeed.
pub(crate) async fn exchanged(service: &Running, token: &str) -> (u16, String, Option<u64>) {
    let response = service.by_identity(RUN, token).await;
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map(|value| value.to_str().unwrap().parse().unwrap());
    let (status, body) = answer(response).await;
    let description = body["error_description"].as_str().unwrap_or_default().to_owned();
    (status.as_u16(), description, retry_after)
}
