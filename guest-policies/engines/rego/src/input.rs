//! Builds the `input` document of a Rego policy.

use std::collections::BTreeMap;

use countersign_policy::{Run, Token};
use engine_shared::claims::Claims;
use regorus::Value;

/// `run` and `token`, by the contract's names with underscores, with the claims that are read. Absent options are undefined.
pub fn of(claims: &Claims, run: &Run, token: &Token) -> Value {
    object([("run", of_run(claims, run)), ("token", of_token(claims, token))])
}

fn of_run(claims: &Claims, run: &Run) -> Value {
    let [id, number, behavior, building_block, definition, trigger, runner, facts] = claims.run;
    let trigger = run.trigger.as_ref().filter(|_| trigger).map(|trigger| {
        object(
            [
                ("author", text(&trigger.author)),
                ("author_kind", text(trigger.author_kind.as_str())),
            ]
            .into_iter()
            .chain(trigger.reason.as_ref().map(|reason| ("reason", text(reason)))),
        )
    });
    let of_facts = || object(run.facts.iter().map(|fact| (fact.name.as_str(), text(&fact.value))));
    read([
        id.then(|| ("id", text(&run.id))),
        number.then(|| ("number", Value::from(run.number))),
        behavior.then(|| ("behavior", text(run.behavior.as_str()))),
        building_block.then(|| ("building_block", of_building_block(claims, run))),
        definition.then(|| ("definition", of_definition(claims, run))),
        facts.then(|| ("facts", of_facts())),
        trigger.map(|trigger| ("trigger", trigger)),
        run.runner.as_ref().filter(|_| runner).map(|runner| ("runner", text(runner))),
    ])
}

fn of_building_block(claims: &Claims, run: &Run) -> Value {
    let block = &run.building_block;
    let [id, workspace, project, platform, parents] = claims.building_block;
    let of_parents = || {
        list(&block.parents, |parent| {
            object([
                ("building_block", text(&parent.building_block)),
                ("definition", text(&parent.definition)),
            ])
        })
    };
    read([
        id.then(|| ("id", text(&block.id))),
        workspace.then(|| ("workspace", text(&block.workspace))),
        parents.then(|| ("parents", of_parents())),
        block.project.as_ref().filter(|_| project).map(|project| ("project", text(project))),
        block.platform.as_ref().filter(|_| platform).map(|platform| ("platform", text(platform))),
    ])
}

fn of_definition(claims: &Claims, run: &Run) -> Value {
    let of = &run.definition;
    let [id, workspace, version, implementation] = claims.definition;
    read([
        id.then(|| ("id", text(&of.id))),
        workspace.then(|| ("workspace", text(&of.workspace))),
        version.then(|| ("version", Value::from(of.version))),
        implementation.then(|| ("implementation", text(of.implementation.as_str()))),
    ])
}

fn of_token(claims: &Claims, token: &Token) -> Value {
    let [subject, audiences, ttl_seconds, issued_at, _] = claims.token;
    read([
        subject.then(|| ("subject", text(&token.subject))),
        audiences.then(|| ("audiences", list(&token.audiences, |audience| text(audience)))),
        ttl_seconds.then(|| ("ttl_seconds", Value::from(token.ttl_seconds))),
        issued_at.then(|| ("issued_at", Value::from(token.issued_at))),
    ])
}

fn read<const N: usize>(members: [Option<(&'static str, Value)>; N]) -> Value {
    object(members.into_iter().flatten())
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
