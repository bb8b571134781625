//! Every finding, in files as the clouds and OpenTofu have them.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use countersign_trust::{FINDINGS, TrustFiles};

/// `tests/lint/NAME.txt` has what is found in `NAME`; `make golden` writes it.
#[test]
fn each_file_has_its_findings() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lint");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".txt"))
        .collect();
    names.sort();
    let mut seen = BTreeSet::new();
    for name in &names {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        let trust = TrustFiles::parse(&[(name.clone(), text)]).unwrap();
        assert!(!trust.is_empty(), "{name}");
        let mut found = String::new();
        for finding in trust.lint() {
            seen.insert(finding.code);
            writeln!(
                found,
                "{}:{}: {}: {}",
                finding.file, finding.place, finding.code, finding.message
            )
            .unwrap();
        }
        let golden = folder.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&golden, &found).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(found, expected, "{name}: if that is right, `make golden`");
    }
    let all: BTreeSet<_> = FINDINGS.iter().map(|(code, _)| *code).collect();
    assert_eq!(seen, all, "a finding that no file shows");
}

#[test]
fn what_is_not_in_its_language_is_an_error() {
    for (name, text, says) in [
        ("a.tf", "resource \"x\" {", "line 1, column"),
        ("a.json", "{\"a\": 1, \"a\": 2}", "a.json"),
        ("a.json", "[", "a.json"),
        ("a.json", &"[".repeat(100), "a.json"),
        ("a.tf", &format!("a = {}1{}", "(".repeat(5000), ")".repeat(5000)), "line 1"),
        ("a.hcl", &" ".repeat((4 << 20) + 1), "longer than 4194304 bytes"),
    ] {
        let error = TrustFiles::parse(&[(name.to_owned(), text.to_owned())]).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let nothing = TrustFiles::parse(&[("a.json".to_owned(), "{}".to_owned())]).unwrap();
    assert!(nothing.is_empty() && nothing.lint().is_empty());
}

/// A name that stands for itself ends.
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
    let trust = TrustFiles::parse(&[("a.tf".to_owned(), text.to_owned())]).unwrap();
    let codes: Vec<_> = trust.lint().iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["not-readable"]);
}

/// What terminals would act on is shown escaped.
#[test]
fn findings_mislead_nobody() {
    let text = "{\"issuer\": \"https://a\", \"subject\": \"a:workspace.\\u001b[31m\\u202e\", \"audiences\": [\"x\"]}";
    let trust = TrustFiles::parse(&[("a\u{1b}.json".to_owned(), text.to_owned())]).unwrap();
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
