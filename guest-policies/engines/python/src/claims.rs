//! The claims as a policy sees them, by the contract's names with underscores.

use countersign_policy::{BuildingBlock, Definition, Run, Token, Trigger};
use engine_shared::claims::{FIELDS, Kind};
use engine_shared::did_you_mean;
use monty_types::MontyObject;

/// A kind of values, in words of the language.
pub fn shown(kind: Kind) -> &'static str {
    match kind {
        Kind::Object => "an object",
        Kind::Text => "a text",
        Kind::Number | Kind::Long => "a number",
        Kind::List => "a list",
        Kind::Facts => "a dict",
    }
}

/// The end of a path of attributes.
#[derive(Debug, PartialEq, Eq)]
pub enum Led {
    /// A field of this kind.
    To(Kind),
    /// Beyond a field of this kind, by this attribute.
    Beyond(Kind, String),
    /// No claim.
    Elsewhere,
}

/// Follows a path of attributes, as far as the names in it are those of claims.
///
/// # Errors
/// The first attribute that is not there, in the words of the language.
pub fn follow(root: &str, path: &[String]) -> Result<Led, String> {
    if !FIELDS.iter().any(|(path, _)| *path == root) {
        return Ok(Led::Elsewhere);
    }
    let (mut holder, mut kind) = (root.to_owned(), Kind::Object);
    for name in path {
        let Some((_, fields)) = FIELDS.iter().find(|(path, _)| *path == holder) else {
            return Ok(Led::Beyond(kind, name.clone()));
        };
        let Some((_, next)) = fields.iter().find(|(known, _)| known == name) else {
            let fields: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "AttributeError: `{holder}` has no `{name}`, expected one of `{}`{}",
                fields.join("`, `"),
                did_you_mean(name, fields.iter().copied())
            ));
        };
        kind = *next;
        holder = format!("{holder}.{name}");
    }
    Ok(Led::To(kind))
}

pub fn of_run(run: &Run) -> MontyObject {
    let facts: Vec<_> =
        run.facts.iter().map(|fact| (text(&fact.name), text(&fact.value))).collect();
    object(
        "Run",
        [
            ("id", text(&run.id)),
            ("number", number(run.number)),
            ("behavior", text(run.behavior.as_str())),
            ("building_block", of_building_block(&run.building_block)),
            ("definition", of_definition(&run.definition)),
            ("trigger", run.trigger.as_ref().map_or(MontyObject::None, of_trigger)),
            ("runner", optional(run.runner.as_deref())),
            ("facts", MontyObject::dict(facts)),
        ],
    )
}

fn of_building_block(block: &BuildingBlock) -> MontyObject {
    let parents = block.parents.iter().map(|parent| {
        object(
            "Parent",
            [
                ("building_block", text(&parent.building_block)),
                ("definition", text(&parent.definition)),
            ],
        )
    });
    object(
        "BuildingBlock",
        [
            ("id", text(&block.id)),
            ("workspace", text(&block.workspace)),
            ("project", optional(block.project.as_deref())),
            ("platform", optional(block.platform.as_deref())),
            ("parents", MontyObject::List(parents.collect())),
        ],
    )
}

fn of_definition(definition: &Definition) -> MontyObject {
    object(
        "Definition",
        [
            ("id", text(&definition.id)),
            ("workspace", text(&definition.workspace)),
            ("version", number(definition.version)),
            ("implementation", text(definition.implementation.as_str())),
        ],
    )
}

fn of_trigger(trigger: &Trigger) -> MontyObject {
    object(
        "Trigger",
        [
            ("reason", optional(trigger.reason.as_deref())),
            ("author", text(&trigger.author)),
            ("author_kind", text(trigger.author_kind.as_str())),
        ],
    )
}

pub fn of_token(token: &Token) -> MontyObject {
    object(
        "Token",
        [
            ("subject", text(&token.subject)),
            ("audiences", MontyObject::List(token.audiences.iter().map(|one| text(one)).collect())),
            ("ttl_seconds", MontyObject::Int(token.ttl_seconds.into())),
            ("issued_at", number(token.issued_at)),
        ],
    )
}

fn object<const N: usize>(name: &str, members: [(&str, MontyObject); N]) -> MontyObject {
    let (names, values) = members.into_iter().map(|(name, value)| (name.to_owned(), value)).unzip();
    MontyObject::NamedTuple { type_name: name.to_owned(), field_names: names, values }
}

fn text(text: &str) -> MontyObject {
    MontyObject::String(text.to_owned())
}

fn optional(value: Option<&str>) -> MontyObject {
    value.map_or(MontyObject::None, text)
}

/// The contract's numbers are below 2^53.
fn number(number: u64) -> MontyObject {
    MontyObject::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
