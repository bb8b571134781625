//! The entities of the settings.

use cedar_policy::{Entities, Entity, EntityUid, Schema};
use countersign_policy::Problem;
use engine_shared::did_you_mean;
use serde_json::Value;

use crate::{source, vocabulary};

/// Reads entities in Cedar's JSON form. A problem names the entity that it is about.
pub fn read(json: Option<Value>, schema: &Schema) -> Result<Entities, Vec<Problem>> {
    let json = json.unwrap_or_else(|| Value::Array(Vec::new()));
    let Value::Array(all) = &json else {
        let message = "expected an array of entities".to_owned();
        return Err(vec![Problem { pointer: "/entities".to_owned(), message }]);
    };
    // Each alone, for an error that is about one.
    let mut problems = Vec::new();
    let mut known: Vec<EntityUid> = Vec::new();
    for (at, entity) in all.iter().enumerate() {
        let wrong = match Entity::from_json_value(entity.clone(), Some(schema)) {
            Err(error) => {
                let message = without_preamble(&source::message(&error));
                Some(format!("{message}{}", nearest_type(entity, &message, schema)))
            }
            Ok(entity) => {
                let uid = entity.uid();
                let first = known.iter().position(|known| *known == uid);
                let never =
                    vocabulary::of_entity(&uid.type_name().to_string(), uid.id().unescaped());
                known.push(uid);
                never.or(first.map(|first| format!("it is there already: /entities/{first}")))
            }
        };
        if let Some(message) = wrong {
            let message = format!("{}: {message}", name_of(entity));
            problems.push(Problem { pointer: format!("/entities/{at}"), message });
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Entities::from_json_value(json, Some(schema)).map_err(|error| {
        let message = without_preamble(&source::message(&error));
        vec![Problem { pointer: "/entities".to_owned(), message }]
    })
}

/// The nearest type of the schema, where the type of an entity is none.
fn nearest_type(entity: &Value, message: &str, schema: &Schema) -> String {
    let kind = uid(entity).and_then(|uid| uid.get("type")).and_then(Value::as_str);
    match kind.filter(|_| message.contains("not declared in the schema")) {
        Some(kind) => {
            let types: Vec<_> = schema.entity_types().map(ToString::to_string).collect();
            did_you_mean(kind, types.iter().map(String::as_str))
        }
        None => String::new(),
    }
}

/// Cedar says of each that it is one of reading entities, as the pointer does.
fn without_preamble(message: &str) -> String {
    let preambles =
        ["error during entity deserialization: ", "entity does not conform to the schema: "];
    let mut rest = message;
    for preamble in preambles {
        rest = rest.strip_prefix(preamble).unwrap_or(rest);
    }
    rest.to_owned()
}

/// The name of an entity, as far as it has one: `Workspace::"team-a"`.
fn name_of(entity: &Value) -> String {
    let uid = uid(entity);
    let text = |key: &str| uid.and_then(|uid| uid.get(key)).and_then(Value::as_str);
    match (text("type"), text("id")) {
        (Some(kind), Some(id)) => format!("`{kind}::\"{id}\"`"),
        _ => "an entity without a name".to_owned(),
    }
}

fn uid(entity: &Value) -> Option<&Value> {
    entity.get("uid").map(|uid| uid.get("__entity").unwrap_or(uid))
}
