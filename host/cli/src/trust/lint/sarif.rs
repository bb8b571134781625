//! Findings in SARIF 2.1.0.

use std::collections::BTreeMap;

use countersign_trust::{FINDINGS, Finding, line_of_pointer};
use serde_json::{Value, json};

/// Writes a report. `texts` are the files, for the lines of places in JSON.
pub(super) fn report(findings: &[&Finding], texts: &BTreeMap<String, String>) -> Value {
    let rules = FINDINGS
        .iter()
        .map(|(code, meaning)| json!({"id": code, "shortDescription": {"text": meaning}}));
    let results = findings.iter().map(|finding| {
        let mut result = json!({
            "ruleId": finding.code,
            "level": finding.severity.as_str(),
            "message": {"text": finding.message},
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": uri(&finding.file)},
                "region": {"startLine": line(finding, texts)},
            }}],
        });
        if let (Some(reason), Some(result)) = (&finding.accepted, result.as_object_mut()) {
            let suppression = json!([{"kind": "inSource", "justification": reason}]);
            result.insert("suppressions".to_owned(), suppression);
        }
        result
    });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "countersign",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            }},
            "results": results.collect::<Vec<_>>(),
        }],
    })
}

/// The line of a finding.
pub(super) fn line(finding: &Finding, texts: &BTreeMap<String, String>) -> usize {
    finding.place.parse().unwrap_or_else(|_| {
        texts.get(&finding.file).map_or(1, |text| line_of_pointer(text, pointer(&finding.place)))
    })
}

/// The pointer of a place: the whole file is shown as `/`.
fn pointer(place: &str) -> &str {
    if place == "/" { "" } else { place }
}

/// The path of a file as a relative reference (RFC 3986).
fn uri(file: &str) -> String {
    let mut uri = String::new();
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' => {
                uri.push(char::from(byte));
            }
            b'\\' => uri.push('/'),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}
