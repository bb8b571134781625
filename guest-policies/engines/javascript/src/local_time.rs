//! The function `localTime(zone, seconds)` of the module `countersign`.

use boa_engine::object::{IntegrityLevel, ObjectInitializer};
use boa_engine::property::Attribute;
use boa_engine::{Context, JsNativeError, JsResult, JsValue, js_string};
use engine_shared::local_time;

use crate::verdict::kind;

/// The local time in a zone at a time in seconds since 1970, as an object of numbers that is frozen.
pub fn call(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let wrong = |message: String| Err(JsNativeError::typ().with_message(message).into());
    let [zone, time] = arguments else {
        return wrong(format!(
            "localTime: expected a time zone and a time in seconds, found {} arguments",
            arguments.len()
        ));
    };
    let Some(zone) = zone.as_string() else {
        return wrong(format!(
            "localTime: expected a time zone like 'Europe/Berlin', found {}",
            kind(zone)
        ));
    };
    let Some(seconds) = seconds(time) else {
        return wrong(format!(
            "localTime: expected whole seconds since 1970, such as token.issuedAt, found {}",
            kind(time)
        ));
    };
    let local = match local_time(&zone.to_std_string_lossy(), seconds) {
        Ok(local) => local,
        Err(message) => {
            return Err(JsNativeError::range()
                .with_message(format!("localTime: {message}"))
                .into());
        }
    };
    let mut object = ObjectInitializer::new(context);
    for (name, value) in [
        (js_string!("year"), local.year),
        (js_string!("month"), local.month),
        (js_string!("day"), local.day),
        (js_string!("weekday"), local.weekday),
        (js_string!("hour"), local.hour),
        (js_string!("minute"), local.minute),
        (js_string!("second"), local.second),
        (js_string!("offset"), local.offset),
    ] {
        // Each is far below 2^31.
        let value = i32::try_from(value).unwrap_or_default();
        object.property(name, value, Attribute::all());
    }
    let object = object.build();
    object.set_integrity_level(IntegrityLevel::Frozen, context)?;
    Ok(object.into())
}

/// The whole seconds of a number or a `bigint`.
fn seconds(value: &JsValue) -> Option<i64> {
    if let Some(whole) = value.as_bigint() {
        return whole.to_string().parse().ok();
    }
    let number = value.as_number().filter(|number| number.fract() == 0.0)?;
    // Beyond, a number does not tell neighbours apart.
    let is_exact = number.abs() <= 9_007_199_254_740_991.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole, and fits")]
    is_exact.then_some(number as i64)
}
