//! Builds the `input` document of a Rego policy.

use std::collections::BTreeMap;

use countersign_policy::{Run, Token};
use regorus::Value;

/// `run` and `token`, by the contract's names with underscores. Absent options are undefined.
pub fn of(run: &Run, token: &Token) -> Value {
    object([("run", of_run(run)), ("token", of_token(token))])
}

fn of_run(run: &Run) -> Value {
    let block = &run.building_block;
    let definition = &run.definition;
    let building_block = object(
        [
            ("id", text(&block.id)),
            ("workspace", text(&block.workspace)),
            (
                "parents",
                list(&block.parents, |parent| {
                    object([
                        ("building_block", text(&parent.building_block)),
                        ("definition", text(&parent.definition)),
                    ])
                }),
            ),
        ]
        .into_iter()
        .chain(block.project.as_ref().map(|project| ("project", text(project))))
        .chain(block.platform.as_ref().map(|platform| ("platform", text(platform)))),
    );
    let definition = object([
        ("id", text(&definition.id)),
        ("workspace", text(&definition.workspace)),
        ("version", Value::from(definition.version)),
        ("implementation", text(definition.implementation.as_str())),
    ]);
    let trigger = run.trigger.as_ref().map(|trigger| {
        object(
            [
                ("author", text(&trigger.author)),
                ("author_kind", text(trigger.author_kind.as_str())),
            ]
            .into_iter()
            .chain(trigger.reason.as_ref().map(|reason| ("reason", text(reason)))),
        )
    });
    let facts = run.facts.iter().map(|fact| (fact.name.as_str(), text(&fact.value)));
    object(
        [
            ("id", text(&run.id)),
            ("number", Value::from(run.number)),
            ("behavior", text(run.behavior.as_str())),
            ("building_block", building_block),
            ("definition", definition),
            ("facts", object(facts)),
        ]
        .into_iter()
        .chain(trigger.map(|trigger| ("trigger", trigger)))
        .chain(run.runner.as_ref().map(|runner| ("runner", text(runner)))),
    )
}

fn of_token(token: &Token) -> Value {
    object([
        ("subject", text(&token.subject)),
        ("audiences", list(&token.audiences, |audience| text(audience))),
        ("ttl_seconds", Value::from(token.ttl_seconds)),
        ("issued_at", Value::from(token.issued_at)),
    ])
}

fn text(text: &str) -> Value {
    Value::from(text)
}

fn list<T>(items: &[T], value: impl Fn(&T) -> Value) -> Value {
    Value::from(items.iter().map(value).collect::<Vec<_>>())
}

fn object<'n>(members: impl IntoIterator<Item = (&'n str, Value)>) -> Value {
    let members = members.into_iter().map(|(name, value)| (Value::from(name), value));
    Value::from(members.collect::<BTreeMap<_, _>>())
}
