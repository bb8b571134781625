#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::decision::combine::combine;
use crate::{
    Audience, BindingTrace, ClaimName, Digest, EvaluationUsage, Fault, Grant, Limits, Outcome,
    PolicyReason, Run, Terms, TokenRequest, Verdict,
};

const RUN: &str = include_str!("../../../tests/data/published-get.json");

/// Names that bindings have; runs have another one as well, which no binding names.
const WORKSPACES: [&str; 3] = ["team-a", "team-b", "elsewhere"];
const DEFINITIONS: [&str; 3] = [
    "00000000-0000-4000-8000-000000000000",
    "00000000-0000-4000-8000-000000000001",
    "00000000-0000-4000-8000-00000000000e",
];

fn binding(name: &str, scope: Scope) -> BindingIdentity {
    BindingIdentity {
        name: name.parse().unwrap(),
        policy_name: "policy".to_owned(),
        policy_version: "1.0.0".to_owned(),
        policy: Digest::of(b"policy"),
        settings: Digest::of(b"settings"),
        scope,
        mode: Mode::Enforce,
        may_permit: true,
        limits: Limits::DEFAULT,
        claims: vec![],
    }
}

fn workspace(name: &str) -> Workspace {
    name.parse().unwrap()
}

fn definition(place: usize) -> DefinitionId {
    DEFINITIONS[place].parse().unwrap()
}

fn names(names: &[BindingName]) -> Vec<&str> {
    names.iter().map(|name| name.as_str()).collect()
}

#[track_caller]
fn check(bindings: &[BindingIdentity], runs: &Runs, all_runs: &[&str], some_runs: &[&str]) {
    let found = permitters(bindings, runs);
    assert_eq!(
        (names(&found.all_runs), names(&found.some_runs)),
        (all_runs.to_vec(), some_runs.to_vec())
    );
    assert_eq!(found.none(), all_runs.is_empty() && some_runs.is_empty());
}

#[test]
fn a_definition_of_a_workspace_that_nobody_permits() {
    let bindings = [
        BindingIdentity { may_permit: false, ..binding("ceiling", Scope::All) },
        binding("same", Scope::DefinitionWorkspace(workspace("team-a"))),
        BindingIdentity { mode: Mode::Shadow, ..binding("tried", Scope::All) },
    ];
    let of = |name| Runs::OfDefinition { workspace: workspace(name), definition: definition(0) };
    check(&bindings, &of("team-a"), &["same"], &[]);
    check(&bindings, &of("team-b"), &[], &[]);
    check(&bindings, &Runs::InScope(Scope::All), &[], &["same"]);
    check(
        &bindings,
        &Runs::InScope(Scope::DefinitionWorkspace(workspace("team-a"))),
        &["same"],
        &[],
    );
    // The manifest does not say whose definition it is.
    check(&bindings, &Runs::InScope(Scope::Definition(definition(0))), &[], &["same"]);
}

#[test]
fn owners_overlap_definitions() {
    let bindings = [binding("owner", Scope::OwningWorkspace(workspace("team-a")))];
    let of = Runs::OfDefinition { workspace: workspace("team-a"), definition: definition(0) };
    check(&bindings, &of, &[], &["owner"]);
    check(
        &bindings,
        &Runs::InScope(Scope::DefinitionWorkspace(workspace("team-a"))),
        &[],
        &["owner"],
    );
    check(&bindings, &Runs::InScope(Scope::OwningWorkspace(workspace("team-b"))), &[], &[]);
}

#[test]
fn only_a_duplicate_is_redundant() {
    let of = |bindings: &[BindingIdentity]| {
        let found = redundant(bindings);
        let pair = |one: &Redundant| format!("{} beside {}", one.binding, one.beside);
        found.iter().map(pair).collect::<Vec<_>>().join(", ")
    };
    let a = binding("a", Scope::All);
    let b = BindingIdentity { name: "b".parse().unwrap(), ..a.clone() };
    assert_eq!(of(&[b.clone(), a.clone()]), "b beside a");
    let c = BindingIdentity { name: "c".parse().unwrap(), ..a.clone() };
    assert_eq!(of(&[c, b.clone(), a.clone()]), "b beside a, c beside a");
    // A scope inside another is fine.
    let inside = Scope::DefinitionWorkspace(workspace("team-a"));
    assert_eq!(of(&[a.clone(), BindingIdentity { scope: inside, ..b.clone() }]), "");
    for other in [
        BindingIdentity { policy: Digest::of(b"another"), ..b.clone() },
        BindingIdentity { settings: Digest::of(b"another"), ..b.clone() },
        BindingIdentity { limits: Limits { fuel: 1, ..Limits::DEFAULT }, ..b.clone() },
        BindingIdentity { claims: vec!["team".parse().unwrap()], ..b.clone() },
    ] {
        assert_eq!(of(&[a.clone(), other]), "");
    }
    // The one that decides less is the one too many, whatever it is called.
    let shadow = BindingIdentity { mode: Mode::Shadow, ..a.clone() };
    assert_eq!(of(&[shadow, b.clone()]), "a beside b");
    let capped = BindingIdentity { may_permit: false, ..a };
    assert_eq!(of(&[capped, b]), "a beside b");
}

fn scope() -> impl Strategy<Value = Scope> {
    let named = || select(vec!["team-a", "team-b"]).prop_map(workspace);
    prop_oneof![
        Just(Scope::All),
        named().prop_map(Scope::DefinitionWorkspace),
        (0..2_usize).prop_map(|place| Scope::Definition(definition(place))),
        named().prop_map(Scope::OwningWorkspace),
    ]
}

fn bindings() -> impl Strategy<Value = Vec<BindingIdentity>> {
    let claims = select(vec![vec![], vec!["team"], vec!["cost", "team"], vec!["team", "cost"]]);
    let binding = (scope(), any::<bool>(), any::<bool>(), 0..2_u8, 0..2_u8, claims).prop_map(
        |(scope, shadow, may_permit, policy, settings, claims)| BindingIdentity {
            mode: if shadow { Mode::Shadow } else { Mode::Enforce },
            may_permit,
            policy: Digest::of(&[policy]),
            settings: Digest::of(&[settings]),
            claims: claims.into_iter().map(|name| name.parse().unwrap()).collect(),
            ..binding("x", scope)
        },
    );
    prop::collection::vec(binding, 1..8).prop_map(|mut bindings| {
        for (place, binding) in bindings.iter_mut().enumerate() {
            binding.name = format!("binding-{place}").parse().unwrap();
        }
        bindings
    })
}

/// Every run that there is among so many names.
fn universe() -> Vec<Run> {
    let mut runs = Vec::new();
    for owner in WORKSPACES {
        for of in WORKSPACES {
            for place in 0..DEFINITIONS.len() {
                let mut run = Run::parse(RUN.as_bytes()).unwrap();
                run.building_block.workspace = workspace(owner);
                run.definition.workspace = workspace(of);
                run.definition.id = definition(place);
                runs.push(run);
            }
        }
    }
    runs
}

/// The result of a policy. Faults and denials need no details here.
fn answer() -> impl Strategy<Value = Result<Verdict, Fault>> {
    let claims = select(vec![vec![], vec![("team", "a")], vec![("team", "b"), ("cost", "1")]]);
    let grant =
        (select(vec![None, Some(10), Some(20)]), claims).prop_map(|(max_ttl, claims)| Grant {
            max_ttl,
            claims: claims
                .into_iter()
                .map(|(name, value)| (name.parse::<ClaimName>().unwrap(), value.to_owned()))
                .collect(),
            ..Grant::default()
        });
    prop_oneof![
        4 => grant.clone().prop_map(|grant| Ok(Verdict::Permit(grant))),
        4 => grant.prop_map(|grant| Ok(Verdict::Restrict(grant))),
        1 => Just(Ok(Verdict::Abstain)),
        1 => Just(Ok(Verdict::Deny(vec![PolicyReason::new("no", "because")]))),
        1 => Just(Err(Fault::BadOutput)),
    ]
}

/// The outcome of a decision, without the names of the bindings behind it.
fn outcome(
    bindings: &[BindingIdentity],
    run: &Run,
    answers: &BTreeMap<(Digest, Digest), Result<Verdict, Fault>>,
) -> (Option<Terms>, BTreeSet<String>) {
    let applies = bindings.iter().filter(|binding| binding.scope.contains(run));
    let trace: Vec<_> = applies
        .map(|binding| BindingTrace {
            binding: Arc::new(binding.clone()),
            result: answers[&(binding.policy, binding.settings)].clone(),
            used: EvaluationUsage::default(),
        })
        .collect();
    let audiences = vec![Audience::parse("aws").unwrap()];
    let token = TokenRequest::new(audiences, 100, 1_790_000_000).unwrap();
    match combine(&token, &trace) {
        Outcome::Approved(terms) => (Some(terms), BTreeSet::new()),
        Outcome::Refused(reasons) => {
            (None, reasons.into_iter().map(|reason| reason.code).collect())
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn permitters_are_those_that_looking_at_each_run_finds(bindings in bindings(), of in scope(), known in any::<bool>()) {
        let (runs, within): (_, Vec<Run>) = match &of {
            Scope::Definition(id) if known => (
                Runs::OfDefinition { workspace: workspace("team-a"), definition: id.clone() },
                universe()
                    .into_iter()
                    .filter(|run| run.definition.id == *id && run.definition.workspace == workspace("team-a"))
                    .collect(),
            ),
            _ => (
                Runs::InScope(of.clone()),
                universe().into_iter().filter(|run| of.contains(run)).collect(),
            ),
        };
        let mut expected = Permitters::default();
        for binding in bindings.iter().filter(|b| b.mode == Mode::Enforce && b.may_permit) {
            let inside = within.iter().filter(|run| binding.scope.contains(run)).count();
            if inside == within.len() {
                expected.all_runs.push(binding.name.clone());
            } else if inside > 0 {
                expected.some_runs.push(binding.name.clone());
            }
        }
        prop_assert_eq!(permitters(&bindings, &runs), expected);
    }

    #[test]
    fn runs_that_no_binding_can_permit_are_refused(bindings in bindings(), answers in prop::collection::vec(answer(), 4)) {
        let answers = of_policies(answers);
        for run in universe() {
            let of = Runs::OfDefinition {
                workspace: run.definition.workspace.clone(),
                definition: run.definition.id.clone(),
            };
            if permitters(&bindings, &of).none() {
                prop_assert_eq!(outcome(&bindings, &run, &answers).0, None);
            }
        }
    }

    #[test]
    fn without_what_is_redundant_every_decision_comes_to_the_same(bindings in bindings(), answers in prop::collection::vec(answer(), 4)) {
        let answers = of_policies(answers);
        let too_many = redundant(&bindings);
        let fewer: Vec<_> = bindings
            .iter()
            .filter(|binding| too_many.iter().all(|one| one.binding != binding.name))
            .cloned()
            .collect();
        for one in &too_many {
            prop_assert!(fewer.iter().any(|binding| binding.name == one.beside), "{:?}", one);
        }
        for run in universe() {
            prop_assert_eq!(outcome(&bindings, &run, &answers), outcome(&fewer, &run, &answers));
        }
    }
}

/// An answer for each policy and settings that bindings here have.
fn of_policies(
    answers: Vec<Result<Verdict, Fault>>,
) -> BTreeMap<(Digest, Digest), Result<Verdict, Fault>> {
    let places = [(0, 0), (0, 1), (1, 0), (1, 1_u8)];
    let keys = places.map(|(policy, settings)| (Digest::of(&[policy]), Digest::of(&[settings])));
    keys.into_iter().zip(answers).collect()
}
