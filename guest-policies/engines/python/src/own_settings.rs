//! The settings of the policy itself.

use std::fmt;

use monty_types::MontyObject;
use num_bigint::BigInt;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// The settings of the policy itself: an object. Whole numbers keep all their digits.
#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
pub struct OwnSettings(pub MontyObject);

impl Default for OwnSettings {
    fn default() -> Self {
        Self(MontyObject::dict(Vec::new()))
    }
}

impl<'de> Deserialize<'de> for OwnSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = OwnSettings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<OwnSettings, A::Error> {
                read_members(members).map(OwnSettings)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

fn read_members<'de, A: MapAccess<'de>>(mut members: A) -> Result<MontyObject, A::Error> {
    let mut read = Vec::new();
    while let Some((name, Json(value))) = members.next_entry::<String, _>()? {
        read.push((MontyObject::String(name), value));
    }
    Ok(MontyObject::dict(read))
}

struct Json(MontyObject);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E: Error>(self) -> Result<Json, E> {
                Ok(Json(MontyObject::None))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
                Ok(Json(MontyObject::Bool(value)))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Json, E> {
                Ok(Json(match i64::try_from(number) {
                    Ok(number) => MontyObject::Int(number),
                    Err(_) => MontyObject::BigInt(BigInt::from(number)),
                }))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Json, E> {
                Ok(Json(MontyObject::Int(number)))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Json, E> {
                Ok(Json(MontyObject::Float(number)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
                Ok(Json(MontyObject::String(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut read = Vec::new();
                while let Some(Json(item)) = items.next_element()? {
                    read.push(item);
                }
                Ok(Json(MontyObject::List(read)))
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Json, A::Error> {
                read_members(members).map(Json)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl countersign_policy::schemars::JsonSchema for OwnSettings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OwnSettings".into()
    }

    fn json_schema(
        _: &mut countersign_policy::schemars::SchemaGenerator,
    ) -> countersign_policy::schemars::Schema {
        countersign_policy::schemars::json_schema!({"type": "object"})
    }
}
