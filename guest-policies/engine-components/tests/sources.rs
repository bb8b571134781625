//! The digest of the engines' sources changes with each of them, and with nothing else.
#![allow(missing_docs, reason = "tests")]

#[path = "../build/sources.rs"]
mod sources;

use std::collections::{BTreeMap, BTreeSet};

use sources::{digest, packages, statements};

fn of(files: &[(&str, &str)]) -> String {
    let files: BTreeMap<_, _> = files
        .iter()
        .map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec()))
        .collect();
    digest(&files)
}

#[test]
fn each_difference_of_files_is_a_difference_of_the_digest() {
    let different: &[&[(&str, &str)]] = &[
        &[],
        &[("a", "")],
        &[("", "a")],
        &[("a", "b")],
        &[("b", "a")],
        &[("ab", "")],
        &[("a", "b"), ("c", "d")],
        &[("a", "d"), ("c", "b")],
        // Without lengths these would be the same bytes as the ones above.
        &[("a", "bc"), ("", "d")],
        &[("a", "bcd")],
        &[("a", "b"), ("c", "d"), ("e", "")],
    ];
    let digests: BTreeSet<_> = different.iter().map(|files| of(files)).collect();
    assert_eq!(digests.len(), different.len());
    // The order in which they are found makes no difference.
    assert_eq!(of(&[("a", "b"), ("c", "d")]), of(&[("c", "d"), ("a", "b")]));
    // SHA-256 of nothing: the digest is the same on every machine.
    assert_eq!(of(&[]), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

const MANIFEST: &str = "\
[workspace.package]
edition = \"2024\"

[workspace.dependencies]
axum = { version = \"0.8\", features = [
    \"serde\",
] }
serde = { version = \"1\", features = [
    \"derive\",
] }
serde_json = \"1\"
wit-bindgen.version = \"0.60\"

[profile.dev]
debug = 1
";

#[test]
fn of_the_manifest_only_what_the_sdk_inherits_counts() {
    let keys = ["edition", "serde", "wit-bindgen"];
    let found = statements(MANIFEST, &keys);
    let expected = "edition = \"2024\"\nserde = { version = \"1\", features = [\n    \"derive\",\n] }\n\
                    wit-bindgen.version = \"0.60\"\n";
    assert_eq!(found, expected);
    for (from, to, is_source) in [
        ("0.8", "0.9", false),
        ("    \"serde\",", "    \"other\",", false),
        ("serde_json = \"1\"", "serde_json = \"2\"", false),
        ("debug = 1", "debug = 0", false),
        ("2024", "2027", true),
        ("\"derive\"", "\"rc\"", true),
        ("0.60", "0.61", true),
    ] {
        let changed = MANIFEST.replace(from, to);
        assert_ne!(changed, MANIFEST, "{from}");
        assert_eq!(statements(&changed, &keys) != found, is_source, "{from}");
    }
}

const LOCK: &str = "\
version = 4

[[package]]
name = \"axum\"
version = \"0.8.1\"
dependencies = [
 \"wasmparser\",
]

[[package]]
name = \"wasmparser\"
version = \"0.254.2\"
checksum = \"ab\"

[[package]]
name = \"wasmparser\"
version = \"0.300.0\"

[[package]]
name = \"wat\"
version = \"1.254.2\"
";

#[test]
fn of_the_lock_file_only_the_encoder_counts() {
    let found = packages(LOCK, &["wasmparser"]);
    for (from, to, is_source) in [
        ("0.8.1", "0.8.2", false),
        (" \"wasmparser\",", " \"other\",", false),
        ("1.254.2", "1.255.0", false),
        ("\"0.254.2\"", "\"0.254.3\"", true),
        ("\"ab\"", "\"cd\"", true),
        ("0.300.0", "0.300.1", true),
    ] {
        let changed = LOCK.replace(from, to);
        assert_ne!(changed, LOCK, "{from}");
        assert_eq!(packages(&changed, &["wasmparser"]) != found, is_source, "{from}");
    }
}
