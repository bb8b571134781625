//! The function `local_time(zone, seconds)` of the module `countersign`, which the engine answers.

use engine_shared::local_time;
use monty_types::{ExcType, ExtFunctionResult, MontyException, MontyObject};

/// The name of the function that the prelude calls.
const NAME: &str = "__countersign_zone__";

/// The function, for the prelude.
pub fn input() -> (String, MontyObject) {
    (NAME.to_owned(), MontyObject::Function { name: NAME.to_owned(), docstring: None })
}

/// The answer to a call. The prelude has checked the types.
pub fn answer(function: &str, arguments: &[MontyObject]) -> ExtFunctionResult {
    let [MontyObject::String(zone), MontyObject::Int(seconds)] = arguments else {
        return if function == NAME {
            // A whole number that does not fit into 64 bits.
            error("expected a time from 1970 to 9999, in seconds since 1970")
        } else {
            ExtFunctionResult::NotFound(function.to_owned())
        };
    };
    match local_time(zone, *seconds) {
        Err(message) => error(&message),
        Ok(local) => {
            let (names, values) = [
                ("year", local.year),
                ("month", local.month),
                ("day", local.day),
                ("weekday", local.weekday),
                ("hour", local.hour),
                ("minute", local.minute),
                ("second", local.second),
                ("offset", local.offset),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), MontyObject::Int(value)))
            .unzip();
            let type_name = "LocalTime".to_owned();
            MontyObject::NamedTuple { type_name, field_names: names, values }.into()
        }
    }
}

fn error(message: &str) -> ExtFunctionResult {
    MontyException::new(ExcType::ValueError, Some(format!("local_time: {message}"))).into()
}
