//! `countersign trust lint` of folders: everything is read, or said.
#![cfg(unix)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{countersign, folder};

/// A file that cannot be read is a finding, and the others are read; so is each file of a folder.
#[test]
fn one_file_does_not_end_the_others() {
    let folder = folder();
    let backplane = folder.path().join("backplane/.terraform");
    fs::create_dir_all(&backplane).unwrap();
    fs::write(backplane.join("left-out.tf"), "resource {").unwrap();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join("backplane").join(name), text).unwrap()
    };
    write("broken.tf", "resource {");
    write("package.json", "// not about trust");
    write(
        "open.json",
        "{\"issuer\": \"https://a\", \"audiences\": [\"x\"], \"about\": \"federated\"}",
    );
    let ran = countersign(folder.path(), "trust lint backplane absent.tf countersign.toml");
    assert_eq!(ran.status, 1);
    let codes: Vec<_> = ran
        .stdout
        .lines()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        codes,
        [
            "absent.tf:1 unreadable-file",
            "backplane/broken.tf:1 unreadable-file",
            "backplane/open.json:/ no-subject",
            "countersign.toml:1 unreadable-file",
        ],
        "{}",
        ran.stdout
    );
    // What is known does not fail, and neither does what is below the severity, or accepted.
    let ran = countersign(folder.path(), "trust lint backplane --format json");
    write("../known.json", &ran.stdout);
    let ran = countersign(folder.path(), "trust lint backplane --baseline known.json");
    assert_eq!((ran.status, ran.stdout.as_str()), (0, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("2 of the baseline"), "{}", ran.stderr);
    write(
        "broken.tf",
        "# countersign: accept no-subject it is a sandbox\nresource \"azurerm_federated_identity_credential\" \"a\" {\n  \
         issuer   = \"https://a\"\n  audience = [var.audience]\n}\n",
    );
    for (fail_on, status) in [("note", 1), ("warning", 0)] {
        let line = format!("trust lint backplane/broken.tf --fail-on {fail_on}");
        let ran = countersign(folder.path(), &line);
        assert_eq!(ran.status, status, "{}", ran.stdout);
        assert!(ran.stderr.contains("1 finding, 1 accepted"), "{}", ran.stderr);
    }
    let ran = countersign(folder.path(), "trust lint backplane --format sarif");
    let sarif: Value = serde_json::from_str(&ran.stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results[0]["suppressions"][0]["justification"], "it is a sandbox");
    assert_eq!(results.len(), 3, "{results:?}");
    let ran = countersign(folder.path(), "trust lint backplane --format junit");
    assert!(ran.stdout.contains("<skipped message=\"it is a sandbox\""), "{}", ran.stdout);
}

/// Of a folder, whatever may be trust and is in a form that is not read is said.
#[test]
fn nothing_of_a_folder_is_left_out_in_silence() {
    let folder = folder();
    let write = |name: &str, text: &str| {
        let path = folder.path().join("infra").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let lint = || {
        let ran = countersign(folder.path(), "trust lint infra");
        let found =
            ran.stdout.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "));
        (ran.status, found.collect::<Vec<_>>())
    };
    let credential = |subject: &str| {
        json!([{"issuer": "https://a.example.com", "subject": subject, "audiences": ["x"]}])
            .to_string()
    };
    write("credentials.json", &credential("a:b"));
    write("main.bicep", "resource b 'Microsoft.Storage/storageAccounts@2024-01-01' = {}");
    write("src/main.tf", "locals {}");
    assert_eq!(lint(), (0, Vec::new()));
    write("credentials.json", &credential("a:*"));
    write("identity.bicep", "resource c 'x/federatedIdentityCredentials@2024-11-30' = {}");
    write("terragrunt.hcl", "terraform {\n  source = \"./src\"\n}\n");
    std::os::unix::fs::symlink(folder.path().join("infra/src"), folder.path().join("infra/link"))
        .unwrap();
    let found = [
        "infra/credentials.json:/0/subject: malformed-subject",
        "infra/identity.bicep:1: unreadable-file",
        "infra/link:1: unreadable-file",
        "infra/terragrunt.hcl:1: unreadable-file",
    ];
    assert_eq!(lint(), (1, found.map(ToOwned::to_owned).to_vec()));
}
