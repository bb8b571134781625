//! The document that a policy reads as `data`.

use std::collections::HashMap;
use std::fmt;

use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A JSON value as a value of CEL. Whole numbers keep their 64 bits: those above 2^63 - 1 are `uint`.
#[derive(Debug)]
pub struct Data(Box<dyn Val>);

impl Data {
    /// The document of a policy that was given none.
    pub fn empty() -> Self {
        Self(Box::new(CelMap::default()))
    }

    pub fn value(&self) -> &(dyn Val + 'static) {
        self.0.as_ref()
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Json;

        impl<'de> Visitor<'de> for Json {
            type Value = Data;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E: Error>(self) -> Result<Data, E> {
                Ok(Data(Box::new(CelNull)))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Data, E> {
                Ok(Data(Box::new(CelBool::from(value))))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Data, E> {
                Ok(Data(Box::new(CelInt::from(value))))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Data, E> {
                Ok(match i64::try_from(value) {
                    Ok(value) => Data(Box::new(CelInt::from(value))),
                    Err(_) => Data(Box::new(CelUInt::from(value))),
                })
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Data, E> {
                Ok(Data(Box::new(CelDouble::from(value))))
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Data, E> {
                Ok(Data(Box::new(CelString::from(value.to_owned()))))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Data, A::Error> {
                let mut list: Vec<Box<dyn Val>> = Vec::new();
                while let Some(Data(item)) = items.next_element()? {
                    list.push(item);
                }
                Ok(Data(Box::new(CelList::from(list))))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Data, A::Error> {
                let mut map: HashMap<CelMapKey<'static>, Box<dyn Val>> = HashMap::new();
                while let Some((name, Data(value))) = members.next_entry::<String, _>()? {
                    map.insert(CelMapKey::String(name.into()), value);
                }
                Ok(Data(Box::new(CelMap::from(map))))
            }
        }

        deserializer.deserialize_any(Json)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl countersign_policy::schemars::JsonSchema for Data {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(
        _: &mut countersign_policy::schemars::SchemaGenerator,
    ) -> countersign_policy::schemars::Schema {
        countersign_policy::schemars::json_schema!({"type": "object"})
    }
}
