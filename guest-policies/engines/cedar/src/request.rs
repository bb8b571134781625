//! Builds the authorization request of a run.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy::Schema;
use cedar_policy_core::ast::{
    Context, Eid, EntityType, EntityUID, Literal, Name, Request, RestrictedExpr, Value,
};
use cedar_policy_core::evaluator::RestrictedEvaluator;
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::ValidatorSchema;
use countersign_policy::{Fact, Run, Token};
use engine_shared::claims::Claims;

/// The names in requests, parsed once.
pub struct Names {
    workspace: EntityType,
    definition: EntityType,
    action: EntityType,
    datetime: Name,
}

impl Names {
    pub fn new() -> Result<Self, String> {
        let kind = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a type"));
        Ok(Self {
            workspace: kind("Workspace")?,
            definition: kind("Definition")?,
            action: kind("Action")?,
            datetime: "datetime".parse().map_err(|_| "`datetime` is not a name")?,
        })
    }
}

/// The request for a run and a token with these claims, checked by a schema if there is one.
pub fn of(
    names: &Names,
    claims: &Claims,
    run: &Run,
    token: &Token,
    schema: Option<&Schema>,
) -> Result<Request, String> {
    let entity = |kind: &EntityType, id: &str| {
        (EntityUID::from_components(kind.clone(), Eid::new(id), None), None)
    };
    let context =
        [("run".into(), of_run(claims, run)?), ("token".into(), of_token(names, claims, token)?)];
    Request::new(
        entity(&names.workspace, &run.building_block.workspace),
        entity(&names.action, run.behavior.as_str()),
        entity(&names.definition, &run.definition.id),
        Context::Value(Arc::new(BTreeMap::from(context))),
        schema.map(<Schema as AsRef<ValidatorSchema>>::as_ref),
        Extensions::all_available(),
    )
    .map_err(|error| error.to_string())
}

fn of_run(claims: &Claims, run: &Run) -> Result<Value, String> {
    // The behavior is the action.
    let [id, number_, _, building_block, definition, trigger, runner, facts] = claims.run;
    let trigger = run.trigger.as_ref().filter(|_| trigger).map(|trigger| {
        record([
            Some(("author", text(&trigger.author))),
            Some(("author_kind", text(trigger.author_kind.as_str()))),
            trigger.reason.as_ref().map(|reason| ("reason", text(reason))),
        ])
    });
    Ok(record([
        id.then(|| ("id", text(&run.id))),
        number_.then(|| number(run.number)).transpose()?.map(|number| ("number", number)),
        building_block.then(|| ("building_block", of_building_block(claims, run))),
        definition
            .then(|| of_definition(claims, run))
            .transpose()?
            .map(|definition| ("definition", definition)),
        trigger.map(|trigger| ("trigger", trigger)),
        run.runner.as_ref().filter(|_| runner).map(|runner| ("runner", text(runner))),
        facts.then(|| ("facts", of_facts(&run.facts))),
    ]))
}

fn of_building_block(claims: &Claims, run: &Run) -> Value {
    let block = &run.building_block;
    let [id, workspace, project, platform, parents] = claims.building_block;
    let parent = |parent: &countersign_policy::Parent| {
        record([
            Some(("building_block", text(&parent.building_block))),
            Some(("definition", text(&parent.definition))),
        ])
    };
    record([
        id.then(|| ("id", text(&block.id))),
        workspace.then(|| ("workspace", text(&block.workspace))),
        block.project.as_ref().filter(|_| project).map(|project| ("project", text(project))),
        block.platform.as_ref().filter(|_| platform).map(|platform| ("platform", text(platform))),
        parents.then(|| ("parents", Value::set(block.parents.iter().map(parent), None))),
    ])
}

fn of_definition(claims: &Claims, run: &Run) -> Result<Value, String> {
    let [id, workspace, version, implementation] = claims.definition;
    let of = &run.definition;
    Ok(record([
        id.then(|| ("id", text(&of.id))),
        workspace.then(|| ("workspace", text(&of.workspace))),
        version.then(|| number(of.version)).transpose()?.map(|version| ("version", version)),
        implementation.then(|| ("implementation", text(of.implementation.as_str()))),
    ]))
}

fn of_facts(facts: &[Fact]) -> Value {
    let fact = |fact: &Fact| {
        record([Some(("name", text(&fact.name))), Some(("value", text(&fact.value)))])
    };
    Value::set(facts.iter().map(fact), None)
}

fn of_token(names: &Names, claims: &Claims, token: &Token) -> Result<Value, String> {
    let [subject, audiences, ttl_seconds, issued_at, time] = claims.token;
    let all = || Value::set(token.audiences.iter().map(|audience| text(audience)), None);
    let time = time.then(|| of_time(names, token.issued_at)).transpose()?;
    Ok(record([
        subject.then(|| ("subject", text(&token.subject))),
        audiences.then(|| ("audiences", all())),
        ttl_seconds.then(|| ("ttl_seconds", i64::from(token.ttl_seconds).into())),
        issued_at.then(|| number(token.issued_at)).transpose()?.map(|at| ("issued_at", at)),
        time.map(|time| ("time", time)),
    ]))
}

/// The time as Cedar makes it of a text.
fn of_time(names: &Names, seconds: u64) -> Result<Value, String> {
    let text = RestrictedExpr::val(datetime(seconds));
    let call = RestrictedExpr::call_extension_fn(names.datetime.clone(), [text]);
    RestrictedEvaluator::new(Extensions::all_available())
        .interpret(call.as_borrowed())
        .map_err(|error| error.to_string())
}

/// A time in seconds since 1970 as Cedar writes it: `2026-09-21T14:13:20Z`.
fn datetime(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    // The algorithm of Howard Hinnant's `civil_from_days`: years begin in March, so that the day that some lack is the
    // last of them. 719,468 days before 1970 an era of 400 years began.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn text(text: &str) -> Value {
    Value::from(Literal::from(text))
}

/// The contract's numbers are below 2^53.
fn number(number: u64) -> Result<Value, String> {
    let number = i64::try_from(number).map_err(|_| format!("{number} is not a Cedar long"))?;
    Ok(number.into())
}

fn record<const N: usize>(members: [Option<(&'static str, Value)>; N]) -> Value {
    Value::record(members.into_iter().flatten(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_790_000_000, "2026-09-21T14:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(datetime(seconds), expected);
        }
    }
}
