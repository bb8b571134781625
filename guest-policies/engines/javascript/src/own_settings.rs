//! The settings of the policy itself.

use boa_engine::object::builtins::JsArray;
use boa_engine::object::{IntegrityLevel, ObjectInitializer};
use boa_engine::property::Attribute;
use boa_engine::{Context, JsBigInt, JsResult, JsString, JsValue};
use engine_shared::{Json, JsonObject};

/// The largest whole number that a number of the language holds exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Builds the value that the policy receives.
///
/// # Errors
/// Never with an engine that works.
pub fn to_value(settings: &JsonObject, context: &mut Context) -> JsResult<JsValue> {
    object(&settings.0, context)
}

fn value(json: &Json, context: &mut Context) -> JsResult<JsValue> {
    Ok(match json {
        Json::Null => JsValue::null(),
        Json::Bool(value) => JsValue::from(*value),
        // A number would be rounded, and the policy would decide by another one than the settings have.
        Json::Unsigned(number) if *number > MAX_SAFE_INTEGER => JsBigInt::from(*number).into(),
        Json::Signed(number) if number.unsigned_abs() > MAX_SAFE_INTEGER => {
            JsBigInt::from(*number).into()
        }
        #[expect(clippy::cast_precision_loss, reason = "larger ones are above")]
        Json::Unsigned(number) => JsValue::from(*number as f64),
        #[expect(clippy::cast_precision_loss, reason = "larger ones are above")]
        Json::Signed(number) => JsValue::from(*number as f64),
        Json::Number(number) => JsValue::from(*number),
        Json::Text(text) => JsString::from(text.as_str()).into(),
        Json::List(items) => {
            let items = items.iter().map(|item| value(item, context));
            let items = items.collect::<JsResult<Vec<_>>>()?;
            JsArray::from_iter(items, context).into()
        }
        Json::Object(members) => object(members, context)?,
    })
}

fn object(members: &[(String, Json)], context: &mut Context) -> JsResult<JsValue> {
    let values = members
        .iter()
        .map(|(name, member)| Ok((JsString::from(name.as_str()), value(member, context)?)));
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
