//! Builds the values that a policy sees, as far as it reads them.

use boa_engine::object::ObjectInitializer;
use boa_engine::object::builtins::JsArray;
use boa_engine::property::Attribute;
use boa_engine::{Context, JsBigInt, JsString, JsValue, js_string};
use countersign_policy::{Fact, Run, Token};
use engine_shared::claims::Claims;

/// The run with the claims that are read, by the contract's names in camel case. Absent options are absent members.
pub fn of_run(claims: &Claims, run: &Run, context: &mut Context) -> JsValue {
    let [id, number, behavior, building_block, definition, trigger, runner, facts] = claims.run;
    let building_block = building_block.then(|| of_building_block(claims, run, context));
    let definition = definition.then(|| of_definition(claims, run, context));
    let trigger = run.trigger.as_ref().filter(|_| trigger).map(|trigger| {
        let members = [
            trigger.reason.as_ref().map(|reason| (js_string!("reason"), text(reason))),
            Some((js_string!("author"), text(&trigger.author))),
            Some((js_string!("authorKind"), text(trigger.author_kind.as_str()))),
        ];
        object(context, members)
    });
    let facts = facts.then(|| of_facts(&run.facts, context));
    let members = [
        id.then(|| (js_string!("id"), text(&run.id))),
        number.then(|| (js_string!("number"), whole(run.number))),
        behavior.then(|| (js_string!("behavior"), text(run.behavior.as_str()))),
        building_block.map(|block| (js_string!("buildingBlock"), block)),
        definition.map(|definition| (js_string!("definition"), definition)),
        trigger.map(|trigger| (js_string!("trigger"), trigger)),
        run.runner.as_ref().filter(|_| runner).map(|runner| (js_string!("runner"), text(runner))),
        facts.map(|facts| (js_string!("facts"), facts)),
    ];
    object(context, members)
}

fn of_building_block(claims: &Claims, run: &Run, context: &mut Context) -> JsValue {
    let block = &run.building_block;
    let [id, workspace, project, platform, parents] = claims.building_block;
    let parents = parents.then(|| {
        list(&block.parents, context, |parent, context| {
            let building_block = (js_string!("buildingBlock"), text(&parent.building_block));
            let definition = (js_string!("definition"), text(&parent.definition));
            object(context, [Some(building_block), Some(definition)])
        })
    });
    let (project, platform) =
        (block.project.as_ref().filter(|_| project), block.platform.as_ref().filter(|_| platform));
    let members = [
        id.then(|| (js_string!("id"), text(&block.id))),
        workspace.then(|| (js_string!("workspace"), text(&block.workspace))),
        project.map(|project| (js_string!("project"), text(project))),
        platform.map(|platform| (js_string!("platform"), text(platform))),
        parents.map(|parents| (js_string!("parents"), parents)),
    ];
    object(context, members)
}

fn of_definition(claims: &Claims, run: &Run, context: &mut Context) -> JsValue {
    let of = &run.definition;
    let [id, workspace, version, implementation] = claims.definition;
    let members = [
        id.then(|| (js_string!("id"), text(&of.id))),
        workspace.then(|| (js_string!("workspace"), text(&of.workspace))),
        version.then(|| (js_string!("version"), whole(of.version))),
        implementation.then(|| (js_string!("implementation"), text(of.implementation.as_str()))),
    ];
    object(context, members)
}

/// The facts by their names, and no other member: a fact that is not there is not found in a prototype.
fn of_facts(facts: &[Fact], context: &mut Context) -> JsValue {
    let of_fact = |fact: &Fact| Some((JsString::from(fact.name.as_str()), text(&fact.value)));
    let facts = object(context, facts.iter().map(of_fact));
    if let Some(object) = facts.as_object() {
        object.set_prototype(None);
    }
    facts
}

/// The token with the claims that are read, by the contract's names in camel case.
pub fn of_token(claims: &Claims, token: &Token, context: &mut Context) -> JsValue {
    let [subject, audiences, ttl_seconds, issued_at, _] = claims.token;
    let audiences =
        audiences.then(|| list(&token.audiences, context, |audience, _| text(audience)));
    let members = [
        subject.then(|| (js_string!("subject"), text(&token.subject))),
        audiences.map(|audiences| (js_string!("audiences"), audiences)),
        ttl_seconds.then(|| (js_string!("ttlSeconds"), JsValue::from(token.ttl_seconds))),
        issued_at.then(|| (js_string!("issuedAt"), whole(token.issued_at))),
    ];
    object(context, members)
}

fn text(text: &str) -> JsValue {
    JsString::from(text).into()
}

fn whole(number: u64) -> JsValue {
    JsBigInt::from(number).into()
}

fn list<T>(
    items: &[T],
    context: &mut Context,
    value: impl Fn(&T, &mut Context) -> JsValue,
) -> JsValue {
    let values: Vec<_> = items.iter().map(|item| value(item, context)).collect();
    JsArray::from_iter(values, context).into()
}

fn object(
    context: &mut Context,
    members: impl IntoIterator<Item = Option<(JsString, JsValue)>>,
) -> JsValue {
    let mut object = ObjectInitializer::new(context);
    for (name, value) in members.into_iter().flatten() {
        object.property(name, value, Attribute::all());
    }
    object.build().into()
}
