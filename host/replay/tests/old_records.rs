//! Records of every version stay readable: claims to the byte, outcomes and verdicts as they were.
//!
//! A file of the corpus has the records that one version wrote, and is never written again: a version that writes other
//! records adds a file. Beside it is what is read of them; `UPDATE=1` rewrites that, and only its additions are good news.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use countersign::{DecisionReader, Outcome, PolicySet, RecordedDecision, Verdict};
use countersign_replay::RecordHead;
use serde::Deserialize;
use serde_json::value::RawValue;
use support::{Scripted, set};

/// The claims in the JSON of a decision, to the byte.
fn claims_of(decision: &str) -> &str {
    #[derive(Deserialize)]
    struct Claims<'r> {
        #[serde(borrow)]
        claims: &'r RawValue,
    }
    serde_json::from_str::<Claims<'_>>(decision).unwrap().claims.get()
}

/// Everything that is read of a decision, in lines.
fn lines(decision: &RecordedDecision) -> String {
    let mut text = String::new();
    match &decision.outcome {
        Outcome::Approved(terms) => {
            let audiences: Vec<_> = terms.audiences.iter().map(|a| a.as_str()).collect();
            let (ttl, audiences) = (terms.ttl_seconds, audiences.join(" "));
            writeln!(text, "  approved {ttl} {audiences} {:?}", terms.claims).unwrap();
        }
        Outcome::Refused(reasons) => {
            for reason in reasons {
                let binding = reason.binding.as_ref().map_or("-", |name| name.as_str());
                let (source, code) = (reason.source.as_str(), &reason.code);
                writeln!(text, "  refused {source} {binding} {code}: {}", reason.message).unwrap();
            }
        }
    }
    for entry in &decision.trace {
        let binding = &entry.binding;
        let (mode, may) = (binding.mode.as_str(), binding.may_permit);
        write!(text, "  {} {mode} {may} {:?}: ", binding.name, binding.scope).unwrap();
        match &entry.result {
            Ok(Verdict::Permit(grant)) => writeln!(text, "permit {grant:?}").unwrap(),
            Ok(Verdict::Restrict(grant)) => writeln!(text, "restrict {grant:?}").unwrap(),
            Ok(Verdict::Deny(reasons)) => writeln!(text, "deny {reasons:?}").unwrap(),
            Ok(Verdict::Abstain) => writeln!(text, "abstain").unwrap(),
            Err(fault) => writeln!(text, "fault {}: {}", fault.code, fault.detail).unwrap(),
        }
        let used = entry.used;
        let used = (used.fuel, used.memory_bytes, used.output_bytes);
        writeln!(text, "    {} {} {used:?}", binding.policy_name, binding.policy_version).unwrap();
    }
    text
}

#[test]
fn records_of_every_version_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/records");
    // Any policies: only the claims of what they decide on are looked at.
    let permits: PolicySet = set(&[Scripted::new("a", r#""abstain""#)]);
    let mut versions = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "ndjson") {
            continue;
        }
        versions += 1;
        let mut reader = DecisionReader::new();
        let mut read = String::new();
        for record in fs::read_to_string(&path).unwrap().lines() {
            let head = RecordHead::parse(record.as_bytes()).unwrap();
            writeln!(read, "{} {}", head.kind, head.time).unwrap();
            let Some(decision) = head.read(&mut reader) else { continue };
            let decision = decision.unwrap();
            let again = permits.evaluate(decision.claims.clone());
            assert_eq!(claims_of(again.json()), claims_of(head.decision().unwrap()));
            read.push_str(&lines(&decision));
        }
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
            fs::write(&golden, &read).unwrap();
        }
        assert_eq!(read, fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
    assert!(versions >= 1);
}
