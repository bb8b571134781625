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
use engine_shared::claims::{Claims, Paths};
use engine_shared::local_time;

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

/// What requests have: claims, and what is made of them.
#[derive(Clone)]
pub struct Parts {
    /// The claims, and the time of issue as a `datetime`. To make that takes as long as half of the claims.
    pub claims: Claims,
    /// The time of issue by the clocks of these zones.
    pub local: Option<Vec<String>>,
    /// The version of OpenTofu, by its numbers.
    pub version: bool,
}

impl Parts {
    /// All claims, and some of what is made of them.
    pub fn all(time: bool, local: Option<Vec<String>>, version: bool) -> Self {
        let mut all = Paths::default();
        all.add(Vec::new());
        let mut claims = all.claims();
        let [.., has_time] = &mut claims.token;
        *has_time = time;
        Self { claims, local, version }
    }

    /// Those of these parts that are read.
    pub fn read(self, paths: &Paths) -> Self {
        let mut claims = paths.claims();
        let ([.., has_time], [.., fits]) = (&mut claims.token, self.claims.token);
        *has_time &= fits;
        Self {
            claims,
            local: self.local.filter(|_| paths.read(&["token", "local"])),
            version: self.version && paths.read(&["run", "opentofu_version"]),
        }
    }
}

/// The fact that has the version of OpenTofu.
const OPENTOFU: &str = "opentofu-version";

/// The request for a run and a token with these parts, checked by a schema if there is one.
pub fn of(
    names: &Names,
    parts: &Parts,
    run: &Run,
    token: &Token,
    schema: Option<&Schema>,
) -> Result<Request, String> {
    let entity = |kind: &EntityType, id: &str| {
        (EntityUID::from_components(kind.clone(), Eid::new(id), None), None)
    };
    let context =
        [("run".into(), of_run(parts, run)?), ("token".into(), of_token(names, parts, token)?)];
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

fn of_run(parts: &Parts, run: &Run) -> Result<Value, String> {
    let claims = &parts.claims;
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
        parts
            .version
            .then(|| of_version(&run.facts))
            .flatten()
            .map(|version| ("opentofu_version", version)),
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

/// The version of OpenTofu, if the fact is there and is one.
fn of_version(facts: &[Fact]) -> Option<Value> {
    let fact = facts.iter().find(|fact| fact.name == OPENTOFU)?;
    let [major, minor, patch] = version(&fact.value)?;
    Some(record([
        Some(("major", major.into())),
        Some(("minor", minor.into())),
        Some(("patch", patch.into())),
    ]))
}

/// The numbers of `1.8`, `1.8.2` or `v1.8.2`. A constraint and a release before another are none.
fn version(text: &str) -> Option<[i64; 3]> {
    let number = |text: &str| {
        let is_number = (1..=9).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_digit())
            && (text.len() == 1 || !text.starts_with('0'));
        is_number.then(|| text.parse().ok()).flatten()
    };
    let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    let patch = parts.next().map_or(Some(0), number)?;
    parts.next().is_none().then_some([major, minor, patch])
}

fn of_token(names: &Names, parts: &Parts, token: &Token) -> Result<Value, String> {
    let [subject, audiences, ttl_seconds, issued_at, time] = parts.claims.token;
    let local = parts.local.as_deref().map(|zones| of_local(zones, token.issued_at));
    let all = || Value::set(token.audiences.iter().map(|audience| text(audience)), None);
    let time = time.then(|| of_time(names, token.issued_at)).transpose()?;
    Ok(record([
        subject.then(|| ("subject", text(&token.subject))),
        audiences.then(|| ("audiences", all())),
        ttl_seconds.then(|| ("ttl_seconds", i64::from(token.ttl_seconds).into())),
        issued_at.then(|| number(token.issued_at)).transpose()?.map(|at| ("issued_at", at)),
        time.map(|time| ("time", time)),
        local.transpose()?.map(|local| ("local", local)),
    ]))
}

/// A time by the clocks of zones, in a record that has each by its name.
fn of_local(zones: &[String], at: u64) -> Result<Value, String> {
    let at = i64::try_from(at).map_err(|_| format!("{at} is not a Cedar long"))?;
    let mut records = Vec::new();
    for zone in zones {
        let local = local_time(zone, at)?;
        let time = record([
            Some(("year", local.year.into())),
            Some(("month", local.month.into())),
            Some(("day", local.day.into())),
            Some(("weekday", local.weekday.into())),
            Some(("hour", local.hour.into())),
            Some(("minute", local.minute.into())),
            Some(("second", local.second.into())),
        ]);
        records.push((zone.as_str(), time));
    }
    Ok(Value::record(records, None))
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
    fn a_version_has_two_numbers_or_three() {
        for (text, expected) in [
            ("1.8", Some([1, 8, 0])),
            ("1.10.2", Some([1, 10, 2])),
            ("0.15.0", Some([0, 15, 0])),
            ("1", None),
            ("1.8.", None),
            ("1.8.0.1", None),
            ("v1.8.0", Some([1, 8, 0])),
            ("vv1.8", None),
            ("1.08", None),
            (">= 1.8", None),
            ("1.9.0-rc1", None),
            ("1.+8", None),
            ("1.9999999999", None),
            ("", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

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
