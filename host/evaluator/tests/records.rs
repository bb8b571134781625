//! Decisions on record: a stable shape, and an id that anyone can compute.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::path::PathBuf;

use countersign::{Claims, Decision, Digest, Limits};
use support::{claims, claims_for, decide, enforce, shadow, token};

/// Compares with a golden file; `UPDATE=1` rewrites it. Digests of components and fuel change with
/// the compiler, so they are left out of the comparison.
#[track_caller]
fn check(name: &str, decision: &Decision) {
    assert_eq!(decision.json(), serde_json::to_string(&decision.record()).unwrap());
    let mut record = serde_json::to_value(decision.record()).unwrap();
    let hidden = serde_json::Value::from("…");
    assert_eq!(record["id"], decision.id().to_string());
    assert_eq!(record["policy_set"], decision.policy_set().to_string());
    let component = Digest::of(countersign_test_artifacts::SCRIPTED).to_string();
    record["id"] = hidden.clone();
    record["policy_set"] = hidden.clone();
    for (entry, trace) in record["trace"].as_array_mut().unwrap().iter_mut().zip(decision.trace()) {
        let limits = Limits::from_record(entry["limits"].to_string().as_bytes());
        assert_eq!(limits, Ok(trace.binding.limits));
        assert_eq!(entry["policy"]["digest"], component);
        entry["policy"]["digest"] = hidden.clone();
        for used in ["fuel", "memory_bytes"] {
            if entry[used]["used"].is_number() {
                entry[used]["used"] = hidden.clone();
            }
        }
    }
    let actual = format!("{record:#}\n");
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(&path, &actual).unwrap();
    }
    assert_eq!(actual, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

#[test]
fn an_approval() {
    let (runner, form) = (Some(support::runner()), support::subject_form());
    let token = token(&["aws", "azure"], 3600);
    let claims = Claims::new(support::run(), runner, support::facts(), &form, token).unwrap();
    let narrow =
        r#"{"permit": {"max-ttl": 900, "audiences": ["aws"], "claims": [["team", "red"]]}}"#;
    let decision = decide(
        &[
            enforce("narrow", narrow),
            enforce("other", r#""abstain""#),
            shadow("tried", r#""loop""#),
        ],
        claims,
    );
    check("approved.json", &decision);
}

#[test]
fn a_refusal() {
    let denies = r#"{"deny": [["not-listed", "not on the list\n"]]}"#;
    let decision = decide(
        &[
            enforce("denies", denies),
            enforce("faults", r#""grow""#),
            enforce("permits", r#"{"permit": {}}"#),
        ],
        claims(),
    );
    check("refused.json", &decision);
}

#[test]
fn a_restriction() {
    let capped = support::Scripted {
        may_permit: false,
        ..enforce("capped", r#"{"permit": {"audiences": ["aws"]}}"#)
    };
    let restrict =
        r#"{"restrict": {"max-ttl": 900, "audiences": ["aws"], "claims": [["team", "red"]]}}"#;
    let decision = decide(&[capped, enforce("restricts", restrict)], claims());
    check("restricted.json", &decision);
}

#[test]
fn the_id_is_the_digest_of_the_rest() {
    let decision = decide(&[enforce("a", r#"{"permit": {}}"#)], claims());
    let text = serde_json::to_string(&decision.record()).unwrap();
    let id = decision.id().to_string();
    let rest = text.strip_prefix(&format!(r#"{{"id":"{id}","#)).unwrap();
    assert_eq!(Digest::of(format!("{{{rest}").as_bytes()), decision.id());
    assert_eq!(decision.into_approval().unwrap().decision().to_string(), id);
}

#[test]
fn a_decision_on_other_claims_has_another_id() {
    let permit = enforce("a", r#"{"permit": {}}"#);
    let set = support::set(&[permit]);
    let id = set.evaluate(claims()).id();
    assert_eq!(set.evaluate(claims()).id(), id);
    let mut run = support::run();
    run.building_block.workspace = "team-b".parse().unwrap();
    let other = claims_for(run, token(&["aws", "azure"], 3600));
    assert_ne!(set.evaluate(other).id(), id);
    let shorter = claims_for(support::run(), token(&["aws", "azure"], 3599));
    assert_ne!(set.evaluate(shorter).id(), id);
}
