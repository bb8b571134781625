//! Every finding, in files of the clouds and of OpenTofu.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod inputs;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use countersign_clouds::Cloud;
use countersign_trust::{Admission, FINDINGS, TokenClaims, TrustFiles};
use inputs::{files_of, names};

/// `tests/lint/NAME.txt` has the findings of `NAME`; `make golden` writes it.
#[test]
fn each_file_has_its_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let (mut seen, mut differ) = (BTreeSet::new(), Vec::new());
    for name in &names(&folder) {
        let trust = TrustFiles::parse(&files_of(&folder.join(name), name));
        let mut found = String::new();
        for finding in trust.lint() {
            seen.insert(finding.code);
            let accepted = finding.accepted.map(|reason| format!(" (accepted: {reason})"));
            writeln!(
                found,
                "{}:{}: {}: {}{}",
                finding.file,
                finding.place,
                finding.code,
                finding.message,
                accepted.unwrap_or_default()
            )
            .unwrap();
        }
        let golden = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            differ.push(format!("{name}:\n{found}instead of\n{expected}"));
        }
    }
    assert!(differ.is_empty(), "{}\nif that is right, `make golden`", differ.join("\n"));
    let all: BTreeSet<_> = FINDINGS.iter().map(|(code, _)| *code).collect();
    assert_eq!(seen, all, "a finding that no file shows");
}

/// `tests/none` has what is no trust in an issuer: nothing is counted, and nothing found.
#[test]
fn what_is_no_trust_is_nothing() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/none");
    for name in &names(&folder) {
        let trust = TrustFiles::parse(&files_of(&folder.join(name), name));
        assert_eq!((trust.len(), trust.lint()), (0, Vec::new()), "{name}");
    }
}

#[test]
fn what_is_not_in_its_language_is_a_finding() {
    for (name, text, says) in [
        ("a.tf", "resource \"x\" {", "line 1, column"),
        ("a.json", "{\"a\": 1, \"a\": 2}", "a.json"),
        ("a.json", "[", "a.json"),
        ("a.json", &"[".repeat(100), "a.json"),
        ("a.tf", &format!("a = {}1{}", "(".repeat(5000), ")".repeat(5000)), "line 1"),
        ("a.hcl", &" ".repeat((4 << 20) + 1), "longer than 4194304 bytes"),
    ] {
        let other = ("b.tf".to_owned(), "resource \"aws_iam_role\" \"a\" {}".to_owned());
        let trust = TrustFiles::parse(&[(name.to_owned(), text.to_owned()), other]);
        let findings = trust.lint();
        let said = format!("{}:{}: {}", findings[0].file, findings[0].place, findings[0].message);
        assert_eq!(findings[0].code, "unreadable-file", "{said}");
        assert!(said.contains(says), "{said}");
        assert_eq!(trust.len(), 1, "the other file is read");
    }
    let nothing = TrustFiles::parse(&[("a.json".to_owned(), "{}".to_owned())]);
    assert!(nothing.is_empty() && nothing.lint().is_empty());
}

/// A document's own block is read. One of another folder is a different document, and so is a resource of its name.
#[test]
fn a_document_is_that_of_its_folder() {
    let role = r#"
resource "aws_iam_role" "a" {
  name               = "a"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}
"#;
    let document = "data \"aws_iam_policy_document\" \"trust\" {}\n";
    let codes = |other: &str, text: &str| {
        let files = [("a/role.tf", role), (other, text)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let findings = TrustFiles::parse(&files).lint();
        findings.iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(codes("a/document.tf", document), [""; 0]);
    assert_eq!(codes("b/document.tf", document), ["not-readable"]);
    assert_eq!(codes("a/document.tf", &document.replace("data", "resource")), ["not-readable"]);
}

/// A module is found from the folder that is not named, as in `trust lint .`.
#[test]
fn modules_are_found_from_the_folder_itself() {
    let root = "module \"m\" {\n  source  = \"./child\"\n  subject = \"a:*\"\n}\n";
    let child = "variable \"subject\" {}\nresource \"azurerm_federated_identity_credential\" \"a\" {\n  issuer = \
                 \"https://a\"\n  subject = var.subject\n  audience = [\"x\"]\n}\n";
    for folder in ["", "./", "a/", "/a/"] {
        let files = [("main.tf", root), ("child/main.tf", child)];
        let files = files.map(|(name, text)| (format!("{folder}{name}"), text.to_owned()));
        let found = TrustFiles::parse(&files).lint();
        let codes: Vec<_> = found.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["malformed-subject"], "{folder}");
    }
}

/// A subject migration must not rely on trust that may not exist.
#[test]
fn what_may_not_be_there_admits_nobody_for_sure() {
    let provider = |more: &str, condition: &str| {
        let text = format!(
            r#"
resource "google_iam_workload_identity_pool_provider" "a" {{
  workload_identity_pool_id          = "p"
  workload_identity_pool_provider_id = "a"
  {more}
  attribute_mapping = {{
    "google.subject" = "assertion.sub"
    "attribute.x"    = "assertion.teams.all(a, a != '') ? 'x' : 'y'"
    "attribute.team" = "assertion.team"
  }}
  attribute_condition = "{condition}"
  oidc {{
    issuer_uri        = "https://oidc.example.com"
    allowed_audiences = ["b"]
  }}
}}
resource "google_service_account_iam_member" "a" {{
  service_account_id = "a"
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/*"
}}
"#
        );
        let trust = TrustFiles::parse(&[("a.tf".to_owned(), text)]);
        let token = TokenClaims { issuer: "https://oidc.example.com", subject: "s", audience: "b" };
        trust.admits(Cloud::Gcp, token)
    };
    let condition = "assertion.sub == 's'";
    for (more, condition, admission) in [
        ("", condition, Admission::Admitted),
        ("", "google.subject == 's'", Admission::Admitted),
        ("disabled = false", condition, Admission::Admitted),
        ("disabled = var.off", condition, Admission::Unknown),
        ("disabled = true", condition, Admission::NotAdmitted),
        ("count = var.on ? 1 : 0", condition, Admission::Unknown),
        // An attribute that is not made here is not one that there is not.
        ("", "assertion.sub == 's' && !has(attribute.x)", Admission::Unknown),
        ("", "assertion.sub == 's' && !('team' in attribute)", Admission::Unknown),
    ] {
        assert_eq!(provider(more, condition), admission, "{more} {condition}");
    }
}

/// Each provider of a list is one, and the condition is of one of them.
#[test]
fn a_provider_of_a_list_admits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let name = "provider-list.json";
    let trust = TrustFiles::parse(&files_of(&folder.join(name), name));
    let admits = |issuer, subject| {
        let audience = "aws-workload-identity-provider:acme";
        trust.admits(Cloud::Aws, TokenClaims { issuer, subject, audience })
    };
    let (issuer, subject) = ("https://tokens.example.org", "system:serviceaccount:acme:runner");
    assert_eq!(admits(issuer, subject), Admission::Admitted);
    assert_eq!(
        admits("https://token.actions.githubusercontent.com", subject),
        Admission::NotAdmitted
    );
    assert_eq!(admits(issuer, "system:serviceaccount:acme:other"), Admission::NotAdmitted);
}

/// A mapping that would take forever is not evaluated.
#[test]
fn mappings_do_not_iterate() {
    let list = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]";
    let mapping = (0..8).fold("true".to_owned(), |inner, at| format!("{list}.all(x{at}, {inner})"));
    let text = format!(
        r#"{{"name": "a", "attributeMapping": {{"google.subject": "assertion.sub", "attribute.x": "{mapping} ? 'x' : 'y'"}},
            "attributeCondition": "assertion.sub == 'a:b' && assertion.aud == 'b'",
            "oidc": {{"issuerUri": "https://oidc.example.com", "allowedAudiences": ["b"]}}}}"#
    );
    let trust = TrustFiles::parse(&[("a.json".to_owned(), text)]);
    assert_eq!(trust.len(), 1);
    assert!(trust.lint().iter().all(|finding| finding.code != "no-subject"));
}

/// A name that refers to itself is given up.
#[test]
fn names_are_not_followed_for_ever() {
    let text = r#"
locals {
  a = local.b
  b = "x${local.a}${local.a}"
}

resource "azurerm_federated_identity_credential" "a" {
  issuer   = "https://oidc.example.com"
  subject  = local.a
  audience = ["api://AzureADTokenExchange"]
}
"#;
    let trust = TrustFiles::parse(&[("a.tf".to_owned(), text.to_owned())]);
    let codes: Vec<_> = trust.lint().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["not-readable"]);
}

/// Values that grow without a bound are given up in time.
#[test]
fn what_grows_is_bounded() {
    let doubled = (1..16).fold("locals {\n a0 = \"xxxxxxxxxxxxxxxx\"\n".to_owned(), |text, at| {
        format!("{text} a{at} = \"${{local.a{0}}}${{local.a{0}}}${{local.a{0}}}\"\n", at - 1)
    });
    let credential = "resource \"azurerm_federated_identity_credential\" \"a\" {\n issuer = \"https://a\"\n \
                      subject = local.a15\n audience = [\"x\"]\n}\n";
    let list = format!("[{}]", "1, ".repeat(1000));
    let loops = format!(
        "locals {{\n a15 = [for a in {list} : [for b in {list} : [for c in {list} : \"x\"]]]\n}}\n"
    );
    let replaced = format!(
        "locals {{\n a0 = \"{}\"\n a15 = replace(local.a0, \"a\", local.a0)\n}}\n",
        "a".repeat(1 << 20)
    );
    let calls = (0..12).fold(String::new(), |text, at| {
        format!("{text}module \"m{at}\" {{\n source = \"./\"\n}}\n")
    });
    for (name, text) in [
        ("a.tf", doubled + "}\n" + credential),
        ("a.tf", loops + credential),
        ("a.tf", replaced + credential),
        ("a.tf", calls + credential),
        ("a.tf", "{".repeat(1 << 20)),
        ("a.tf", "<<A\n".repeat(1 << 19)),
        ("a.tf", "<".repeat(1 << 21)),
        ("a.tf", "# countersign: accept x\n".repeat(100_000)),
        ("a.yaml", "a: [\n".to_owned() + &"x,\n".repeat(200_000)),
        ("a.yaml", (0..200_000).fold(String::new(), |text, at| text + &format!("a{at}: 1\n"))),
        ("a.yaml", "- ".repeat(1 << 20)),
        ("a.yaml", "a: ".repeat(1 << 20)),
    ] {
        // Without the bounds, most of these would not end.
        let found = TrustFiles::parse(&[(name.to_owned(), text.clone())]).lint();
        assert!(found.len() <= 10_001, "{name}: {text:.40}");
    }
}

/// Control characters are escaped in findings.
#[test]
fn findings_mislead_nobody() {
    let text = "{\"issuer\": \"https://a\", \"subject\": \"a:workspace.\\u001b[31m\\u202e\", \"audiences\": [\"x\"]}";
    let trust = TrustFiles::parse(&[("a\u{1b}.json".to_owned(), text.to_owned())]);
    let findings = trust.lint();
    assert_eq!(findings.len(), 1);
    for finding in findings {
        let shown = format!("{}{}", finding.file, finding.message);
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
    }
}

#[test]
fn the_page_has_each_finding() {
    let page = include_str!("../../../docs/clouds.md");
    let (_, table) = page.split_once("| finding | what it means |\n|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| `"));
    let found: Vec<_> = rows.map(ToOwned::to_owned).collect();
    let expected: Vec<_> =
        FINDINGS.iter().map(|(code, meaning)| format!("| `{code}` | {meaning} |")).collect();
    assert_eq!(found, expected);
}
