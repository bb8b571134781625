//! Puts the parts of a text with expressions together: see [`crate::text`].

use anyhow::{Result, bail};
use regorus::{Engine, Value};

use crate::builtins::written;
use crate::text::JOIN;

/// Adds the function to an engine.
///
/// # Errors
/// When the name is there already.
pub fn register(engine: &mut Engine) -> Result<()> {
    engine.add_extension(JOIN.to_owned(), 1, Box::new(|arguments: Vec<Value>| join(&arguments)))
}

fn join(arguments: &[Value]) -> Result<Value> {
    let [Value::Array(parts)] = arguments else { bail!("expected the parts of a text") };
    let mut text = String::new();
    for part in parts.iter() {
        match part {
            Value::String(literal) => text.push_str(literal),
            Value::Set(values) => match (values.len(), values.first()) {
                (0, _) | (_, None) => text.push_str("<undefined>"),
                (1, Some(Value::String(value))) => text.push_str(value),
                (1, Some(value)) => text.push_str(&written(value)),
                _ => bail!("an expression in a text has more than one value"),
            },
            other => bail!("expected a part of a text, found {other}"),
        }
    }
    Ok(Value::from(text))
}
