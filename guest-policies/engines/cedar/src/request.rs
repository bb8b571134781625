//! Builds the authorization request of a run.

use cedar_policy::{
    Context, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use countersign_policy::{Fact, Run, Token};

/// The entity types of requests, parsed once.
pub struct Names {
    workspace: EntityTypeName,
    definition: EntityTypeName,
    action: EntityTypeName,
}

impl Names {
    pub fn new() -> Result<Self, String> {
        let name = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a type"));
        Ok(Self {
            workspace: name("Workspace")?,
            definition: name("Definition")?,
            action: name("Action")?,
        })
    }
}

/// The request for a run and a token, checked by a schema if there is one. Making the time takes as long as half of the
/// others, so it is there where a policy reads it.
pub fn of(
    names: &Names,
    run: &Run,
    token: &Token,
    with_time: bool,
    schema: Option<&Schema>,
) -> Result<Request, String> {
    let entity = |kind: &EntityTypeName, id: &str| {
        EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
    };
    let context = Context::from_pairs([
        ("run".to_owned(), of_run(run)?),
        ("token".to_owned(), of_token(token, with_time)?),
    ]);
    Request::new(
        entity(&names.workspace, &run.building_block.workspace),
        entity(&names.action, run.behavior.as_str()),
        entity(&names.definition, &run.definition.id),
        context.map_err(|error| error.to_string())?,
        schema,
    )
    .map_err(|error| error.to_string())
}

fn of_run(run: &Run) -> Result<RestrictedExpression, String> {
    let block = &run.building_block;
    let parents: Result<Vec<_>, String> = block
        .parents
        .iter()
        .map(|parent| {
            record([
                ("building_block", text(&parent.building_block)),
                ("definition", text(&parent.definition)),
            ])
        })
        .collect();
    let optional = |name, value: &Option<String>| value.as_ref().map(|value| (name, text(value)));
    let building_block = record(
        [
            ("id", text(&block.id)),
            ("workspace", text(&block.workspace)),
            ("parents", RestrictedExpression::new_set(parents?)),
        ]
        .into_iter()
        .chain(optional("project", &block.project))
        .chain(optional("platform", &block.platform)),
    )?;
    let definition = record([
        ("id", text(&run.definition.id)),
        ("workspace", text(&run.definition.workspace)),
        ("version", number(run.definition.version)?),
        ("implementation", text(run.definition.implementation.as_str())),
    ])?;
    let trigger = run.trigger.as_ref().map(|trigger| {
        record(
            [
                ("author", text(&trigger.author)),
                ("author_kind", text(trigger.author_kind.as_str())),
            ]
            .into_iter()
            .chain(optional("reason", &trigger.reason)),
        )
    });
    let trigger = trigger.transpose()?.map(|trigger| ("trigger", trigger));
    record(
        [
            ("id", text(&run.id)),
            ("number", number(run.number)?),
            ("building_block", building_block),
            ("definition", definition),
            ("facts", of_facts(&run.facts)?),
        ]
        .into_iter()
        .chain(trigger)
        .chain(optional("runner", &run.runner)),
    )
}

fn of_facts(facts: &[Fact]) -> Result<RestrictedExpression, String> {
    let fact = |fact: &Fact| record([("name", text(&fact.name)), ("value", text(&fact.value))]);
    let facts: Result<Vec<_>, String> = facts.iter().map(fact).collect();
    Ok(RestrictedExpression::new_set(facts?))
}

fn of_token(token: &Token, with_time: bool) -> Result<RestrictedExpression, String> {
    let audiences = token.audiences.iter().map(|audience| text(audience));
    let time = || RestrictedExpression::new_datetime(datetime(token.issued_at));
    record(
        [
            ("subject", text(&token.subject)),
            ("audiences", RestrictedExpression::new_set(audiences)),
            ("ttl_seconds", RestrictedExpression::new_long(token.ttl_seconds.into())),
            ("issued_at", number(token.issued_at)?),
        ]
        .into_iter()
        .chain(with_time.then(|| ("time", time()))),
    )
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

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

/// The contract's numbers are below 2^53.
fn number(number: u64) -> Result<RestrictedExpression, String> {
    let number = i64::try_from(number).map_err(|_| format!("{number} is not a Cedar long"))?;
    Ok(RestrictedExpression::new_long(number))
}

fn record<'n>(
    members: impl IntoIterator<Item = (&'n str, RestrictedExpression)>,
) -> Result<RestrictedExpression, String> {
    let members = members.into_iter().map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(members).map_err(|error| error.to_string())
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
