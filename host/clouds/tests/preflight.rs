//! Every limit of every cloud: a token just within it, and one just beyond.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use countersign::Audience;
use countersign_clouds::{AudienceClouds, Cloud};
use countersign_clouds::{CODES, UnsignedToken, preflight};
use serde_json::{Map, Value, json};

const AWS: &str = "aws-workload-identity-provider:demo";
const AZURE: &str = "api://AzureADTokenExchange";
const GCP: &str = "gcp-workload-identity-provider:demo";
const STACKIT: &str = "sts.accounts.stackit.cloud";

fn own() -> AudienceClouds {
    let audience = |length: usize| Audience::parse(&"x".repeat(length)).unwrap();
    let entra = Audience::parse("https://entra.example.com").unwrap();
    let own = [(audience(255), Cloud::Aws), (audience(256), Cloud::Aws), (entra, Cloud::Azure)];
    AudienceClouds::new(own.into()).unwrap()
}

/// The codes for a token for this audience, with some of its members replaced.
fn codes(audience: &str, header: &Value, claims: &Value, characters: usize) -> Vec<&'static str> {
    let mut all_headers = json!({"typ": "JWT", "alg": "RS256", "kid": "k"});
    let mut all_claims = json!({
        "iss": "https://oidc.example.com/tenant", "sub": "system:serviceaccount:demo:x", "aud": audience,
        "iat": 1_790_000_000, "nbf": 1_790_000_000, "exp": 1_790_000_900, "jti": "j",
        "meshstack": {"workspace": "team-a"},
    });
    for (all, some) in [(&mut all_headers, header), (&mut all_claims, claims)] {
        replace(all.as_object_mut().unwrap(), some.as_object().unwrap());
    }
    let (header, claims) = (all_headers.to_string(), all_claims.to_string());
    let token = UnsignedToken::parse(header.as_bytes(), claims.as_bytes(), characters).unwrap();
    preflight(&token, &own()).into_iter().map(|violation| violation.code).collect()
}

fn replace(all: &mut Map<String, Value>, some: &Map<String, Value>) {
    for (name, value) in some {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
}

fn tags(count: usize, key: usize, value: usize) -> Value {
    let tag = |at: usize| (format!("{at:0key$}"), json!(["v".repeat(value)]));
    let tags: Map<String, Value> = (0..count).map(tag).collect();
    json!({"https://aws.amazon.com/tags": {"principal_tags": tags, "transitive_tag_keys": []}})
}

fn text(bytes: usize) -> String {
    "s".repeat(bytes)
}

fn issuer(bytes: usize) -> Value {
    let issuer = "https://oidc.example.com/";
    json!({"iss": format!("{issuer}{}", text(bytes - issuer.len()))})
}

#[test]
fn every_demand_has_a_token_within_it_and_one_beyond() {
    let none = json!({});
    let one_tag =
        |key: &str| json!({format!("https://aws.amazon.com/tags/principal_tags/{key}"): ["v"]});
    // The cloud's audience, header, claims, and the code that there must be.
    let table: Vec<(&str, Value, Value, &str)> = vec![
        (AWS, none.clone(), none.clone(), ""),
        (AWS, json!({"alg": "ES256"}), none.clone(), ""),
        (AWS, json!({"alg": "ES512"}), none.clone(), ""),
        (AWS, json!({"alg": "EdDSA"}), none.clone(), "aws-algorithm"),
        (AWS, json!({"alg": "none"}), none.clone(), "aws-algorithm"),
        (AWS, none.clone(), json!({"aud": "x".repeat(255)}), ""),
        (AWS, none.clone(), json!({"aud": "x".repeat(256)}), "aws-audience"),
        (AWS, none.clone(), issuer(255), ""),
        (AWS, none.clone(), issuer(256), "aws-issuer"),
        (AWS, none.clone(), json!({"iss": "https://oidc.example.com:8443"}), "aws-issuer"),
        (AWS, none.clone(), json!({"iss": "https://oidc.example.com?a=b"}), "aws-issuer"),
        (AWS, none.clone(), json!({"iss": "http://oidc.example.com"}), "aws-issuer"),
        (AWS, none.clone(), json!({"exp": 1_790_000_900.5}), "aws-times"),
        (AWS, none.clone(), json!({"iat": -1}), "aws-times"),
        (AWS, none.clone(), json!({"exp": 1_790_000_000}), "aws-times"),
        (AWS, none.clone(), tags(50, 128, 256), ""),
        (AWS, none.clone(), tags(51, 10, 10), "aws-session-tags"),
        (AWS, none.clone(), tags(1, 129, 1), "aws-session-tags"),
        (AWS, none.clone(), tags(1, 128, 257), "aws-session-tags"),
        (AWS, none.clone(), json!({"https://aws.amazon.com/tags": "x"}), "aws-session-tags"),
        (AWS, none.clone(), one_tag(&text(128)), ""),
        (AWS, none.clone(), one_tag(&text(129)), "aws-session-tags"),
        (AZURE, none.clone(), none.clone(), ""),
        (AZURE, json!({"alg": "ES256"}), none.clone(), "azure-algorithm"),
        (AZURE, none.clone(), json!({"sub": text(600)}), ""),
        (AZURE, none.clone(), json!({"sub": text(601)}), "azure-subject"),
        (AZURE, none.clone(), json!({"aud": [AZURE]}), "azure-audience"),
        ("api://AzureADTokenExchangeUSGov", none.clone(), none.clone(), ""),
        ("api://AzureADTokenExchangeChina", none.clone(), none.clone(), ""),
        (AZURE, none.clone(), json!({"aud": "https://entra.example.com"}), "azure-audience"),
        (AZURE, none.clone(), json!({"iss": "https://oidc.example.com:8443"}), ""),
        (AZURE, none.clone(), json!({"iss": "https://oidc.example.com "}), "azure-issuer"),
        (AZURE, none.clone(), json!({"iat": 1.79e9}), "azure-times"),
        (GCP, none.clone(), none.clone(), ""),
        (GCP, json!({"alg": "ES256"}), none.clone(), ""),
        (GCP, json!({"alg": "RS512"}), none.clone(), "gcp-algorithm"),
        (GCP, json!({"kid": null}), none.clone(), "gcp-key-id"),
        (GCP, json!({"kid": ""}), none.clone(), "gcp-key-id"),
        (GCP, none.clone(), json!({"sub": text(127)}), ""),
        (GCP, none.clone(), json!({"sub": text(128)}), "gcp-subject"),
        (GCP, none.clone(), json!({"aud": vec![GCP; 10]}), ""),
        (GCP, none.clone(), json!({"aud": vec![GCP; 11]}), "gcp-audience"),
        (GCP, none.clone(), json!({"aud": format!("//iam.googleapis.com/{}", text(235))}), ""),
        (
            GCP,
            none.clone(),
            json!({"aud": format!("//iam.googleapis.com/{}", text(236))}),
            "gcp-audience",
        ),
        (GCP, none.clone(), json!({"iss": "oidc.example.com"}), "gcp-issuer"),
        (GCP, none.clone(), json!({"exp": 1_790_000_000 + 48 * 3600 - 1}), ""),
        (GCP, none.clone(), json!({"exp": 1_790_000_000 + 48 * 3600}), "gcp-lifetime"),
        (GCP, none.clone(), json!({"nbf": 0.5}), "gcp-times"),
        (STACKIT, none.clone(), none.clone(), ""),
        (STACKIT, json!({"alg": "ES256"}), none.clone(), "stackit-algorithm"),
        (STACKIT, none.clone(), json!({"aud": [STACKIT]}), "stackit-audience"),
        (AWS, none.clone(), json!({"aud": [AWS, GCP]}), "audiences-of-several-clouds"),
        (STACKIT, none.clone(), json!({"iss": "https://"}), "stackit-issuer"),
        (STACKIT, none.clone(), json!({"exp": 1.5}), "stackit-times"),
        ("https://vault.example.com", none.clone(), none.clone(), "audience-without-cloud"),
        (AWS, none.clone(), json!({"aud": []}), "audience-without-cloud"),
    ];
    let mut seen = BTreeSet::from(["aws-token-size"]);
    for (audience, header, claims, expected) in &table {
        let found = codes(audience, header, claims, 1000);
        let expected: Vec<_> =
            Some(*expected).into_iter().filter(|code| !code.is_empty()).collect();
        assert_eq!(found, expected, "{audience} {header} {claims}");
        seen.extend(found);
    }
    for (characters, expected) in [(3, true), (4, false), (20_000, false), (20_001, true)] {
        let found = codes(AWS, &json!({}), &json!({}), characters);
        assert_eq!(found == ["aws-token-size"], expected, "{characters}");
    }
    assert_eq!(seen, CODES.iter().copied().collect(), "a code that nothing shows");
}

#[test]
fn a_violation_names_the_limit_and_the_value() {
    let header = br#"{"alg":"ES256","kid":"k"}"#;
    let claims = json!({
        "iss": "https://oidc.example.com", "sub": text(139), "aud": [AZURE, GCP],
        "iat": 1, "exp": 2,
    });
    let claims = claims.to_string();
    let token = UnsignedToken::parse(header, claims.as_bytes(), 1000).unwrap();
    let found: Vec<_> = preflight(&token, &AudienceClouds::default())
        .into_iter()
        .map(|violation| format!("{}: {}", violation.code, violation.message))
        .collect();
    assert_eq!(
        found,
        [
            "audiences-of-several-clouds: a token for azure and gcp can be replayed by either at the other: request \
             one for each",
            "azure-algorithm: Entra accepts RS256, and this token has ES256",
            "azure-audience: Entra accepts exactly one audience, and this token has 2: \
             api://AzureADTokenExchange, gcp-workload-identity-provider:demo",
            "gcp-subject: GCP accepts at most 127 bytes for `google.subject`, which is mapped from the subject, \
             and this one has 139",
        ]
    );
}

#[test]
fn what_is_no_token_is_an_error() {
    let claims = br#"{"iss":"a","sub":"b","aud":"c","iat":1,"exp":2}"#;
    assert!(UnsignedToken::parse(br#"{"alg":"RS256"}"#, claims, 9).is_ok());
    assert!(UnsignedToken::parse(br#"{}"#, claims, 9).is_err());
    for claims in [
        &br#"{"sub":"b","aud":"c","iat":1,"exp":2}"#[..],
        br#"{"iss":"a","sub":"b","aud":3,"iat":1,"exp":2}"#,
        br#"{"iss":"a","sub":"b","aud":"c","iat":"1","exp":2}"#,
        br#"{"iss":"a","sub":"b","aud":"c","iat":1}"#,
        b"[]",
    ] {
        assert!(UnsignedToken::parse(br#"{"alg":"RS256"}"#, claims, 9).is_err());
    }
}

#[test]
fn the_page_of_codes_has_each() {
    let page = include_str!("../../../docs/codes.md");
    let (_, table) = page.split_once("| preflight | what it means |\n|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| `"));
    let found: BTreeSet<_> = rows.map(|line| line.split('`').nth(1).unwrap()).collect();
    assert_eq!(found, CODES.iter().copied().collect());
}
