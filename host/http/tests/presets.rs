//! The examples of trusted issuers, through the service: with tokens and key sets as these platforms have them, and with
//! those of somebody else on the same platform.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/refusals.rs"]
mod refusals;
#[path = "../../issuer/tests/support/stand_in.rs"]
mod stand_in;
mod support;
#[path = "support/trusted.rs"]
mod trusted;

use std::fs;
use std::path::Path;

use countersign_deployment::{Config, KeysEntry, TrustedIssuerEntry};
use refusals::started;
use serde_json::{Value, json};
use stand_in::{DISCOVERY, StandIn};
use support::{ISSUER, Setup};
use trusted::{TestKey, exchanged, source, trust};

/// A platform's tokens.
struct Platform {
    /// Its example, without `.toml`.
    name: &'static str,
    algorithm: &'static str,
    /// The members of its JWK that differ from a plain one.
    jwk: Value,
    /// The members of a token's header beside `alg` and `kid`.
    header: Value,
    /// The claims of a token but `iss`, `iat` and `exp`.
    claims: Value,
    lifetime: u64,
    /// The claims that the example requires, as JSON Pointers (RFC 6901).
    required: &'static [&'static str],
}

fn platforms() -> Vec<Platform> {
    let kubernetes = |name, jwk, required| Platform {
        name,
        algorithm: "RS256",
        jwk,
        header: json!({}),
        claims: json!({
            "aud": [ISSUER], "jti": "97f2c0ca-f3e0-4d1d-b3a4-f1b1bb8e3a8d",
            "kubernetes.io": {
                "namespace": "runners",
                "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
                "pod": {"name": "runner-5f6c", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
                "serviceaccount": {"name": "shared", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
            },
            "nbf": 0, "sub": "system:serviceaccount:runners:shared",
        }),
        lifetime: 600,
        required,
    };
    let uid: &[&str] = &["/kubernetes.io/serviceaccount/uid"];
    let google = json!({
        "aud": ISSUER, "azp": "104479897743394244856",
        "email": "runner@my-project.iam.gserviceaccount.com", "email_verified": true,
        "sub": "104479897743394244856",
    });
    let mut instance = google.clone();
    instance["google"] = json!({"compute_engine": {
        "instance_creation_timestamp": 1_733_252_450, "instance_id": "6140691338085198734",
        "instance_name": "runner-1", "project_id": "my-project",
        "project_number": 405_721_773_632_u64, "zone": "europe-west3-a",
    }});
    let of_google = |name, claims, required| Platform {
        name,
        algorithm: "RS256",
        jwk: json!({}),
        header: json!({"typ": "JWT"}),
        claims,
        lifetime: 3600,
        required,
    };
    let tenant = "11111111-1111-4111-8111-111111111111";
    let object = "33333333-3333-4333-8333-333333333333";
    vec![
        kubernetes(
            "kubernetes",
            json!({}),
            &[
                "/kubernetes.io/namespace",
                "/kubernetes.io/serviceaccount/name",
                "/kubernetes.io/serviceaccount/uid",
            ],
        ),
        kubernetes("eks", json!({}), uid),
        kubernetes("gke", json!({}), uid),
        kubernetes("aks", json!({}), uid),
        of_google("cloud-run", google, &["/email", "/email_verified"]),
        of_google(
            "gce",
            instance,
            &[
                "/google/compute_engine/project_id",
                "/google/compute_engine/project_number",
                "/google/compute_engine/zone",
                "/google/compute_engine/instance_id",
            ],
        ),
        Platform {
            name: "azure-managed-identity",
            algorithm: "RS256",
            // Without `alg`, and with the certificate.
            jwk: json!({"alg": null, "x5t": "k", "x5c": ["MIIC"], "issuer": "https://sts.windows.net/"}),
            header: json!({"typ": "JWT", "x5t": "k"}),
            claims: json!({
                "aud": "api://countersign", "nbf": 0, "aio": "E2BgYDDgbUu/cuX6X9+lv44s3e4gDwA=",
                "appid": "22222222-2222-4222-8222-222222222222", "appidacr": "2",
                "idp": format!("https://sts.windows.net/{tenant}/"), "idtyp": "app", "oid": object,
                "rh": "0.AAAA", "sub": object, "tid": tenant, "uti": "yO3F62CSGkedkoxqPrkWAA",
                "ver": "1.0", "xms_mirid": "/subscriptions/s/resourcegroups/g/providers/\
                    Microsoft.ManagedIdentity/userAssignedIdentities/runner",
            }),
            lifetime: 86_700,
            required: &["/tid", "/appid"],
        },
        Platform {
            name: "aws",
            algorithm: "ES384",
            jwk: json!({"kid": "EC384_0"}),
            header: json!({"typ": "JWT"}),
            claims: json!({
                "aud": ISSUER, "jti": "xyz123-def456-ghi789-jkl012",
                "sub": "arn:aws:iam::123456789012:role/runner",
                "https://sts.amazonaws.com/": {
                    "aws_account": "123456789012", "source_region": "eu-central-1",
                    "org_id": "o-abc1234567", "ou_path": "o-abc1234567/r-ab12/ou-ab12-11111111/",
                    "principal_tags": {"team": "platform"},
                    "ec2_source_instance_arn": "arn:aws:ec2:eu-central-1:123456789012:instance/i-1",
                },
            }),
            lifetime: 300,
            required: &[
                "/https:~1~1sts.amazonaws.com~1/aws_account",
                "/https:~1~1sts.amazonaws.com~1/org_id",
                "/https:~1~1sts.amazonaws.com~1/source_region",
            ],
        },
        Platform {
            name: "github",
            algorithm: "RS256",
            jwk: json!({"x5t": "k", "x5c": ["MIIC"]}),
            header: json!({"typ": "JWT", "x5t": "k"}),
            claims: json!({
                "jti": "example-id", "sub": "repo:my-org/infrastructure:ref:refs/heads/main",
                "aud": ISSUER, "ref": "refs/heads/main", "sha": "example-sha", "ref_type": "branch",
                "repository": "my-org/infrastructure", "repository_id": "74",
                "repository_owner": "my-org", "repository_owner_id": "65", "run_id": "1", "run_number": "10",
                "run_attempt": "2", "repository_visibility": "private", "ref_protected": "true",
                "runner_environment": "github-hosted", "actor": "octocat", "actor_id": "12",
                "workflow": "apply", "head_ref": "", "base_ref": "", "event_name": "push",
                "job_workflow_ref": "my-org/infrastructure/.github/workflows/apply.yml@refs/heads/main",
                "nbf": 0,
            }),
            lifetime: 300,
            required: &[
                "/repository_id",
                "/repository_owner_id",
                "/job_workflow_ref",
                "/runner_environment",
            ],
        },
        Platform {
            name: "gitlab",
            algorithm: "RS256",
            jwk: json!({}),
            header: json!({"typ": "JWT"}),
            claims: json!({
                "namespace_id": "72", "namespace_path": "my-group", "project_id": "20",
                "project_path": "my-group/infrastructure", "user_id": "1", "user_login": "sample-user",
                "user_email": "sample-user@example.com", "pipeline_id": "574", "pipeline_source": "push",
                "job_id": "302", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main",
                "ref_protected": "true", "runner_id": 1, "runner_environment": "self-hosted",
                "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc", "project_visibility": "private",
                "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b", "aud": ISSUER, "nbf": 0,
                "sub": "project_path:my-group/infrastructure:ref_type:branch:ref:main",
            }),
            lifetime: 3600,
            required: &["/project_id", "/namespace_id", "/ref_protected"],
        },
    ]
}

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/trusted-issuers")
}

/// The trusted issuer of an example, whose keys are elsewhere: on loopback.
fn entry(name: &str, issuer: &StandIn) -> TrustedIssuerEntry {
    let text = fs::read_to_string(examples().join(format!("{name}.toml"))).unwrap();
    let config = format!("policies = \"countersign.toml\"\nstate = \"state\"\n{text}");
    let [mut entry] = <[_; 1]>::try_from(Config::parse(&config).unwrap().trusted_issuers).unwrap();
    let slash = if entry.url.ends_with('/') { "/" } else { "" };
    entry.url = format!("{}{slash}", issuer.url);
    entry.keys = KeysEntry::Discovered;
    let document = json!({"issuer": entry.url, "jwks_uri": format!("{}/jwks", issuer.url)});
    issuer.set(DISCOVERY, document.to_string());
    entry
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_each_platform_are_those_of_its_example_alone() {
    let config = "[limits]\nrunner-per-second = 1000\nrunner-burst = 1000\n".to_owned();
    let (_folder, service) = started(Setup { config, ..Setup::default() }).await;
    let (rsa, ec) = (TestKey::new("RS256"), TestKey::new("ES384"));
    let platforms = platforms();
    let mut named: Vec<_> =
        platforms.iter().map(|platform| format!("{}.toml", platform.name)).collect();
    named.sort();
    let files = fs::read_dir(examples()).unwrap();
    let mut files: Vec<_> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(named, files, "each example is tested");
    for platform in platforms {
        let name = platform.name;
        let issuer = StandIn::start().await;
        let key = if platform.algorithm == "ES384" { &ec } else { &rsa };
        let jwk = key.jwk(&platform.jwk);
        issuer.publish_jwks(std::slice::from_ref(&jwk));
        let entry = entry(name, &issuer);
        trust(&service, [entry.trust(source(&entry.url), ISSUER).unwrap()]);
        let mut header = platform.header.clone();
        (header["alg"], header["kid"]) = (key.algorithm.into(), jwk["kid"].clone());
        let now = service.now();
        let mut good = platform.claims.clone();
        good["iss"] = entry.url.as_str().into();
        // Some are valid from a few minutes before on.
        (good["iat"], good["exp"]) = ((now - 300).into(), (now - 300 + platform.lifetime).into());
        if good.get("nbf").is_some() {
            good["nbf"] = (now - 300).into();
        }
        if platform.lifetime <= 300 {
            (good["iat"], good["exp"]) = (now.into(), (now + platform.lifetime).into());
        }
        let ask = async |claims: &Value| exchanged(&service, &key.token(&header, claims)).await;
        // Each has an id of its own, where an example accepts it once.
        let mut number = 0;
        let mut with = |pointer: &str, change: &dyn Fn(&mut Value)| {
            let mut claims = good.clone();
            change(claims.pointer_mut(pointer).unwrap());
            number += 1;
            if claims.get("jti").is_some() && pointer != "/jti" {
                claims["jti"] = format!("id-{number}").into();
            }
            claims
        };
        let (status, description, _) = ask(&with("", &|_| ())).await;
        assert_eq!(status, 200, "{name}: {description}");
        let other = |value: &mut Value| {
            *value = match &*value {
                Value::Bool(flag) => (!*flag).into(),
                Value::Number(number) => (number.as_u64().unwrap() + 1).into(),
                value => format!("{}x", value.as_str().unwrap()).into(),
            };
        };
        let in_a_list = |value: &mut Value| *value = json!([value.clone()]);
        let as_text = |value: &mut Value| {
            *value = match &*value {
                Value::String(_) => json!(1),
                value => value.to_string().into(),
            };
        };
        for pointer in platform.required.iter().chain(&["/sub"]) {
            for change in
                [&other as &dyn Fn(&mut Value), &in_a_list, &as_text, &|v| *v = Value::Null]
            {
                let claims = with(pointer, change);
                let (status, description, _) = ask(&claims).await;
                assert_eq!(status, 400, "{name} {pointer} {claims}: {description}");
            }
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            let member = member.replace("~1", "/");
            let claims =
                with(parent, &|parent| drop(parent.as_object_mut().unwrap().remove(&member)));
            assert_eq!(ask(&claims).await.0, 400, "{name} without {pointer}");
        }
        // One that is valid for longer than the platform's are.
        let claims = with("/exp", &|exp| *exp = (now + 100_000).into());
        let (status, description, _) = ask(&claims).await;
        assert!(status == 400 && description.contains("are accepted"), "{name}: {description}");
        // The claims of another platform's namespace do not stand in for these.
        let claims = with("", &|claims| {
            *claims = json!({"iss": claims["iss"], "sub": claims["sub"],
            "aud": claims["aud"], "iat": now, "exp": now + 60, "jti": "x"})
        });
        assert_eq!(ask(&claims).await.0, 400, "{name}: its subject alone");
    }
    service.stop().await;
}

/// Two runners of one service account are told apart by where they run; nobody is both.
#[tokio::test(flavor = "multi_thread")]
async fn identities_of_one_subject_exclude_each_other() {
    let parse = |identities: &str| {
        Config::parse(&format!(
            "policies = \"p\"\nstate = \"s\"\n[[trusted-issuer]]\nurl = \"https://a.example\"\n{identities}"
        ))
    };
    let of = |runner: &str, claims: &str| {
        format!("[[trusted-issuer.identity]]\nsubject = \"s\"\nrunner = \"{runner}\"\n{claims}\n")
    };
    let (shared, other) = (support::SHARED_RUNNER, support::OTHER_RUNNER);
    for (first, second, is_good) in [
        ("claims.zone = \"a\"", "claims.zone = \"b\"", true),
        ("claims.a.zone = \"a\"", "claims = { a = { zone = \"b\" } }", true),
        ("claims = { zone = \"a\", x = \"1\" }", "claims = { zone = \"b\", y = \"1\" }", true),
        ("claims.zone = true", "claims.zone = false", true),
        ("", "", false),
        ("", "claims.zone = \"b\"", false),
        ("claims.zone = \"a\"", "claims.zone = \"a\"", false),
        ("claims.zone = \"a\"", "claims.place = \"b\"", false),
        ("claims.a.zone = \"a\"", "claims.b.zone = \"b\"", false),
    ] {
        let parsed = parse(&(of(shared, first) + &of(other, second)));
        assert_eq!(parsed.is_ok(), is_good, "{first} {second}: {parsed:?}");
    }
    let long = "x".repeat(1025);
    for (claims, expected) in [
        ("claims.sub = \"x\"".to_owned(), "are checked of every token"),
        ("claims.a = 1.5".to_owned(), "a claim is a text"),
        ("claims.a = [\"x\"]".to_owned(), "a claim is a text"),
        ("claims.a = 2026-01-01".to_owned(), "a claim is a text"),
        ("claims.a = {}".to_owned(), "a table is empty"),
        ("claims.a = \"\"".to_owned(), "is empty"),
        (format!("claims.a = \"{long}\""), "longer than 1024 bytes"),
        ("claims.a.b.c.d.e.f.g.h.i = \"x\"".to_owned(), "too deeply"),
        (format!("claims.a{} = \"x\"", ".a".repeat(50)), "too deeply"),
    ] {
        let error = parse(&of(shared, &claims)).unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let error = format!("{error}: {}", source.unwrap_or_default());
        assert!(error.contains(expected), "{claims}: {error}");
    }
}
