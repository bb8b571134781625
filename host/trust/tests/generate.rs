//! Generated trust policies: their text, that they admit the intended tokens and no others, and their limits.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use countersign::Subject;
use countersign_clouds::Cloud;
use countersign_trust::{Admission, TokenClaims, TrustFiles, TrustSpec};

const ISSUER: &str = "https://oidc.example.com";
const CLOUDS: [(Cloud, &str); 4] = [
    (Cloud::Aws, "aws-workload-identity-provider:demo"),
    (Cloud::Azure, "api://AzureADTokenExchange"),
    (Cloud::Gcp, "gcp-workload-identity-provider:demo"),
    (Cloud::Stackit, "sts.accounts.stackit.cloud"),
];

fn subject(workspace: &str, definition: usize) -> String {
    format!(
        "system:serviceaccount:demo:workspace.{workspace}.buildingblockdefinition.{definition:08x}-6974-444f-9d33-\
         62134a632373"
    )
}

fn trust(audience: &str, count: usize) -> TrustSpec {
    let named =
        |at: usize| (format!("definition-{at}"), Subject::parse(&subject("team", at)).unwrap());
    TrustSpec {
        issuer: ISSUER.to_owned(),
        audience: audience.parse().unwrap(),
        subjects: (1..=count).map(named).collect(),
        name: "countersign".to_owned(),
        existing_provider: false,
        of_application: false,
    }
}

/// Parses the generated policies in both languages.
fn read(trust: &TrustSpec, cloud: Cloud) -> [TrustFiles; 2] {
    let generated = trust.generate(cloud).unwrap();
    [("a.json", generated.json.to_string()), ("a.tf", generated.hcl)]
        .map(|(name, text)| TrustFiles::parse(&[(name.to_owned(), text)]))
}

#[test]
fn what_is_written_is_what_was_agreed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated");
    for (cloud, audience) in CLOUDS {
        let generated = trust(audience, 2).generate(cloud).unwrap();
        let json = format!("{:#}\n", generated.json);
        for (extension, text) in [("json", json), ("tf", generated.hcl)] {
            let golden = folder.join(format!("{cloud}.{extension}"));
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&golden, &text).unwrap();
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            assert_eq!(text, expected, "{cloud}.{extension}: if that is right, `make golden`");
        }
    }
}

/// `azuread` takes the credentials of an application.
#[test]
fn credentials_of_an_application_are_read_back() {
    let (cloud, audience) = CLOUDS[1];
    let spec = TrustSpec { of_application: true, ..trust(audience, 2) };
    let text = spec.generate(cloud).unwrap().hcl;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated/azuread.tf");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&golden, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&golden).unwrap_or_default());
    let files = TrustFiles::parse(&[("a.tf".to_owned(), text)]);
    assert_eq!(files.lint(), []);
    for (definition, admission) in [(2, Admission::Admitted), (3, Admission::NotAdmitted)] {
        let token = TokenClaims { issuer: ISSUER, subject: &subject("team", definition), audience };
        assert_eq!(files.admits(cloud, token), admission);
    }
}

#[test]
fn it_lets_in_whom_it_should_and_nobody_else() {
    for (cloud, audience) in CLOUDS {
        for (files, is_hcl) in read(&trust(audience, 2), cloud).into_iter().zip([false, true]) {
            // GCP's JSON is the provider alone: the bindings of its pool are elsewhere.
            let admitted = match cloud {
                Cloud::Gcp if !is_hcl => Admission::Unknown,
                _ => Admission::Admitted,
            };
            assert_eq!(
                files.lint().iter().filter(|f| f.code != "not-readable").count(),
                0,
                "{:?}",
                files.lint()
            );
            let admits = |issuer, subject: &str, audience| {
                files.admits(cloud, TokenClaims { issuer, subject, audience })
            };
            assert_eq!(admits(ISSUER, &subject("team", 1), audience), admitted, "{cloud}");
            assert_eq!(admits(ISSUER, &subject("team", 2), audience), admitted, "{cloud}");
            for (issuer, subject, audience) in [
                (ISSUER, subject("team", 3), audience),
                (ISSUER, subject("team-b", 1), audience),
                (ISSUER, subject("team", 1).replace("demo", "other"), audience),
                (ISSUER, subject("team", 1).to_uppercase(), audience),
                (ISSUER, subject("team", 1), "another"),
                (ISSUER, String::new(), audience),
            ] {
                assert_eq!(
                    admits(issuer, &subject, audience),
                    Admission::NotAdmitted,
                    "{cloud} {subject}"
                );
            }
            for other in CLOUDS.iter().filter(|(other, _)| *other != cloud) {
                let token = TokenClaims { issuer: ISSUER, subject: &subject("team", 1), audience };
                assert_eq!(files.admits(other.0, token), Admission::NotAdmitted);
            }
        }
    }
}

#[test]
fn each_limit_is_kept() {
    let says = |trust: &TrustSpec, cloud| trust.generate(cloud).unwrap_err().to_string();
    let aws = CLOUDS[0].1;
    assert!(trust(aws, 13).generate(Cloud::Aws).is_ok());
    assert!(says(&trust(aws, 18), Cloud::Aws).contains("aws takes 2048"));
    assert!(trust(CLOUDS[1].1, 20).generate(Cloud::Azure).is_ok());
    assert!(says(&trust(CLOUDS[1].1, 21), Cloud::Azure).contains("21 credentials"));
    assert!(says(&trust(CLOUDS[2].1, 50), Cloud::Gcp).contains("4096"));
    assert!(trust(CLOUDS[3].1, 50).generate(Cloud::Stackit).is_ok());
    let mut long = trust(CLOUDS[2].1, 1);
    long.subjects[0].1 = Subject::parse(&subject(&"w".repeat(63), 1)).unwrap();
    assert!(
        says(&long, Cloud::Gcp).contains("161 bytes, and gcp takes 127"),
        "{}",
        says(&long, Cloud::Gcp)
    );
    for (cloud, _) in CLOUDS {
        let others = if cloud == Cloud::Aws { CLOUDS[1].1 } else { aws };
        assert!(says(&trust(others, 1), cloud).contains("could be replayed"), "{cloud}");
        assert!(says(&trust(others, 0), cloud).contains("no subject"));
    }
    for audience in ["${aws:username}", "a&{b}"] {
        assert!(says(&trust(audience, 1), Cloud::Aws).contains("a variable begins"), "{audience}");
        assert!(trust(audience, 1).generate(Cloud::Stackit).is_ok());
    }
    let mut port = trust(aws, 1);
    port.issuer = "https://oidc.example.com:8443/a".to_owned();
    assert!(says(&port, Cloud::Aws).contains("without a port"));
    assert!(
        says(&trust("https://vault.example.com", 1), Cloud::Other).contains("no trust is written")
    );
}

/// An operator's own text never becomes an OpenTofu expression.
#[test]
fn nothing_that_is_given_is_evaluated() {
    let audience = "${file(\"x\")}%{if}\\\"";
    let generated = trust(audience, 1).generate(Cloud::Stackit).unwrap();
    let files = TrustFiles::parse(&[("a.tf".to_owned(), generated.hcl.clone())]);
    let token = TokenClaims { issuer: ISSUER, subject: &subject("team", 1), audience };
    assert_eq!(files.admits(Cloud::Stackit, token), Admission::Admitted, "{}", generated.hcl);
}
