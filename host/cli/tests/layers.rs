//! The layers of ARCHITECTURE.md: dependencies between crates point down and never back.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The crates of each layer, from the bottom. A crate may depend on the layers below its own.
const LAYERS: &[&[&str]] = &[
    &["countersign"],
    &[
        "countersign-aws",
        "countersign-clouds",
        "countersign-compiler-worker",
        "countersign-decision-log",
        "countersign-schema",
    ],
    &[
        "countersign-signing",
        "countersign-trust",
        "countersign-authoring",
        "countersign-registry",
        "countersign-export",
        "countersign-receipts",
        "countersign-replay",
    ],
    &["countersign-issuer"],
    &["countersign-custody"],
    &[
        "countersign-console",
        "countersign-deployment",
        "countersign-ext-authz",
        "countersign-http",
        "countersign-kubernetes-signer",
        "countersign-traces",
    ],
    &["countersign-cli"],
];

/// Crates that the program is built from and that have no layer: the tools that make components and find engines, and
/// the policies that are built in.
const GUESTS: &[&str] =
    &["countersign-component", "countersign-engines", "countersign-policy-artifacts"];

/// Crates below `host/` that only tests and fuzzing use.
const TOOLS: &[&str] = &["countersign-fuzz-targets"];

#[test]
fn dependencies_point_down_the_layers() {
    let dependencies = host_dependencies();
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let mut wrong = Vec::new();
    for (name, needs) in &dependencies {
        if TOOLS.contains(&name.as_str()) {
            continue;
        }
        let Some(own) = layer(name) else {
            wrong.push(format!("{name} is in no layer: add it to LAYERS and to ARCHITECTURE.md"));
            continue;
        };
        for needed in needs.iter().filter(|needed| !GUESTS.contains(&needed.as_str())) {
            match layer(needed) {
                Some(below) if below < own => {}
                Some(_) => wrong.push(format!("{name} depends on {needed}, which is not below it")),
                None => wrong.push(format!("{name} depends on {needed}, which is in no layer")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let present: BTreeSet<_> = dependencies.keys().map(String::as_str).collect();
    let gone: Vec<_> =
        LAYERS.iter().copied().flatten().filter(|name| !present.contains(*name)).collect();
    assert!(gone.is_empty(), "layers name crates that are not there: {gone:?}");
}

/// The crates below `host/`, each with the crates of this repository that its code needs, but for tests.
fn host_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--locked"])
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let host = root.canonicalize().unwrap().join("host");
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .filter(|package| Path::new(package["manifest_path"].as_str().unwrap()).starts_with(&host))
        .map(|package| {
            let needs = package["dependencies"].as_array().unwrap().iter();
            let needs = needs
                .filter(|need| need["kind"].as_str() != Some("dev") && !need["path"].is_null())
                .map(|need| need["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), needs.collect())
        })
        .collect()
}
