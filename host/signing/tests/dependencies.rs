//! An embedder of the README's ten lines builds no HTTP, no database and no runtime.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeSet, HashMap};
use std::process::Command;

use serde_json::Value;

/// Crates that only the service needs.
const OF_THE_SERVICE: [&str; 12] = [
    "axum",
    "countersign-decision-log",
    "countersign-http",
    "countersign-issuer",
    "governor",
    "hyper",
    "libsqlite3-sys",
    "prometheus",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio",
];

/// The platform of the compiler, as it names itself.
fn platform() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// The names of all crates that a package is built of, its tests and build scripts left out.
fn built_of(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        // Of this platform: crates that others need have not been downloaded where only this one was built.
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", &platform()])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: HashMap<&str, &str> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let nodes: HashMap<&str, &Value> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node))
        .collect();
    let root = names.iter().find(|(_, name)| **name == package).unwrap().0;
    let (mut seen, mut waiting) = (BTreeSet::new(), vec![*root]);
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        for dependency in nodes[id]["deps"].as_array().unwrap() {
            let kinds = dependency["dep_kinds"].as_array().unwrap();
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                waiting.push(dependency["pkg"].as_str().unwrap());
            }
        }
    }
    seen.into_iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn signing_is_built_without_the_service() {
    let signing = built_of("countersign-signing");
    for name in OF_THE_SERVICE {
        assert!(!signing.contains(name), "countersign-signing is built of {name}");
    }
    assert!(signing.contains("countersign") && signing.contains("countersign-clouds"));
    // The other way round, so that a name that is misspelt above is found.
    let program = built_of("countersign-cli");
    for name in OF_THE_SERVICE {
        assert!(program.contains(name), "countersign-cli is not built of {name}");
    }
}
