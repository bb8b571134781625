//! Claims of any kind, for properties.

use countersign::{
    AuthorKind, Behavior, BuildingBlock, Claims, Definition, Facts, Implementation, Parent, Run,
    SubjectFormat, SubjectTemplate, TokenRequest, Trigger,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Claims with any of what they can have.
pub(crate) fn claims() -> impl Strategy<Value = Claims> {
    let token = (btree_set("[!-~]{1,40}", 1..10), 1_u32..=86_400, 0_u64..=253_402_300_799);
    let facts = btree_map("[a-z][A-Za-z0-9._:/-]{0,30}", line(0), 0..8);
    let by_runner = any::<bool>();
    (run(), option::of(id()), facts, token, by_runner).prop_map(
        |(run, runner, facts, (audiences, ttl, now), by_runner)| {
            let format = match by_runner && runner.is_some() {
                true => SubjectFormat::ByRunner,
                false => SubjectFormat::ByDefinition,
            };
            let subject = SubjectTemplate { profile: format, meshstack_id: "m".parse().unwrap() };
            let facts = Facts::new(facts.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
            let audiences = audiences.iter().map(|audience| audience.parse().unwrap()).collect();
            let token = TokenRequest::new(audiences, ttl, now).unwrap();
            let runner = runner.map(|runner| runner.parse().unwrap());
            Claims::new(run, runner, facts, &subject, token).unwrap()
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    (
        (name(), name(), option::of(name()), option::of((name(), name()))),
        (0_u64..1 << 53, 0_u64..1 << 53),
        (select(Behavior::ALL), select(Implementation::ALL)),
        (id(), id(), id()),
        vec((id(), id()), 0..4),
        option::of((option::of(line(1)), line(1), select(AuthorKind::ALL))),
    )
        .prop_map(|(names, numbers, (behavior, implementation), ids, parents, trigger)| Run {
            id: ids.0.parse().unwrap(),
            number: numbers.0,
            behavior,
            building_block: BuildingBlock {
                id: ids.1.parse().unwrap(),
                workspace: names.0.parse().unwrap(),
                project: names.2.map(|name| name.parse().unwrap()),
                platform: names.3.map(|(a, b)| format!("{a}.{b}").parse().unwrap()),
                parents: parents
                    .iter()
                    .map(|(block, definition)| Parent {
                        building_block: block.parse().unwrap(),
                        definition: definition.parse().unwrap(),
                    })
                    .collect(),
            },
            definition: Definition {
                id: ids.2.parse().unwrap(),
                workspace: names.1.parse().unwrap(),
                version: numbers.1,
                implementation,
            },
            trigger: trigger.map(|(reason, author, author_kind)| Trigger {
                reason,
                author,
                author_kind,
            }),
        })
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,10}(-[a-z0-9]{1,8}){0,3}"
}

fn id() -> impl Strategy<Value = String> {
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
}

/// Any text on one line.
fn line(min: usize) -> impl Strategy<Value = String> {
    vec(any::<char>().prop_filter("a control character", |c| !c.is_control()), min..60)
        .prop_map(String::from_iter)
}
