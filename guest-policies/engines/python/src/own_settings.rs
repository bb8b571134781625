//! The settings of the policy itself.

use engine_shared::{Json, JsonObject};
use monty_types::MontyObject;
use num_bigint::BigInt;

/// The object that the policy receives.
pub fn to_object(settings: JsonObject) -> MontyObject {
    members(settings.0)
}

fn members(members: Vec<(String, Json)>) -> MontyObject {
    let member = |(name, json)| (MontyObject::String(name), value(json));
    MontyObject::dict(members.into_iter().map(member).collect::<Vec<_>>())
}

/// Whole numbers keep all their digits.
fn value(json: Json) -> MontyObject {
    match json {
        Json::Null => MontyObject::None,
        Json::Bool(value) => MontyObject::Bool(value),
        Json::Unsigned(number) => match i64::try_from(number) {
            Ok(number) => MontyObject::Int(number),
            Err(_) => MontyObject::BigInt(BigInt::from(number)),
        },
        Json::Signed(number) => MontyObject::Int(number),
        Json::Number(number) => MontyObject::Float(number),
        Json::Text(text) => MontyObject::String(text),
        Json::List(items) => MontyObject::List(items.into_iter().map(value).collect()),
        Json::Object(object) => members(object),
    }
}
