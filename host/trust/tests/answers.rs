//! The corpus: every input has the expert's answer, in `answers.txt`, and the linter gives no other.
//!
//! `make trust-corpus` prints the count.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests, of which one prints its count"
)]

mod inputs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use countersign_trust::{FINDINGS, TrustFiles};
use inputs::{files_of, names};

/// The folders of inputs in `tests`.
const FOLDERS: [&str; 3] = ["lint", "none", "idioms"];

/// The answer for one input: how often each finding, `PLACE CODE`, is expected, with the reasons.
#[derive(Default)]
struct Answer {
    findings: BTreeMap<String, Vec<String>>,
    is_clean: bool,
}

/// Parses the answers, by input.
fn answers(text: &str) -> BTreeMap<String, Answer> {
    let mut answers: BTreeMap<String, Answer> = BTreeMap::new();
    let mut input = String::new();
    let is_answer = |line: &str| !line.is_empty() && !line.starts_with('#');
    for (at, line) in text.lines().enumerate().filter(|(_, line)| is_answer(line)) {
        let at = at + 1;
        if let Some(finding) = line.strip_prefix("  ") {
            let (finding, reason) = finding
                .split_once(": ")
                .unwrap_or_else(|| panic!("answers.txt:{at}: expected `PLACE CODE: REASON`"));
            let answer = answers.get_mut(&input).unwrap();
            if finding == "nothing" {
                answer.is_clean = true;
                continue;
            }
            let code = finding.rsplit(' ').next().unwrap();
            assert!(
                FINDINGS.iter().any(|(known, _)| *known == code),
                "answers.txt:{at}: `{code}` is no code"
            );
            answer.findings.entry(finding.to_owned()).or_default().push(reason.to_owned());
        } else {
            line.clone_into(&mut input);
            let earlier = answers.insert(input.clone(), Answer::default());
            assert!(earlier.is_none(), "answers.txt:{at}: a second answer for `{input}`");
        }
    }
    for (input, answer) in &answers {
        assert!(
            answer.is_clean == answer.findings.is_empty(),
            "answers.txt: `{input}` has to have findings, or `nothing`"
        );
    }
    answers
}

/// The findings of the linter for one input, `PLACE CODE`, with their messages.
fn found(path: &Path, name: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for finding in TrustFiles::parse(&files_of(path, name)).lint() {
        // In a folder, the place has the file.
        let file = finding.file.strip_prefix(name).unwrap_or_default();
        let file = file.strip_prefix('/').map(|file| format!("{file}:")).unwrap_or_default();
        let key = format!("{file}{} {}", finding.place, finding.code);
        found.entry(key).or_default().push(finding.message);
    }
    found
}

#[test]
fn the_linter_gives_the_experts_answers() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let text = std::fs::read_to_string(tests.join("answers.txt")).unwrap();
    let answers = answers(&text);
    let inputs = FOLDERS.iter().flat_map(|folder| {
        names(&tests.join(folder)).into_iter().map(move |name| format!("{folder}/{name}"))
    });
    let inputs: BTreeSet<String> = inputs.collect();
    let answered: BTreeSet<String> = answers.keys().cloned().collect();
    assert_eq!(inputs, answered, "each input needs an answer, and each answer an input");
    let (mut expected, mut misses, mut false_findings) = (0, Vec::new(), Vec::new());
    for (input, answer) in &answers {
        let name = input.rsplit('/').next().unwrap();
        let found = found(&tests.join(input), name);
        let keys: BTreeSet<&String> = answer.findings.keys().chain(found.keys()).collect();
        for key in keys {
            let reasons = answer.findings.get(key).map(Vec::as_slice).unwrap_or_default();
            let messages = found.get(key).map(Vec::as_slice).unwrap_or_default();
            expected += reasons.len();
            let missed = reasons.iter().skip(messages.len());
            misses.extend(missed.map(|reason| format!("{input}: {key}: {reason}")));
            let more = messages.iter().skip(reasons.len());
            false_findings.extend(more.map(|message| format!("{input}: {key}: {message}")));
        }
    }
    misses.iter().for_each(|miss| println!("miss: {miss}"));
    false_findings.iter().for_each(|finding| println!("false: {finding}"));
    println!(
        "trust corpus: {} files, {expected} findings expected, {} misses, {} false findings",
        inputs.len(),
        misses.len(),
        false_findings.len()
    );
    assert!(misses.is_empty() && false_findings.is_empty(), "see above");
}
