//! The constraints of each cloud on tokens: an issuer that issues anything, and the stand-in's responses.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair,
};
use axum::Router;
use axum::routing::get;
use countersign_sts_stand_in::{Setup, StandIn};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

const ISSUER: &str = "https://oidc.example.com";
/// An audience of 256 bytes.
const LONG_ISSUER: &str = concat!(
    "https://oidc.example.com/",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
);
const SUBJECT: &str = "system:serviceaccount:demo:workspace.team.buildingblockdefinition.b23cfb9a";
const AWS: &str = "aws-workload-identity-provider:demo";
const AZURE: &str = "api://AzureADTokenExchange";
const GCP: &str = "gcp-workload-identity-provider:demo";
const STACKIT: &str = "sts.accounts.stackit.cloud";
const ROLE: &str = "arn:aws:iam::123456789012:role/runs";
const PROVIDER: &str =
    "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x";

/// An issuer that signs any claims.
struct AnyIssuer {
    rsa: EncodingKey,
    ec: EncodingKey,
    ed: EncodingKey,
    stand_in: StandIn,
    /// A key that is published repeatedly, and the number of times.
    extra_keys: Arc<Mutex<(usize, usize)>>,
    client: reqwest::Client,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn jwk(key: &EncodingKey, algorithm: Algorithm, kid: &str) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    serde_json::to_value(jwk).unwrap()
}

impl AnyIssuer {
    async fn start() -> Self {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&rsa).unwrap();
        let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
        let rsa = EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ec = EncodingKey::from_ec_der(ec.to_pkcs8v1().unwrap().as_ref());
        let ed = Ed25519KeyPair::generate().unwrap();
        let ed = EncodingKey::from_ed_der(ed.to_pkcs8v1().unwrap().as_ref());
        let keys = [
            jwk(&rsa, Algorithm::RS256, "rsa"),
            jwk(&ec, Algorithm::ES256, "ec"),
            jwk(&ed, Algorithm::EdDSA, "ed"),
        ];
        let extra_keys = Arc::new(Mutex::new((0, 0)));
        let extra = Arc::clone(&extra_keys);
        let published = move || {
            let mut keys = keys.to_vec();
            let (which, count) = *extra.lock().unwrap();
            let again = keys[which].clone();
            keys.extend((0..count).map(|_| again.clone()));
            json!({"keys": keys}).to_string()
        };
        let discovery = json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/keys")}).to_string();
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(async move || discovery.clone()))
            .route("/keys", get(async move || published()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let reached = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let router = router.clone();
                let service = hyper::service::service_fn(move |request| {
                    let mut router = router.clone();
                    async move { tower_service::Service::call(&mut router, request).await }
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
                );
            }
        });
        let mut issuers = BTreeMap::new();
        // One server for every issuer name.
        for name in [
            LONG_ISSUER,
            "https://oidc.example.com?a=b",
            ISSUER,
            "https://oidc.example.com:8443",
            "http://oidc.example.com",
        ] {
            issuers.insert(name.to_owned(), reached.clone());
        }
        let stand_in = StandIn::start(Setup { issuers, ..setup() }, None).await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { rsa, ec, ed, stand_in, extra_keys, client }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let mut all = json!({
            "iss": ISSUER, "sub": SUBJECT, "iat": now() - 1, "nbf": now() - 1, "exp": now() + 600, "jti": "j",
        });
        merge(all.as_object_mut().unwrap(), claims.as_object().unwrap());
        let algorithm: Algorithm = header["alg"].as_str().unwrap_or("RS256").parse().unwrap();
        let (key, kid) = match algorithm {
            Algorithm::ES256 => (&self.ec, "ec"),
            Algorithm::EdDSA => (&self.ed, "ed"),
            _ => (&self.rsa, "rsa"),
        };
        let mut of_token = Header::new(algorithm);
        of_token.kid = match header.get("kid") {
            Some(Value::Null) => None,
            Some(kid) => kid.as_str().map(ToOwned::to_owned),
            None => Some(kid.to_owned()),
        };
        jsonwebtoken::encode(&of_token, &all, key).unwrap()
    }

    /// The cloud's error for a token; nothing if it issues credentials.
    async fn says(&self, cloud: &str, token: &str) -> Option<String> {
        let jwt = "urn:ietf:params:oauth:token-type:jwt";
        let form = |pairs: &[(&str, &str)]| {
            form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
        };
        let bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let workload = "urn:schwarz:params:oauth:client-assertion-type:workload-jwt";
        let (path, body) = match cloud {
            "aws" => (
                "/",
                form(&[
                    ("Action", "AssumeRoleWithWebIdentity"),
                    ("RoleArn", ROLE),
                    ("RoleSessionName", "s"),
                    ("WebIdentityToken", token),
                ]),
            ),
            "azure" => (
                "/tenant/oauth2/v2.0/token",
                form(&[
                    ("grant_type", "client_credentials"),
                    ("client_assertion_type", bearer),
                    ("client_id", "id"),
                    ("client_assertion", token),
                    ("scope", "https://management.azure.com/.default"),
                ]),
            ),
            "gcp" => (
                "/v1/token",
                form(&[
                    ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
                    ("audience", PROVIDER),
                    ("subject_token_type", jwt),
                    ("subject_token", token),
                ]),
            ),
            _ => (
                "/oauth/v2/token",
                form(&[
                    ("grant_type", "client_credentials"),
                    ("client_assertion_type", workload),
                    ("client_id", "sa"),
                    ("client_assertion", token),
                ]),
            ),
        };
        let response = self
            .client
            .post(format!("http://{}{path}", self.stand_in.http))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body)
            .send()
            .await
            .unwrap();
        let fine = response.status().is_success();
        let body = response.text().await.unwrap();
        assert!(!fine || body.contains("stand-in"), "{body}");
        (!fine).then_some(body)
    }
}

fn merge(all: &mut Map<String, Value>, some: &Map<String, Value>) {
    for (name, value) in some {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
}

fn setup() -> Setup {
    let host = "oidc.example.com";
    let policy = json!({"Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": format!("arn:aws:iam::123456789012:oidc-provider/{host}")},
        "Condition": {"StringEquals": {format!("{host}:aud"): AWS, format!("{host}:sub"): SUBJECT}},
    }]});
    let long = "s".repeat(600);
    let credential =
        |subject: &str| json!({"issuer": ISSUER, "subject": subject, "audiences": [AZURE]});
    let provider = json!({
        "oidc": {"issuerUri": ISSUER, "allowedAudiences": [GCP]},
        "attributeMapping": {"google.subject": "assertion.sub"},
        "attributeCondition": format!("assertion.sub in ['{SUBJECT}', '{}']", "s".repeat(127)),
    });
    let stackit = json!({"issuer": ISSUER, "assertions": [
        {"item": "aud", "operator": "equals", "value": STACKIT},
        {"item": "sub", "operator": "equals", "value": SUBJECT},
    ]});
    Setup {
        aws_providers: [
            ISSUER,
            LONG_ISSUER,
            "https://oidc.example.com?a=b",
            "https://oidc.example.com:8443",
            "http://oidc.example.com",
        ]
        .map(|issuer| (issuer.to_owned(), vec![AWS.to_owned(), "another".to_owned()]))
        .into(),
        aws_roles: [(ROLE.to_owned(), policy)].into(),
        azure_identities: [("id".to_owned(), vec![credential(SUBJECT), credential(&long)])].into(),
        gcp_providers: [(PROVIDER.to_owned(), provider)].into(),
        stackit_accounts: [("sa".to_owned(), vec![stackit])].into(),
        ..Setup::default()
    }
}

fn tags(count: usize, key: usize, value: usize) -> Value {
    let tag = |at: usize| (format!("{at:0key$}"), json!(["v".repeat(value)]));
    let tags: Map<String, Value> = (0..count).map(tag).collect();
    json!({"https://aws.amazon.com/tags": {"principal_tags": tags}, "aud": AWS})
}

/// For each cloud and constraint: a token that is admitted, one that is refused, and the cloud's error.
#[tokio::test]
async fn each_row_of_the_table() {
    let issuer = AnyIssuer::start().await;
    let aud = |audience: &str, more: Value| {
        let mut claims = json!({"aud": audience});
        merge(claims.as_object_mut().unwrap(), more.as_object().unwrap());
        claims
    };
    let (none, now) = (json!({}), now());
    let (rs, es, ed) = (json!({}), json!({"alg": "ES256"}), json!({"alg": "EdDSA"}));
    let (long_rs, no_kid, other_kid) =
        (json!({"alg": "RS512"}), json!({"kid": null}), json!({"kid": "another"}));
    let big = |length: usize| json!({"padding": "x".repeat(length)});
    let many = |count: usize| vec![GCP.to_owned(); count];
    let table: Vec<(&str, &Value, Value, &str)> = vec![
        // Algorithm.
        ("aws", &rs, aud(AWS, none.clone()), ""),
        ("aws", &es, aud(AWS, none.clone()), ""),
        ("aws", &ed, aud(AWS, none.clone()), "`EdDSA` is not supported"),
        ("azure", &rs, aud(AZURE, none.clone()), ""),
        ("azure", &es, aud(AZURE, none.clone()), "`ES256` is not supported"),
        ("gcp", &rs, aud(GCP, none.clone()), ""),
        ("gcp", &es, aud(GCP, none.clone()), ""),
        ("gcp", &long_rs, aud(GCP, none.clone()), "`RS512` is not supported"),
        ("gcp", &no_kid, aud(GCP, none.clone()), "no `kid`"),
        ("gcp", &other_kid, aud(GCP, none.clone()), "no published key"),
        ("stackit", &rs, aud(STACKIT, none.clone()), ""),
        ("stackit", &es, aud(STACKIT, none.clone()), "`ES256` is not supported"),
        // Size.
        ("aws", &rs, aud(AWS, big(14_000)), ""),
        ("aws", &rs, aud(AWS, big(15_000)), "4 to 20000 characters"),
        ("azure", &rs, aud(AZURE, json!({"sub": "s".repeat(600)})), ""),
        ("azure", &rs, aud(AZURE, json!({"sub": "s".repeat(601)})), "at most 600 characters"),
        ("gcp", &rs, aud(GCP, json!({"sub": "s".repeat(127)})), ""),
        ("gcp", &rs, aud(GCP, json!({"sub": "s".repeat(128)})), "google.subject is 128 bytes"),
        // Audience.
        ("aws", &rs, aud("not-a-client-id", none.clone()), "Incorrect token audience"),
        ("aws", &rs, aud("another", none.clone()), "Not authorized"),
        ("azure", &rs, json!({"aud": [AZURE]}), "not exactly"),
        ("azure", &rs, aud("api://AzureADTokenExchange ", none.clone()), "not exactly"),
        ("gcp", &rs, json!({"aud": many(10)}), ""),
        ("gcp", &rs, json!({"aud": many(11)}), "more than 10 audiences"),
        ("gcp", &rs, json!({"aud": [GCP, "x".repeat(257)]}), "more than 256"),
        ("gcp", &rs, aud(PROVIDER, none.clone()), "does not match the expected audience"),
        ("stackit", &rs, aud(AZURE, none.clone()), "no federated identity provider matches"),
        // Times.
        ("aws", &rs, aud(AWS, json!({"exp": now as f64 + 600.5})), "`exp` is no integer"),
        ("azure", &rs, aud(AZURE, json!({"iat": now as f64 - 1.5})), "`iat` is no integer"),
        ("gcp", &rs, aud(GCP, json!({"iat": now - 600, "exp": now - 600 + 48 * 3600 - 1})), ""),
        (
            "gcp",
            &rs,
            aud(GCP, json!({"iat": now - 600, "exp": now - 600 + 48 * 3600})),
            "a lifetime of 48 hours or more",
        ),
        ("gcp", &rs, aud(GCP, json!({"iat": now + 600})), "not in the past"),
        ("gcp", &rs, aud(GCP, json!({"iat": now - 25 * 3600})), "stale"),
        ("aws", &rs, aud(AWS, json!({"exp": now - 600})), "expired"),
        ("azure", &rs, aud(AZURE, json!({"nbf": now + 600})), "not valid yet"),
        ("stackit", &rs, aud(STACKIT, json!({"exp": now - 600})), "expired"),
        ("gcp", &rs, aud(GCP, json!({"exp": now as f64 + 600.5})), "`exp` is no integer"),
        ("stackit", &rs, aud(STACKIT, json!({"iat": now as f64 - 1.5})), "`iat` is no integer"),
        // Issuer.
        ("aws", &rs, aud(AWS, json!({"iss": LONG_ISSUER})), "too long"),
        ("aws", &rs, aud(AWS, json!({"iss": "https://oidc.example.com?a=b"})), "a query"),
        (
            "azure",
            &rs,
            aud(AZURE, json!({"iss": format!("https://{}", "x".repeat(600))})),
            "at most 600",
        ),
        ("aws", &rs, aud(AWS, json!({"iss": "https://oidc.example.com:8443"})), "port"),
        ("aws", &rs, aud(AWS, json!({"iss": "http://oidc.example.com"})), "not https"),
        (
            "aws",
            &rs,
            aud(AWS, json!({"iss": "https://elsewhere.example.com"})),
            "no OpenIDConnect provider",
        ),
        ("azure", &rs, aud(AZURE, json!({"iss": "https://oidc.example.com "})), "no https URL"),
        ("gcp", &rs, aud(GCP, json!({"iss": "https://oidc.example.com/"})), "not the provider's"),
        ("stackit", &rs, aud(STACKIT, json!({"iss": "oidc.example.com"})), "no https URL"),
        // Trust.
        ("aws", &rs, aud(AWS, json!({"sub": format!("{SUBJECT}b")})), "Not authorized"),
        (
            "azure",
            &rs,
            aud(AZURE, json!({"sub": SUBJECT.to_uppercase()})),
            "No matching federated identity",
        ),
        (
            "gcp",
            &rs,
            aud(GCP, json!({"sub": format!("{SUBJECT}b")})),
            "rejected by the attribute condition",
        ),
        (
            "stackit",
            &rs,
            aud(STACKIT, json!({"sub": "another"})),
            "no federated identity provider matches",
        ),
        // Session tags need `sts:TagSession` in the trust policy, and this one lacks it.
        ("aws", &rs, tags(51, 3, 3), "more than 50 session tags"),
        ("aws", &rs, tags(1, 129, 3), "a session tag is too long"),
        ("aws", &rs, tags(1, 3, 257), "a session tag is too long"),
        ("aws", &rs, tags(50, 128, 3), "Not authorized"),
    ];
    for (cloud, header, claims, expected) in &table {
        let token = issuer.token(header, claims);
        let said = issuer.says(cloud, &token).await;
        match expected.is_empty() {
            true => assert_eq!(said, None, "{cloud} {header} {claims}"),
            false => assert!(
                said.as_deref().is_some_and(|said| said.contains(expected)),
                "{cloud} {header} {claims}: {said:?}"
            ),
        }
    }
    // With it, they are accepted.
    issuer.stand_in.change(|setup| {
        let role = setup.aws_roles.get_mut(ROLE).unwrap();
        role["Statement"][0]["Action"] = json!(["sts:AssumeRoleWithWebIdentity", "sts:TagSession"]);
    });
    assert_eq!(issuer.says("aws", &issuer.token(&rs, &tags(50, 128, 3))).await, None);
    // Key sets: 100 of a kind, and not one more; an EdDSA key counts as not RSA.
    let token = issuer.token(&rs, &aud(AWS, none.clone()));
    for (which, count, fine) in
        [(0, 99, true), (0, 100, false), (1, 98, true), (1, 99, false), (0, 0, true)]
    {
        *issuer.extra_keys.lock().unwrap() = (which, count);
        assert_eq!(issuer.says("aws", &token).await.is_none(), fine, "{which} {count}");
    }
    // A trust policy of 2,048 characters, and one more.
    for (characters, fine) in [(2048, true), (2049, false)] {
        issuer.stand_in.change(|setup| {
            let role = setup.aws_roles.get_mut(ROLE).unwrap();
            role["Version"] = "".into();
            let now = role.to_string().len();
            role["Version"] = "x".repeat(characters - now).into();
        });
        assert_eq!(issuer.says("aws", &token).await.is_none(), fine, "{characters}");
    }
    // 50 mapped attributes, and one more; a key set that was uploaded; a condition on another claim.
    let token = issuer.token(&rs, &aud(GCP, json!({"meshstack": {"workspace": "team-a"}})));
    let change = |change: &dyn Fn(&mut Value)| {
        issuer.stand_in.change(|setup| change(setup.gcp_providers.get_mut(PROVIDER).unwrap()));
    };
    for (count, fine) in [(50, true), (51, false)] {
        change(&|provider| {
            for at in 1..count {
                provider["attributeMapping"][format!("attribute.a{at}")] = "assertion.sub".into();
            }
        });
        assert_eq!(issuer.says("gcp", &token).await.is_none(), fine, "{count}");
    }
    change(&|provider| provider["attributeMapping"] = json!({"google.subject": "assertion.sub"}));
    for (condition, fine) in [
        ("assertion.meshstack.workspace == 'team-a'", true),
        ("assertion.meshstack.workspace == 'team-b'", false),
        ("assertion.nothing == 'x'", false),
    ] {
        change(&|provider| provider["attributeCondition"] = condition.into());
        assert_eq!(issuer.says("gcp", &token).await.is_none(), fine, "{condition}");
    }
    change(&|provider| {
        provider["attributeCondition"] = "true".into();
        provider["oidc"]["jwksJson"] = json!({"keys": []}).to_string().into();
    });
    assert!(issuer.says("gcp", &token).await.unwrap().contains("no published key"));
    let uploaded = json!({"keys": [jwk(&issuer.rsa, Algorithm::RS256, "rsa")]}).to_string();
    change(&|provider| provider["oidc"]["jwksJson"] = uploaded.as_str().into());
    assert_eq!(issuer.says("gcp", &token).await, None);
    // 20 credentials of an identity, and not one more.
    let token = issuer.token(&rs, &aud(AZURE, none.clone()));
    for (count, fine) in [(20, true), (21, false)] {
        issuer.stand_in.change(|setup| {
            let credentials = setup.azure_identities.get_mut("id").unwrap();
            let first = credentials[0].clone();
            credentials.resize(count, first);
        });
        assert_eq!(issuer.says("azure", &token).await.is_none(), fine);
    }
}

#[tokio::test]
async fn what_is_forged_is_refused() {
    let issuer = AnyIssuer::start().await;
    let token = issuer.token(&json!({}), &json!({"aud": AWS}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut other = signature.to_owned();
    other.replace_range(0..4, if &signature[0..4] == "AAAA" { "BBBB" } else { "AAAA" });
    for forged in [
        format!("{signed}.{other}"),
        format!("{signed}."),
        signed.to_owned(),
        "x".to_owned(),
        String::new(),
    ] {
        assert!(issuer.says("aws", &forged).await.is_some(), "{forged}");
    }
    let stranger = EncodingKey::from_ec_der(
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .unwrap()
            .to_pkcs8v1()
            .unwrap()
            .as_ref(),
    );
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("ec".to_owned());
    let claims =
        json!({"iss": ISSUER, "sub": SUBJECT, "aud": AWS, "iat": now() - 1, "exp": now() + 600});
    let forged = jsonwebtoken::encode(&header, &claims, &stranger).unwrap();
    assert!(issuer.says("aws", &forged).await.unwrap().contains("no published key"));
}

/// IAM's two operators, and a condition that is not implemented.
#[tokio::test]
async fn trust_is_read_as_iam_has_it() {
    let issuer = AnyIssuer::start().await;
    let token = issuer.token(&json!({}), &json!({"aud": AWS}));
    let prefix = "system:serviceaccount:demo:workspace.te";
    for (condition, fine) in [
        (json!({}), true),
        (json!({"StringLike": {"oidc.example.com:sub": format!("{prefix}*")}}), true),
        (json!({"StringLike": {"oidc.example.com:sub": format!("{prefix}?m.*")}}), true),
        (json!({"StringLike": {"oidc.example.com:sub": format!("{prefix}?.*")}}), false),
        (json!({"StringEquals": {"oidc.example.com:sub": format!("{prefix}*")}}), false),
        (json!({"StringEquals": {"oidc.example.com:sub": ["x", SUBJECT]}}), true),
        (json!({"StringNotEquals": {"oidc.example.com:sub": "x"}}), false),
        (json!({"StringEquals": {"other.example.com:sub": SUBJECT}}), false),
    ] {
        issuer.stand_in.change(|setup| {
            setup.aws_roles.get_mut(ROLE).unwrap()["Statement"][0]["Condition"] = condition.clone();
        });
        assert_eq!(issuer.says("aws", &token).await.is_none(), fine, "{condition}");
    }
}
