//! From a run to a token that a relying party verifies.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::sync::Arc;

use countersign::{
    Approval, Binding, BindingConfig, Claims, Engine, IssuerUrl, Limits, Mode, Policy, PolicySet,
    Run, Scope, Settings, SubjectFormat, SubjectTemplate, TokenRequest,
};
use countersign_clouds::{AudienceClouds, Cloud};
use countersign_signing::{Algorithm, Issuer, KeySet, PublicKey, SignedToken, SigningKey, TokenId};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Value, json};

const RUN: &str = include_str!("../../../examples/run.json");
const NOW: u64 = 1_790_000_000;
const ISSUER: &str = "https://oidc.example.com/tenant";

/// Approves the published run by a scripted policy.
fn approve(audiences: &[&str], permit: &str) -> Approval {
    let component = countersign_test_artifacts::SCRIPTED;
    let policy = Policy::load(&Engine::new().unwrap(), component, &Limits::DEFAULT).unwrap();
    let config = BindingConfig {
        name: "scripted".parse().unwrap(),
        settings: Settings::from_json(&format!(r#"{{"answer":{{"permit":{permit}}}}}"#)).unwrap(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: Limits::DEFAULT,
        claims: ["team", "https://example.com/cost"].map(|name| name.parse().unwrap()).into(),
    };
    let set = PolicySet::new(vec![Binding::prepare(Arc::new(policy), config).unwrap()]).unwrap();
    // Another owner than the definition workspace: the two must not be taken for each other.
    let mut run = Run::parse(RUN.as_bytes()).unwrap();
    run.building_block.workspace = "team-a".parse().unwrap();
    let subject = SubjectTemplate {
        profile: SubjectFormat::ByDefinition,
        meshstack_id: "demo".parse().unwrap(),
    };
    let audiences = audiences.iter().map(|audience| audience.parse().unwrap()).collect();
    let token = TokenRequest::new(audiences, 3600, NOW).unwrap();
    set.evaluate(Claims::new(run, None, countersign::Facts::default(), &subject, token).unwrap())
        .into_approval()
        .unwrap()
}

fn issuer(algorithm: Algorithm) -> Issuer {
    let (key, _) = SigningKey::generate(algorithm).unwrap();
    Issuer::new(IssuerUrl::parse(ISSUER).unwrap(), Arc::new(key))
}

/// The audiences here have no usual form.
fn clouds() -> AudienceClouds {
    let other = |audience: &str| (audience.parse().unwrap(), Cloud::Other);
    AudienceClouds::new([other("aws"), other("azure")].into()).unwrap()
}

fn id() -> TokenId {
    TokenId::from_random_bytes([7; 16])
}

/// Verifies with nothing but the published key set. The times are the test's own business.
fn verify(token: &SignedToken, keys: &KeySet) -> Value {
    let keys: JwkSet = serde_json::from_value(serde_json::to_value(keys).unwrap()).unwrap();
    let header = jsonwebtoken::decode_header(token.expose()).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap()).unwrap();
    let mut validation = Validation::new(header.alg);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    validation.validate_aud = false;
    let key = DecodingKey::from_jwk(key).unwrap();
    jsonwebtoken::decode::<Value>(token.expose(), &key, &validation).unwrap().claims
}

#[test]
fn both_algorithms_verify_against_the_published_keys() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let issuer = issuer(algorithm);
        let (other, _) = SigningKey::generate(algorithm).unwrap();
        let keys = KeySet::new([other.public(), issuer.signer().public()]);
        let token = issuer.sign(approve(&["aws"], "{}"), &id(), &clouds()).unwrap();
        let header = jsonwebtoken::decode_header(token.expose()).unwrap();
        assert_eq!(format!("{:?}", header.alg), algorithm.as_str());
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        assert_eq!(header.kid.as_deref(), Some(issuer.signer().public().kid()));
        assert_eq!(verify(&token, &keys)["aud"], "aws");
    }
}

#[test]
fn the_host_alone_sets_what_a_verifier_trusts() {
    let issuer = issuer(Algorithm::Es256);
    let keys = KeySet::new([issuer.signer().public()]);
    let permit =
        r#"{"max-ttl": 900, "claims": [["team", "red"], ["https://example.com/cost", "1"]]}"#;
    let approval = approve(&["aws", "azure"], permit);
    let decision = approval.decision().to_string();
    let policy_set = approval.policy_set().to_string();
    let claims = verify(&issuer.sign(approval, &id(), &clouds()).unwrap(), &keys);
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER,
            "sub": "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.\
                    b23cfb9a-6974-444f-9d33-62134a632373",
            "aud": ["aws", "azure"],
            "iat": NOW,
            "nbf": NOW,
            "exp": NOW + 900,
            "jti": "07070707-0707-4707-8707-070707070707",
            "meshstack": {
                "run": "b3116611-e08b-4b00-91c5-10365b25a6ef",
                "run_number": 1,
                "behavior": "APPLY",
                "building_block": "68ce5455-2a4a-4a4b-a324-6a6c18cab85a",
                "workspace": "team-a",
                "project": "my-project",
                "platform": "my-platform.my-location",
                "definition": "b23cfb9a-6974-444f-9d33-62134a632373",
                "definition_workspace": "my-workspace",
                "definition_version": 1,
                "implementation": "TERRAFORM",
            },
            "countersign": { "decision": decision, "policy_set": policy_set },
            "team": "red",
            "https://example.com/cost": "1",
        })
    );
    for time in ["iat", "nbf", "exp"] {
        assert!(claims[time].is_u64(), "{time} is a whole number");
    }
}

#[test]
fn a_key_set_has_public_halves_only() {
    let (rsa, rsa_pem) = SigningKey::generate(Algorithm::Rs256).unwrap();
    let (ec, ec_pem) = SigningKey::generate(Algorithm::Es256).unwrap();
    let keys = serde_json::to_value(KeySet::new([rsa.public(), ec.public()])).unwrap();
    let members =
        |index: usize| keys["keys"][index].as_object().unwrap().keys().collect::<Vec<_>>();
    assert_eq!(members(0), ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(members(1), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(
        (&keys["keys"][0]["alg"], &keys["keys"][1]["alg"]),
        (&json!("RS256"), &json!("ES256"))
    );

    for (key, pem) in [(&rsa, &rsa_pem), (&ec, &ec_pem)] {
        let again = SigningKey::from_pem(pem.expose().as_bytes()).unwrap();
        assert_eq!(again.public().kid(), key.public().kid());
        assert_eq!(format!("{pem:?}"), "PrivateKeyPem([redacted])");
        assert!(format!("{key:?}").starts_with("SigningKey("));
    }
}

/// RFC 7638 section 3.1 has this key and its thumbprint.
#[test]
fn the_kid_is_the_rfc_7638_thumbprint() {
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(json!({
        "kty": "RSA",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        "e": "AQAB",
    }))
    .unwrap();
    assert_eq!(
        jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap(),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let published = serde_json::to_value(key.public()).unwrap();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(published).unwrap();
    let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap();
    assert_eq!(thumbprint, key.public().kid());
}

#[test]
fn keys_that_cannot_sign_say_why() {
    let (_, es256) = SigningKey::generate(Algorithm::Es256).unwrap();
    let es256 = es256.expose();
    let relabelled = |label: &str| es256.replace("PRIVATE KEY", label);
    for (text, expected) in [
        (String::new(), "not a PEM file"),
        ("x".repeat(70_000), "the file has 70000 bytes"),
        (es256.replace("BEGIN", "BEGUN"), "not a PEM file"),
        (relabelled("PUBLIC KEY"), "a PEM file with `PUBLIC KEY`, expected a private key"),
        (relabelled("EC PRIVATE KEY"), "`openssl pkcs8 -topk8 -nocrypt` makes one of it"),
        (relabelled("ENCRYPTED PRIVATE KEY"), "this one is encrypted"),
        (relabelled("RSA PRIVATE KEY"), "neither an RSA key of 2048 to 4096 bits nor an EC key"),
        (
            include_str!("data/p384.pem").to_owned(),
            "neither an RSA key of 2048 to 4096 bits nor an EC key",
        ),
        (
            include_str!("data/ed25519.pem").to_owned(),
            "neither an RSA key of 2048 to 4096 bits nor an EC key",
        ),
        (include_str!("data/rsa-1024.pem").to_owned(), "neither an RSA key of 2048 to 4096 bits"),
    ] {
        let error = SigningKey::from_pem(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error} instead of {expected}");
    }
    assert!(SigningKey::from_pem(include_bytes!("data/rsa-2048-pkcs1.pem")).is_ok());
}

/// A key whose private half is elsewhere is known by the numbers of its public half alone.
#[test]
fn a_public_key_is_read_from_its_jwk() {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let (key, _) = SigningKey::generate(algorithm).unwrap();
        let mut jwk = serde_json::to_value(key.public()).unwrap();
        // None of these is believed.
        jwk["kid"] = "other".into();
        jwk["alg"] = "RS512".into();
        jwk["use"] = "enc".into();
        let public = PublicKey::from_jwk(jwk.to_string().as_bytes()).unwrap();
        assert_eq!((public.kid(), public.algorithm()), (key.public().kid(), algorithm));
        assert_eq!(
            serde_json::to_value(&public).unwrap(),
            serde_json::to_value(key.public()).unwrap()
        );
        assert!(PublicKey::from_jwk(b"{}").is_err());
    }
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let short = serde_json::to_string(key.public()).unwrap().replace("P-256", "P-384");
    assert!(PublicKey::from_jwk(short.as_bytes()).is_err());
    assert!(PublicKey::from_jwk(br#"{"kty": "RSA", "n": "AQAB", "e": "AQAB"}"#).is_err());
    assert!(PublicKey::from_jwk(br#"{"kty": "oct", "k": "AQAB"}"#).is_err());
}

/// A request is checked as its token would be, before any policy has decided.
#[test]
fn a_request_is_checked_as_its_token_would_be() {
    let clouds = AudienceClouds::default();
    let claims = |audience: &str| {
        let approval = approve(&[audience], "{}");
        approval.claims().clone()
    };
    let aws = claims("aws-workload-identity-provider:demo");
    assert!(issuer(Algorithm::Es256).check_request(&aws, &clouds).is_ok());
    let azure = claims("api://AzureADTokenExchange");
    assert!(issuer(Algorithm::Rs256).check_request(&azure, &clouds).is_ok());
    let error = issuer(Algorithm::Es256).check_request(&azure, &clouds).unwrap_err();
    assert!(error.to_string().contains("Entra accepts RS256"), "{error}");
}

#[test]
fn a_token_and_a_key_cannot_be_printed_by_accident() {
    let issuer = issuer(Algorithm::Es256);
    let token = issuer.sign(approve(&["aws"], "{}"), &id(), &clouds()).unwrap();
    assert_eq!(format!("{token:?}"), "SignedToken([redacted])");
    assert!(!format!("{issuer:?}").contains("BEGIN"));
}
