//! The threat model names tests that there are.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

/// The minimum number of tests that the page names: fewer, and it was not read as it is written.
const MIN_NAMED: usize = 40;

#[test]
fn every_threat_is_held_by_a_test_that_there_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/security.md")).unwrap();
    let threats = page.split("## Threats, by boundary").nth(1).unwrap();
    let threats = threats.split("\n## ").next().unwrap();
    let (mut named, mut missing) = (0, Vec::new());
    for row in threats.lines().filter(|line| line.starts_with("| ")) {
        let cell = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        if cell == "test" {
            continue;
        }
        for test in cell.split(", ") {
            let quoted: Vec<&str> = test.split('`').collect();
            let &["", file, " ", function, ""] = &quoted[..] else {
                missing.push(format!("no test: {row}"));
                continue;
            };
            named += 1;
            let path = root.join("host").join(file);
            let source = fs::read_to_string(&path).unwrap_or_default();
            let modules = fs::read_dir(path.with_extension("")).into_iter().flatten();
            let in_modules = modules
                .filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok())
                .collect::<String>();
            if !has_test(&source, function) && !has_test(&in_modules, function) {
                missing.push(format!("`{file}` has no test `{function}`"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(named >= MIN_NAMED, "{named} tests are named");
}

/// Tells whether a source has a test of this name.
fn has_test(source: &str, function: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {function}(")) else { return false };
    let attributes = before.rsplit("fn ").next().unwrap_or_default();
    attributes.contains("#[test]") || attributes.contains("#[tokio::test")
}
