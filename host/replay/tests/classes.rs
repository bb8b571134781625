//! The classes of differences, their causes, and the decisions that cannot be decided again.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{Mode, PolicySet};
use countersign_replay::{
    Class, Difference, Filter, Item, Items, NotReplayable, NotReplayableReason, Place, Question,
    ReplayObserver, Sampling, impact, replay,
};
use support::{Observed, Scripted, claims, impact_of, items, options, records, set};

fn request() -> countersign::Claims {
    claims("team-a", "network", "x", 3600, 1000)
}

const PERMIT: &str = r#"{"permit": {}}"#;

/// Checks the class and the causes of the change from one answer to another.
#[track_caller]
fn check(before: &str, after: &str, class: Class, causes: &[&str]) {
    let set = |answer: &str| set(&[Scripted::new("a", answer), Scripted::new("b", PERMIT)]);
    let records = records(&set(before), &[request()]);
    let (report, told) = impact_of(records, &set(after), Sampling::Off);
    assert_eq!(report.summary.classes.of(class), 1, "{before} → {after}: {report:?}");
    let found: Vec<_> = told
        .changes
        .iter()
        .flat_map(|change| &change.comparison.causes)
        .map(|cause| {
            let binding = cause.binding.as_ref().map_or("-", |name| name.as_str());
            format!("{} {binding} {}", cause.kind.as_str(), cause.code)
        })
        .collect();
    assert_eq!(found, causes, "{before} → {after}");
}

#[test]
fn each_difference_is_in_its_class_with_its_causes() {
    let deny = r#"{"deny": [["no", "why"]]}"#;
    let grant = |grant: &str| format!(r#"{{"permit": {{{grant}}}}}"#);
    let (short, long) = (grant(r#""max-ttl": 300"#), grant(r#""max-ttl": 600"#));
    let (aws, azure) = (grant(r#""audiences": ["aws"]"#), grant(r#""audiences": ["azure"]"#));
    let (red, blue) =
        (grant(r#""claims": [["team", "red"]]"#), grant(r#""claims": [["team", "blue"]]"#));
    check(PERMIT, deny, Class::Lost, &["lost a no"]);
    check(deny, PERMIT, Class::Gained, &["gained a no"]);
    check(
        deny,
        r#"{"deny": [["other", "why"]]}"#,
        Class::Reasons,
        &["reasons a no", "reasons a other"],
    );
    check(deny, r#"{"deny": [["no", "another text"]]}"#, Class::Reasons, &["reasons a no"]);
    check(&short, &long, Class::Wider, &["wider a ttl"]);
    check(&long, &short, Class::Narrower, &["narrower a ttl"]);
    check(&aws, PERMIT, Class::Wider, &["wider a audiences"]);
    check(PERMIT, &aws, Class::Narrower, &["narrower a audiences"]);
    // Another audience in the place of one is more than there was.
    check(&aws, &azure, Class::Wider, &["wider a audiences"]);
    // A cloud alone knows what a claim gives.
    check(&red, &blue, Class::Wider, &["wider a claims"]);
    check(PERMIT, &red, Class::Wider, &["wider a claims"]);
    check(&red, PERMIT, Class::Wider, &["wider a claims"]);
    // A longer lifetime counts, whatever else there is less of.
    let mixed = grant(r#""max-ttl": 600, "audiences": ["aws"]"#);
    check(&short, &mixed, Class::Wider, &["wider a audiences", "wider a ttl"]);
    check(PERMIT, r#""abstain""#, Class::Verdicts, &["verdicts a permit → abstain"]);
    check(PERMIT, r#"{"panic": "x"}"#, Class::Lost, &["lost a panic", "fault a panic"]);
    check(
        r#"{"panic": "x"}"#,
        r#""loop""#,
        Class::Reasons,
        &["reasons a out-of-fuel", "reasons a panic", "fault a out-of-fuel"],
    );
    check(r#"{"panic": "x"}"#, PERMIT, Class::Gained, &["gained a panic"]);
    check(PERMIT, PERMIT, Class::Same, &[]);
}

#[test]
fn bindings_that_come_and_go_are_named() {
    let permits = Scripted::new("permits", PERMIT);
    let denies = Scripted::new("denies", r#"{"deny": [["no", "why"]]}"#);
    let (one, both) =
        (set(std::slice::from_ref(&permits)), set(&[permits.clone(), denies.clone()]));
    let (report, told) = impact_of(records(&one, &[request()]), &both, Sampling::Off);
    assert_eq!(report.summary.classes.of(Class::Lost), 1);
    let change = &told.changes[0].comparison.bindings[0];
    assert_eq!((change.binding.as_str(), change.before.is_none()), ("denies", true));
    assert_eq!(change.after.as_ref().unwrap().line(), "deny no");
    let shadow = Scripted { mode: Mode::Shadow, ..denies };
    let (_, told) =
        impact_of(records(&both, &[request()]), &set(&[permits, shadow]), Sampling::Off);
    let change = &told.changes[0].comparison.bindings[0];
    assert_eq!(change.after.as_ref().unwrap().line(), "deny no (shadow)");
}

#[test]
fn other_fuel_is_no_other_verdict() {
    // The same verdict by settings of another length.
    let (one, other) = (r#"{"fact": ["kind", "x"]}"#, r#"{"permit": {"audiences": null}}"#);
    let set = |answer: &str| set(&[Scripted::new("a", answer)]);
    let (report, told) = impact_of(records(&set(one), &[request()]), &set(other), Sampling::Off);
    assert_eq!(report.summary.classes.of(Class::Fuel), 1, "{report:?}");
    assert!(told.changes.is_empty());
    assert_ne!(report.summary.fuel_before, report.summary.fuel_after);
}

#[test]
fn records_that_are_no_decisions_or_cannot_be_read_are_counted_apart() {
    let set = set(&[Scripted::new("a", PERMIT)]);
    let mut all = records(&set, &[request()]);
    let decision = String::from_utf8(all[0].clone()).unwrap();
    let refused = r#"{"version":1,"kind":"refused","time":5,"run":"x","reasons":[]}"#;
    all.push(refused.as_bytes().to_vec());
    all.push(b"no JSON".to_vec());
    all.push(refused.replace(r#""version":1"#, r#""version":9"#).into_bytes());
    all.push(decision.replacen("team-a", "team-b", 1).into_bytes());
    let (report, told) = impact_of(all, &set, Sampling::Off);
    assert_eq!((report.summary.read, report.summary.compared()), (5, 1));
    assert_eq!(report.summary.without_decision["refused"], 1);
    assert_eq!(report.summary.not_replayable[&NotReplayableReason::Unreadable], 3);
    let places: Vec<_> = told.not_replayable.iter().map(|not| not.place.clone()).collect();
    assert_eq!(places, [Place::Record(3), Place::Record(4), Place::Record(5)]);
    let details: Vec<_> = told.not_replayable.iter().map(|not| not.detail.as_str()).collect();
    assert!(details[0].contains("not a record"), "{details:?}");
    assert!(details[1].contains("version 9"), "{details:?}");
    assert!(details[2].contains("the id is not the digest"), "{details:?}");
}

/// A verdict on record that the policy does not give: the sample finds it, and the evaluation counts.
#[test]
fn a_sample_finds_records_that_do_not_stand_for_evaluations() {
    let (permits, denies) =
        (Scripted::new("a", PERMIT), Scripted::new("b", r#"{"deny": [["no", "x"]]}"#));
    let set = set(&[permits, denies]);
    let record = String::from_utf8(records(&set, &[request()]).remove(0)).unwrap();
    let (head, decision) = record.split_once(r#","decision":"#).unwrap();
    let (_, rest) = decision.split_once(r#"","version""#).unwrap();
    let rest = rest.replacen(r#"{"deny":[{"code":"no","message":"x"}]}"#, r#""abstain""#, 1);
    let rest = format!(r#""version"{}"#, rest.strip_suffix('}').unwrap());
    let id = countersign::Digest::of(format!("{{{rest}").as_bytes());
    let forged = format!(r#"{head},"decision":{{"id":"{id}",{rest}}}"#).into_bytes();
    let (report, _) = impact_of(vec![forged.clone()], &set, Sampling::OneIn(1));
    assert_eq!((report.summary.sample.differ, report.mismatches), (1, vec![Place::Record(1)]));
    let (report, _) = impact_of(vec![forged], &set, Sampling::Off);
    assert_eq!(report.summary.sample.differ, 0);
    assert_eq!(report.summary.classes.of(Class::Gained), 1, "it is taken at its word");
}

#[test]
fn questions_are_decided_on_by_the_current_set_first() {
    let (current, candidate) = (
        set(&[
            Scripted::new("a", r#"{"fact": ["kind", "x"]}"#),
            Scripted::new("b", r#""abstain""#),
        ]),
        set(&[
            Scripted::new("a", r#"{"fact": ["kind", "y"]}"#),
            Scripted::new("b", r#""abstain""#),
        ]),
    );
    let facts = ["x", "y", "z"];
    let question = |fact: &&str| {
        let claims = claims("team-a", "network", fact, 60, 1);
        Item::Question(Box::new(Question { name: (*fact).to_owned(), claims }))
    };
    let all: Vec<_> = facts.iter().map(question).collect();
    let run = |current: Option<&PolicySet>| {
        let mut told = Observed::default();
        let mut source = Items(all.clone().into_iter());
        let options = options(Sampling::Off);
        let report = impact(&mut source, current, &candidate, &options, &mut told);
        (report, told)
    };
    let (report, told) = run(Some(&current));
    let classes: Vec<_> = told
        .changes
        .iter()
        .map(|change| (change.place.to_string(), change.comparison.class))
        .collect();
    assert_eq!(classes, [("x".to_owned(), Class::Lost), ("y".to_owned(), Class::Gained)]);
    assert_eq!((report.summary.reused, report.summary.evaluated), (3, 3));
    assert_eq!(report.decisions, run(Some(&current)).0.decisions);
    assert_ne!(report.decisions, run(Some(&candidate)).0.decisions);
    let (report, _) = run(None);
    assert_eq!((report.summary.compared(), report.summary.not_replayable()), (0, 3));
}

#[derive(Default)]
struct ReplayObserved(Vec<Difference>, Vec<NotReplayable>);

impl ReplayObserver for ReplayObserved {
    fn difference(&mut self, difference: Difference) -> bool {
        self.0.push(difference);
        true
    }

    fn not_replayable(&mut self, not: NotReplayable) -> bool {
        self.1.push(not);
        true
    }

    fn progress(&mut self, _: u64) {}
}

#[test]
fn a_log_of_several_sets_is_replayed_by_each_of_them() {
    let sets = [set(&[Scripted::new("a", PERMIT)]), set(&[Scripted::new("a", r#""loop""#)])];
    let requests: Vec<_> = (0..200).map(|now| claims("team-a", "network", "x", 60, now)).collect();
    let mut all = records(&sets[0], &requests);
    all.extend(records(&sets[1], &requests[..20]));
    let mut told = ReplayObserved::default();
    let report = replay(&mut items(all.clone()), &sets, &Filter::default(), 3, &mut told);
    assert_eq!((report.counts.same(), report.counts.different), (220, 0));
    assert_eq!(report.counts.same[&sets[1].digest()], 20);
    let report = replay(&mut items(all), &sets[..1], &Filter::default(), 1, &mut told);
    assert_eq!(report.counts.not_replayable[&NotReplayableReason::OtherSettings], 20);
    assert_eq!((told.0.len(), told.1.len()), (0, 20));
}

/// A fault that a busy machine caused proves nothing.
#[test]
fn a_fault_of_the_machine_is_not_replayable() {
    let sets = [set(&[Scripted::new("a", r#""loop""#)])];
    let record = String::from_utf8(records(&sets[0], &[request()]).remove(0)).unwrap();
    let (head, decision) = record.split_once(r#","decision":"#).unwrap();
    let (_, rest) = decision.split_once(r#"","version""#).unwrap();
    let rest = rest.replace("out-of-fuel", "deadline");
    let rest = format!(r#""version"{}"#, rest.strip_suffix('}').unwrap());
    let id = countersign::Digest::of(format!("{{{rest}").as_bytes());
    let forged = format!(r#"{head},"decision":{{"id":"{id}",{rest}}}"#).into_bytes();
    let mut told = ReplayObserved::default();
    let report = replay(&mut items(vec![forged]), &sets, &Filter::default(), 1, &mut told);
    assert_eq!(report.counts.not_replayable[&NotReplayableReason::MachineFault], 1);
    assert!(told.1[0].detail.contains("`deadline`"), "{told:?}", told = told.1);
}
