//! JSON of any shape, as settings have it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value. Whole numbers keep their 64 bits.
#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number from 0 on.
    Unsigned(u64),
    /// A whole number below 0.
    Signed(i64),
    /// Another number.
    Number(f64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// A JSON object: the members, in their order.
#[derive(Default)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
pub struct JsonObject(pub Vec<(String, Json)>);

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = JsonObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<JsonObject, A::Error> {
                read_members(members).map(JsonObject)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

fn read_members<'de, A: MapAccess<'de>>(mut members: A) -> Result<Vec<(String, Json)>, A::Error> {
    let mut read = Vec::new();
    while let Some(member) = members.next_entry()? {
        read.push(member);
    }
    Ok(read)
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(Json::Unsigned(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json::Signed(number))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
                Ok(Json::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut read = Vec::new();
                while let Some(item) = items.next_element()? {
                    read.push(item);
                }
                Ok(Json::List(read))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Json, A::Error> {
                read_members(members).map(Json::Object)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl countersign_policy::schemars::JsonSchema for JsonObject {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "JsonObject".into()
    }

    fn json_schema(
        _: &mut countersign_policy::schemars::SchemaGenerator,
    ) -> countersign_policy::schemars::Schema {
        countersign_policy::schemars::json_schema!({"type": "object"})
    }
}
