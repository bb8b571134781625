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

/// The request for a run and a token, checked by a schema if there is one.
pub fn of(
    names: &Names,
    run: &Run,
    token: &Token,
    schema: Option<&Schema>,
) -> Result<Request, String> {
    let entity = |kind: &EntityTypeName, id: &str| {
        EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
    };
    let context = Context::from_pairs([
        ("run".to_owned(), of_run(run)?),
        ("token".to_owned(), of_token(token)?),
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

fn of_token(token: &Token) -> Result<RestrictedExpression, String> {
    let audiences = token.audiences.iter().map(|audience| text(audience));
    record([
        ("subject", text(&token.subject)),
        ("audiences", RestrictedExpression::new_set(audiences)),
        ("ttl_seconds", RestrictedExpression::new_long(token.ttl_seconds.into())),
        ("issued_at", number(token.issued_at)?),
    ])
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
