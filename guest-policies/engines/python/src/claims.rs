//! The claims as a policy sees them, by the contract's names with underscores.

use countersign_policy::{BuildingBlock, Definition, Run, Token, Trigger};
use monty_types::MontyObject;

/// The fields of `run`, and of what it holds, by the path of what has them.
const FIELDS: [(&str, &[&str]); 5] = [
    (
        "run",
        &["id", "number", "behavior", "building_block", "definition", "trigger", "runner", "facts"],
    ),
    ("run.building_block", &["id", "workspace", "project", "platform", "parents"]),
    ("run.definition", &["id", "workspace", "version", "implementation"]),
    ("run.trigger", &["author", "author_kind", "reason"]),
    ("token", &["subject", "audiences", "ttl_seconds", "issued_at"]),
];

/// Checks the attributes of a path, as far as the names in it are those of claims.
///
/// # Errors
/// The first attribute that is not there, in the words of the language.
pub fn check_path(root: &str, path: &[String]) -> Result<(), String> {
    let mut holder = root.to_owned();
    for name in path {
        let Some((_, fields)) = FIELDS.iter().find(|(path, _)| *path == holder) else {
            return Ok(());
        };
        if !fields.contains(&name.as_str()) {
            return Err(format!(
                "AttributeError: `{holder}` has no `{name}`, expected one of `{}`",
                fields.join("`, `")
            ));
        }
        holder = format!("{holder}.{name}");
    }
    Ok(())
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
