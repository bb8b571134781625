//! Decisions of records, read back, and the outcomes that are worked out from them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{
    Binding, Decision, DecisionReader, Digest, Limits, Mode, PolicySet, RecordedDecision,
    RecordedDecisionError, Scope,
};
use support::{Scripted, claims, enforce, set, shadow};

/// A set with every kind of verdict and fault.
fn everything() -> PolicySet {
    set(&[
        enforce("abstains", r#""abstain""#),
        shadow("denies", r#"{"deny": [["not-listed", "a \"list\"\n"], ["Bad Code", "x"]]}"#),
        shadow("faults", r#"{"panic": "boom"}"#),
        shadow("grants-all", r#"{"permit": {}}"#),
        enforce("grants-nothing-new", r#"{"permit": {"claims": [["team", "red"]]}}"#),
        Scripted {
            may_permit: false,
            ..enforce("may-not", r#"{"permit": {"max-ttl": 900, "audiences": ["aws"]}}"#)
        },
        shadow("out-of-fuel", r#""loop""#),
        enforce("restricts", r#"{"restrict": {"audiences": ["azure", "aws"]}}"#),
        shadow("widens", r#"{"permit": {"max-ttl": 90000}}"#),
    ])
}

fn read(decision: &Decision) -> RecordedDecision {
    DecisionReader::new().read(decision.json()).unwrap()
}

#[test]
fn a_decision_is_read_back_as_it_was() {
    for set in
        [everything(), set(&[enforce("denies", r#"{"deny": [["one", "a"], ["two", "b"]]}"#)])]
    {
        let decision = set.evaluate(claims());
        let read = read(&decision);
        assert_eq!(read, RecordedDecision::from(&decision));
        assert_eq!((read.id, read.policy_set), (decision.id(), set.digest()));
        assert_eq!(read.claims, *decision.claims());
        // And with the claims that were read back, the same decision is made again to the byte.
        assert_eq!(set.evaluate(read.claims).json(), decision.json());
    }
}

#[test]
fn bindings_that_are_met_again_are_shared() {
    let decision = everything().evaluate(claims());
    let mut reader = DecisionReader::new();
    let (one, other) =
        (reader.read(decision.json()).unwrap(), reader.read(decision.json()).unwrap());
    assert_eq!(one, other);
    let shared = one.trace.iter().zip(&other.trace);
    assert!(shared.into_iter().all(|(a, b)| std::sync::Arc::ptr_eq(&a.binding, &b.binding)));
}

/// The record with one text in the place of another, and the id that follows from it.
fn changed(json: &str, from: &str, to: &str) -> String {
    let (_, rest) = json.split_once(r#"","version""#).unwrap();
    assert!(rest.contains(from), "{from} is not in {rest}");
    let rest = format!(r#""version"{}"#, rest.replacen(from, to, 1));
    let id = Digest::of(format!("{{{rest}").as_bytes());
    format!(r#"{{"id":"{id}",{rest}"#)
}

#[test]
fn what_no_version_has_written_is_refused() {
    let decision = everything().evaluate(claims());
    let json = decision.json();
    let component = Digest::of(countersign_test_artifacts::SCRIPTED).to_string();
    for (from, to, says) in [
        (r#":1,"outcome""#, r#":2,"outcome""#, "a decision of version 2"),
        (r#""outcome":"approved""#, r#""outcome":"perhaps""#, "outcome: expected `approved`"),
        (r#""outcome":"approved""#, r#""outcome":"refused""#, "outcome: expected `approved`"),
        (r#""ttl_seconds":900"#, r#""ttl_seconds":3601"#, "wider than the request"),
        (r#""audiences":["aws"],"ttl"#, r#""audiences":["gcp"],"ttl"#, "wider than the request"),
        (r#""audiences":["aws"],"ttl"#, r#""audiences":[],"ttl"#, "wider than the request"),
        (r#""trace":["#, r#""more":1,"trace":["#, "unknown field `more`"),
        (r#""trace":["#, r#""trace":null,"trace":["#, "expected a sequence"),
        (r#""trace":["#, r#""trace":[],"trace":["#, "duplicate field `trace`"),
        (r#""mode":"enforce""#, r#""mode":"enforce","mode":"shadow""#, "duplicate field"),
        (r#""mode":"enforce""#, r#""mode":"maybe""#, "neither `enforce` nor `shadow`"),
        (r#""scope":"all""#, r#""scope":{"everything":"x"}"#, "scope: not one"),
        (r#""scope":"all""#, r#""scope":{"definition":"x"}"#, "binding `abstains`"),
        (r#""verdict":"abstain""#, r#""verdict":"forget""#, "unknown variant"),
        (r#""verdict":"abstain","#, "", "either a verdict or a fault"),
        (r#""max_ttl":900"#, r#""max_ttl":3601"#, "binding `may-not`: the grant: granted 3601"),
        (r#"{"team":"red"}"#, r#"{"sub":"red"}"#, "outcome: the claim `sub`, which only the host"),
        (
            r#"{"permit":{"claims":{"team":"red"}}}"#,
            r#"{"permit":{"claims":{"sub":"red"}}}"#,
            "the grant: added the claim `sub`",
        ),
        (r#""code":"not-listed""#, r#""code":"Not Listed""#, "a reason is out of form"),
        (r#""fuel":{"used""#, r#""fuel":{"more":1,"used""#, "unknown field `more`"),
        (r#""fuel":10000000"#, r#""fuel":10000001"#, "the usage has other limits"),
        (component.as_str(), "sha256:00", "policy: not one"),
        (r#""workspace":"team-a""#, r#""workspace":"Team""#, "claims: /run/building_block"),
        (r#""run":{"id""#, r#""run":{"newer":1,"id""#, "claims: /run/newer: not a member"),
    ] {
        let text = changed(json, from, to);
        let error = DecisionReader::new().read(&text).unwrap_err();
        assert!(error.to_string().contains(says), "{from} → {to}: {error}");
    }
    let other_id = json.replacen("sha256:", "sha256:0", 1);
    assert!(matches!(
        DecisionReader::new().read(&other_id),
        Err(RecordedDecisionError::Json { .. })
    ));
    // A changed byte anywhere, with the id as it was.
    let text = json.replacen("\"team-a\"", "\"team-b\"", 1);
    assert!(matches!(DecisionReader::new().read(&text), Err(RecordedDecisionError::Id { .. })));
    for text in ["", "{}", "[]", "null", &json[1..], &json[..json.len() - 1]] {
        let error = DecisionReader::new().read(text).unwrap_err();
        assert!(matches!(error, RecordedDecisionError::Json { .. }), "{error}");
    }
}

/// The id covers everything else, so no changed byte is read, whatever it makes of the text.
#[test]
fn every_changed_byte_is_refused() {
    let decision = everything().evaluate(claims());
    let json = decision.json().as_bytes();
    let mut reader = DecisionReader::new();
    for place in 0..json.len() {
        for flip in [0x01, 0x20] {
            let mut bytes = json.to_vec();
            bytes[place] ^= flip;
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            assert!(reader.read(text).is_err(), "byte {place}: {text}");
        }
    }
    assert!(reader.read(decision.json()).is_ok());
}

/// A reader that knows parts of traces reads every text as one that knows none: each changed byte, with the id that follows
/// from it, and requests on which the same grant is too wide.
#[test]
fn a_reader_that_knows_parts_reads_as_one_that_knows_none() {
    let decision = everything().evaluate(claims());
    let mut knowing = DecisionReader::new();
    let (_, rest) = decision.json().split_once(r#"","#).unwrap();
    let mut is_read = 0;
    for place in 0..rest.len() {
        for flip in [0x01, 0x10] {
            let mut bytes = rest.as_bytes().to_vec();
            bytes[place] ^= flip;
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            let id = Digest::of(format!("{{{text}").as_bytes());
            let text = format!(r#"{{"id":"{id}",{text}"#);
            assert!(knowing.read(decision.json()).is_ok());
            let found = knowing.read(&text);
            assert_eq!(found, DecisionReader::new().read(&text), "byte {place}: {text}");
            is_read += usize::from(found.is_ok());
        }
    }
    // Digits, letters of names and the like: the comparison is of decisions too, not of errors alone.
    assert!(is_read > 100, "{is_read}");
}

/// A verdict that is taken from a record is the one that an evaluation gives, and a fault is always evaluated again.
#[test]
fn a_projection_with_recorded_verdicts_is_an_evaluation() {
    let set = everything();
    let decision = set.evaluate(claims());
    let recorded = read(&decision);
    let projected = set.project(&claims(), &recorded.trace);
    let evaluated = set.project(&claims(), &[]);
    assert_eq!((&projected.outcome, &projected.trace), (&evaluated.outcome, &evaluated.trace));
    assert_eq!(
        (decision.outcome(), decision.trace()),
        (&evaluated.outcome, evaluated.trace.as_slice())
    );
    let faults = decision.trace().iter().filter(|entry| entry.result.is_err()).count();
    assert!(faults >= 3);
    assert_eq!((projected.reused, evaluated.reused), (projected.trace.len() - faults, 0));
}

#[test]
fn a_recorded_verdict_stands_in_as_long_as_everything_is_the_same_that_it_follows_from() {
    let before = read(&set(&[enforce("a", r#"{"permit": {}}"#)]).evaluate(claims()));
    let reused = |binding: Scripted<'_>| {
        let set: PolicySet = PolicySet::new(vec![binding.prepare()]).unwrap();
        set.project(&claims(), &before.trace).reused
    };
    let same = || enforce("a", r#"{"permit": {}}"#);
    assert_eq!(reused(same()), 1);
    assert_eq!(reused(Scripted { name: "b", ..same() }), 1);
    assert_eq!(reused(Scripted { mode: Mode::Shadow, ..same() }), 1);
    assert_eq!(reused(Scripted { may_permit: false, ..same() }), 1);
    let scope = Scope::OwningWorkspace("team-a".parse().unwrap());
    assert_eq!(reused(Scripted { scope, ..same() }), 1);
    assert_eq!(reused(Scripted { answer: r#""abstain""#, ..same() }), 0);
    assert_eq!(reused(Scripted { claims: &["team"], ..same() }), 0);
    for field in Limits::FIELDS {
        let changed = field.get(&Limits::DEFAULT) - 1;
        let text = |one: &countersign::LimitField| {
            let value = if one.key == field.key { changed } else { one.get(&same().limits) };
            format!(r#""{}":{value}"#, one.member)
        };
        let members: Vec<_> = Limits::FIELDS.iter().map(text).collect();
        let Ok(limits) = Limits::from_record(format!("{{{}}}", members.join(",")).as_bytes())
        else {
            continue;
        };
        assert_eq!(reused(Scripted { limits, ..same() }), 0, "{}", field.key);
    }
    let other: Vec<Binding> = vec![same().prepare()];
    assert!(before.trace[0].binding.evaluates_as(other[0].identity()));
}
