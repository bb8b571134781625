//! Builds the values that a policy sees.

use boa_engine::object::ObjectInitializer;
use boa_engine::object::builtins::JsArray;
use boa_engine::property::Attribute;
use boa_engine::{Context, JsBigInt, JsString, JsValue, js_string};
use countersign_policy::{Fact, Run, Token};

/// The run, by the contract's names in camel case. Absent options are absent members.
pub fn of_run(run: &Run, context: &mut Context) -> JsValue {
    let block = &run.building_block;
    let parents = list(&block.parents, context, |parent, context| {
        let building_block = (js_string!("buildingBlock"), text(&parent.building_block));
        object(context, [building_block, (js_string!("definition"), text(&parent.definition))])
    });
    let building_block = [
        Some((js_string!("id"), text(&block.id))),
        Some((js_string!("workspace"), text(&block.workspace))),
        block.project.as_ref().map(|project| (js_string!("project"), text(project))),
        block.platform.as_ref().map(|platform| (js_string!("platform"), text(platform))),
        Some((js_string!("parents"), parents)),
    ];
    let building_block = object(context, building_block.into_iter().flatten());
    let definition = &run.definition;
    let definition = [
        (js_string!("id"), text(&definition.id)),
        (js_string!("workspace"), text(&definition.workspace)),
        (js_string!("version"), whole(definition.version)),
        (js_string!("implementation"), text(definition.implementation.as_str())),
    ];
    let definition = object(context, definition);
    let trigger = run.trigger.as_ref().map(|trigger| {
        let members = [
            trigger.reason.as_ref().map(|reason| (js_string!("reason"), text(reason))),
            Some((js_string!("author"), text(&trigger.author))),
            Some((js_string!("authorKind"), text(trigger.author_kind.as_str()))),
        ];
        object(context, members.into_iter().flatten())
    });
    let facts = of_facts(&run.facts, context);
    let members = [
        Some((js_string!("id"), text(&run.id))),
        Some((js_string!("number"), whole(run.number))),
        Some((js_string!("behavior"), text(run.behavior.as_str()))),
        Some((js_string!("buildingBlock"), building_block)),
        Some((js_string!("definition"), definition)),
        trigger.map(|trigger| (js_string!("trigger"), trigger)),
        run.runner.as_ref().map(|runner| (js_string!("runner"), text(runner))),
        Some((js_string!("facts"), facts)),
    ];
    object(context, members.into_iter().flatten())
}

/// The facts by their names, and no other member: a fact that is not there is not found in a prototype.
fn of_facts(facts: &[Fact], context: &mut Context) -> JsValue {
    let facts: Vec<_> =
        facts.iter().map(|fact| (JsString::from(fact.name.as_str()), text(&fact.value))).collect();
    let facts = object(context, facts);
    if let Some(object) = facts.as_object() {
        object.set_prototype(None);
    }
    facts
}

/// The token, by the contract's names in camel case.
pub fn of_token(token: &Token, context: &mut Context) -> JsValue {
    let audiences = list(&token.audiences, context, |audience, _| text(audience));
    let members = [
        (js_string!("subject"), text(&token.subject)),
        (js_string!("audiences"), audiences),
        (js_string!("ttlSeconds"), JsValue::from(token.ttl_seconds)),
        (js_string!("issuedAt"), whole(token.issued_at)),
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
    members: impl IntoIterator<Item = (JsString, JsValue)>,
) -> JsValue {
    let mut object = ObjectInitializer::new(context);
    for (name, value) in members {
        object.property(name, value, Attribute::all());
    }
    object.build().into()
}
