//! The document that a policy reads as `data`.

use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use engine_shared::{Json, JsonObject};

/// The document as a map of CEL. Whole numbers keep their 64 bits: those above 2^63 - 1 are `uint`.
pub fn to_map(data: JsonObject) -> CelMap<'static> {
    let member = |(name, json): (String, Json)| (CelMapKey::String(name.into()), value(json));
    CelMap::from(data.0.into_iter().map(member).collect::<HashMap<CelMapKey<'static>, _>>())
}

fn value(json: Json) -> Box<dyn Val> {
    match json {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(value)),
        Json::Unsigned(number) => match i64::try_from(number) {
            Ok(number) => Box::new(CelInt::from(number)),
            Err(_) => Box::new(CelUInt::from(number)),
        },
        Json::Signed(number) => Box::new(CelInt::from(number)),
        Json::Number(number) => Box::new(CelDouble::from(number)),
        Json::Text(text) => Box::new(CelString::from(text)),
        Json::List(items) => {
            Box::new(CelList::from(items.into_iter().map(value).collect::<Vec<_>>()))
        }
        Json::Object(members) => Box::new(to_map(JsonObject(members))),
    }
}
