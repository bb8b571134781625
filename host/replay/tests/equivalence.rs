//! Only bindings that changed are evaluated, and the result is that of evaluating all of them: over generated policy sets
//! and logs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::{Claims, Limits, Mode, PolicySet, Scope};
use countersign_replay::{Class, Sampling};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use support::{Scripted, claims, impact_of, records, set};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const OWNERS: [&str; 3] = ["team-a", "team-b", "team-c"];

fn answer() -> impl Strategy<Value = String> {
    let verdicts = [
        r#"{"permit": {}}"#,
        r#"{"permit": {"max-ttl": 600}}"#,
        r#"{"permit": {"max-ttl": 90000}}"#,
        r#"{"permit": {"audiences": ["aws"]}}"#,
        r#"{"permit": {"claims": [["team", "red"]]}}"#,
        r#"{"permit": {"claims": [["team", "blue"]]}}"#,
        r#"{"restrict": {"audiences": ["azure"]}}"#,
        r#"{"restrict": {"max-ttl": 300}}"#,
        r#"{"deny": [["one", "first"], ["two", "second"]]}"#,
        r#"{"deny": []}"#,
        r#"{"fact": ["kind", "x"]}"#,
        r#"{"fact": ["kind", "y"]}"#,
        r#""abstain""#,
        r#"{"panic": "boom"}"#,
        r#""loop""#,
    ];
    select(verdicts.to_vec()).prop_map(str::to_owned)
}

fn scope() -> impl Strategy<Value = Scope> {
    let owner = select(OWNERS.to_vec()).prop_map(|name| name.parse().unwrap());
    let workspace = select(vec!["network", "database"]).prop_map(|name| name.parse().unwrap());
    prop_oneof![
        3 => Just(Scope::All),
        2 => owner.prop_map(Scope::OwningWorkspace),
        1 => workspace.prop_map(Scope::DefinitionWorkspace),
    ]
}

prop_compose! {
    fn binding(name: &'static str)(
        answer in answer(),
        scope in scope(),
        shadow in prop::bool::weighted(0.2),
        may_permit in prop::bool::weighted(0.8),
        claims in subsequence(vec!["team", "cost"], 0..=2),
        low_fuel in prop::bool::weighted(0.2),
    ) -> Scripted {
        let fuel = if low_fuel { Limits::DEFAULT.fuel / 2 } else { Limits::DEFAULT.fuel };
        let mode = if shadow { Mode::Shadow } else { Mode::Enforce };
        Scripted { name, answer, scope, mode, may_permit, claims, fuel }
    }
}

/// A set of some of the names.
fn bindings() -> impl Strategy<Value = Vec<Scripted>> {
    subsequence(NAMES.to_vec(), 1..=5)
        .prop_flat_map(|names| names.into_iter().map(binding).collect::<Vec<_>>())
}

/// A changed set: each binding stays, loses one of what it has, or is another one; and one may come.
fn changed(before: Vec<Scripted>) -> impl Strategy<Value = Vec<Scripted>> {
    let one = |old: Scripted| {
        let name = old.name;
        prop_oneof![
            4 => Just(Some(old.clone())),
            2 => binding(name).prop_map(Some),
            1 => scope().prop_map({ let old = old.clone(); move |scope| Some(Scripted { scope, ..old.clone() }) }),
            1 => Just(Some(Scripted { mode: Mode::Shadow, ..old.clone() })),
            1 => Just(Some(Scripted { may_permit: !old.may_permit, ..old })),
            1 => Just(None),
        ]
    };
    let kept = before.into_iter().map(one).collect::<Vec<_>>();
    (kept, binding("f"), prop::bool::weighted(0.4)).prop_map(|(kept, new, comes)| {
        let mut all: Vec<_> = kept.into_iter().flatten().collect();
        if comes || all.is_empty() {
            all.push(new);
        }
        all
    })
}

fn sets() -> impl Strategy<Value = (Vec<Scripted>, Vec<Scripted>)> {
    bindings().prop_flat_map(|before| (Just(before.clone()), changed(before)))
}

fn request() -> impl Strategy<Value = Claims> {
    let names = (select(OWNERS.to_vec()), select(vec!["network", "database"]));
    (names, select(vec!["x", "y", "z"]), select(vec![60, 600, 3600]), 1_u64..1_000_000)
        .prop_map(|((owner, workspace), fact, ttl, now)| claims(owner, workspace, fact, ttl, now))
}

/// Everything that must be the same, which is all but the numbers of what was evaluated.
fn compared(
    records: &[Vec<u8>],
    candidate: &PolicySet,
    sampling: Sampling,
) -> (countersign_replay::Summary, Vec<countersign_replay::Change>) {
    let (report, told) = impact_of(records.to_vec(), candidate, sampling);
    assert_eq!(told.not_replayable, []);
    assert!(report.ended.is_none() && report.mismatches.is_empty(), "{report:?}");
    let mut summary = report.summary;
    (summary.reused, summary.evaluated, summary.sample) = Default::default();
    (summary, told.changes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_impact_by_changed_bindings_is_that_of_a_full_evaluation(
        (before, after) in sets(),
        requests in vec(request(), 1..40),
    ) {
        let (current, candidate) = (set(&before), set(&after));
        let records = records(&current, &requests);
        let full = compared(&records, &candidate, Sampling::All);
        prop_assert_eq!(&compared(&records, &candidate, Sampling::Off), &full);
        // A sample of all proves each of them, and finds nothing.
        prop_assert_eq!(&compared(&records, &candidate, Sampling::OneIn(1)), &full);
        let (summary, changes) = full;
        prop_assert_eq!(summary.compared(), requests.len() as u64);
        // And that is the difference of the decisions themselves.
        let mut visible = 0;
        for (claims, sequence) in requests.iter().zip(1..) {
            let (one, other) = (current.evaluate(claims.clone()), candidate.evaluate(claims.clone()));
            let change = changes.iter().find(|change| {
                change.place == countersign_replay::Place::Record(sequence)
            });
            let class = change.map_or(Class::Same, |change| change.comparison.class);
            prop_assert_eq!(class.is_visible(), one.outcome() != other.outcome());
            visible += u64::from(class.is_visible());
            if let Some(change) = change {
                prop_assert_eq!((&change.before, &change.after), (one.outcome(), other.outcome()));
            }
        }
        prop_assert_eq!(summary.classes.visible(), visible);
    }

    #[test]
    fn the_same_set_changes_nothing(before in bindings(), requests in vec(request(), 1..20)) {
        let set = set(&before);
        let (report, told) = impact_of(records(&set, &requests), &set, Sampling::Off);
        prop_assert_eq!(report.summary.classes.of(Class::Same), requests.len() as u64);
        prop_assert_eq!(report.summary.classes.faults, 0);
        prop_assert!(told.changes.is_empty());
    }
}
