//! The claims as a policy sees them, by the contract's names with underscores.

use countersign_policy::{Run, Token, Trigger};
use engine_shared::claims::{Claims, FIELDS, Kind};
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

/// The run with the claims that are read. An attribute that is not there is an exception, and no `None` that means something.
pub fn of_run(claims: &Claims, run: &Run) -> MontyObject {
    let [id, number, behavior, building_block, definition, trigger, runner, facts] = claims.run;
    let of_facts = || {
        let facts = run.facts.iter().map(|fact| (text(&fact.name), text(&fact.value)));
        MontyObject::dict(facts.collect::<Vec<_>>())
    };
    let of_trigger = || run.trigger.as_ref().map_or(MontyObject::None, of_trigger);
    object(
        "Run",
        [
            id.then(|| ("id", text(&run.id))),
            number.then(|| ("number", whole(run.number))),
            behavior.then(|| ("behavior", text(run.behavior.as_str()))),
            building_block.then(|| ("building_block", of_building_block(claims, run))),
            definition.then(|| ("definition", of_definition(claims, run))),
            trigger.then(|| ("trigger", of_trigger())),
            runner.then(|| ("runner", optional(run.runner.as_deref()))),
            facts.then(|| ("facts", of_facts())),
        ],
    )
}

fn of_building_block(claims: &Claims, run: &Run) -> MontyObject {
    let block = &run.building_block;
    let [id, workspace, project, platform, parents] = claims.building_block;
    let of_parents = || {
        let parents = block.parents.iter().map(|parent| {
            let building_block = ("building_block", text(&parent.building_block));
            let definition = ("definition", text(&parent.definition));
            object("Parent", [Some(building_block), Some(definition)])
        });
        MontyObject::List(parents.collect())
    };
    object(
        "BuildingBlock",
        [
            id.then(|| ("id", text(&block.id))),
            workspace.then(|| ("workspace", text(&block.workspace))),
            project.then(|| ("project", optional(block.project.as_deref()))),
            platform.then(|| ("platform", optional(block.platform.as_deref()))),
            parents.then(|| ("parents", of_parents())),
        ],
    )
}

fn of_definition(claims: &Claims, run: &Run) -> MontyObject {
    let of = &run.definition;
    let [id, workspace, version, implementation] = claims.definition;
    object(
        "Definition",
        [
            id.then(|| ("id", text(&of.id))),
            workspace.then(|| ("workspace", text(&of.workspace))),
            version.then(|| ("version", whole(of.version))),
            implementation.then(|| ("implementation", text(of.implementation.as_str()))),
        ],
    )
}

fn of_trigger(trigger: &Trigger) -> MontyObject {
    object(
        "Trigger",
        [
            Some(("reason", optional(trigger.reason.as_deref()))),
            Some(("author", text(&trigger.author))),
            Some(("author_kind", text(trigger.author_kind.as_str()))),
        ],
    )
}

/// The token with the claims that are read.
pub fn of_token(claims: &Claims, token: &Token) -> MontyObject {
    let [subject, audiences, ttl_seconds, issued_at, _] = claims.token;
    let of_audiences = || MontyObject::List(token.audiences.iter().map(|one| text(one)).collect());
    object(
        "Token",
        [
            subject.then(|| ("subject", text(&token.subject))),
            audiences.then(|| ("audiences", of_audiences())),
            ttl_seconds.then(|| ("ttl_seconds", MontyObject::Int(token.ttl_seconds.into()))),
            issued_at.then(|| ("issued_at", whole(token.issued_at))),
        ],
    )
}

fn object<const N: usize>(name: &str, members: [Option<(&str, MontyObject)>; N]) -> MontyObject {
    let members = members.into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
    let (names, values) = members.unzip();
    MontyObject::NamedTuple { type_name: name.to_owned(), field_names: names, values }
}

fn text(text: &str) -> MontyObject {
    MontyObject::String(text.to_owned())
}

fn optional(value: Option<&str>) -> MontyObject {
    value.map_or(MontyObject::None, text)
}

/// The contract's numbers are below 2^53.
fn whole(number: u64) -> MontyObject {
    MontyObject::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
