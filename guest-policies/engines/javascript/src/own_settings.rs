//! The settings of the policy itself.

use std::fmt;

use boa_engine::object::builtins::JsArray;
use boa_engine::object::{IntegrityLevel, ObjectInitializer};
use boa_engine::property::Attribute;
use boa_engine::{Context, JsBigInt, JsResult, JsString, JsValue};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The largest whole number that a number of the language holds exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The settings of the policy itself: an object.
#[derive(Default)]
#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
pub struct OwnSettings(Vec<(String, Json)>);

#[cfg_attr(not(target_arch = "wasm32"), derive(Debug))]
enum Json {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl OwnSettings {
    /// Builds the value that the policy receives.
    ///
    /// # Errors
    /// Never with an engine that works.
    pub fn to_value(&self, context: &mut Context) -> JsResult<JsValue> {
        object(&self.0, context)
    }
}

impl Json {
    fn to_value(&self, context: &mut Context) -> JsResult<JsValue> {
        Ok(match self {
            Self::Null => JsValue::null(),
            Self::Bool(value) => JsValue::from(*value),
            // A number would be rounded, and the policy would decide by another one than the settings have.
            Self::Unsigned(number) if *number > MAX_SAFE_INTEGER => JsBigInt::from(*number).into(),
            Self::Signed(number) if number.unsigned_abs() > MAX_SAFE_INTEGER => {
                JsBigInt::from(*number).into()
            }
            #[expect(clippy::cast_precision_loss, reason = "larger ones are above")]
            Self::Unsigned(number) => JsValue::from(*number as f64),
            #[expect(clippy::cast_precision_loss, reason = "larger ones are above")]
            Self::Signed(number) => JsValue::from(*number as f64),
            Self::Number(number) => JsValue::from(*number),
            Self::Text(text) => JsString::from(text.as_str()).into(),
            Self::List(items) => {
                let items = items.iter().map(|item| item.to_value(context));
                let items = items.collect::<JsResult<Vec<_>>>()?;
                JsArray::from_iter(items, context).into()
            }
            Self::Object(members) => object(members, context)?,
        })
    }
}

fn object(members: &[(String, Json)], context: &mut Context) -> JsResult<JsValue> {
    let values = members
        .iter()
        .map(|(name, value)| Ok((JsString::from(name.as_str()), value.to_value(context)?)));
    let values = values.collect::<JsResult<Vec<_>>>()?;
    let mut object = ObjectInitializer::new(context);
    for (name, value) in values {
        object.property(name, value, Attribute::all());
    }
    Ok(object.build().into())
}

/// Freezes a value and all that it holds. The evaluations that warm the policy up would otherwise leave in it what they
/// wrote, and every real one would begin with that.
pub fn freeze(value: &JsValue, context: &mut Context) -> JsResult<()> {
    let mut left: Vec<_> = value.as_object().into_iter().collect();
    while let Some(object) = left.pop() {
        object.set_integrity_level(IntegrityLevel::Frozen, context)?;
        for key in object.own_property_keys(context)? {
            left.extend(object.get(key, context)?.as_object().filter(|inner| {
                // `check` may have added a cycle.
                !inner.test_integrity_level(IntegrityLevel::Frozen, context).unwrap_or(true)
            }));
        }
    }
    Ok(())
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
