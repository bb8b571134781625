//! The functions that a policy exports.

use std::path::Path;

use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsObject, JsResult, JsString, JsValue, Module, Source, js_string};
use countersign_policy::Problem;

use crate::engine::OWN_SCRIPT;
use crate::globals::names;
use crate::modules::{Files, problem};
use crate::verdict::kind;
use crate::{errors, fault};

/// The functions of a policy.
pub struct Exports {
    pub evaluate: JsObject,
    check: Option<JsObject>,
    /// A JSON Schema of the settings.
    schema: Option<JsValue>,
}

/// Finds the problems of settings by their schema.
const SCHEMA: &str = include_str!("schema.js");

/// Finds the functions of a policy: exports of its module, or members of its export `policy`.
///
/// # Errors
/// When there is no function `evaluate`, or `check` is no function.
pub fn of(main: &Module, files: &Files, context: &mut Context) -> Result<Exports, Vec<Problem>> {
    let main_problem = |message: String| vec![problem(files.main(), message)];
    let namespace = main.namespace(context);
    let exports = own(&namespace, &["evaluate", "check", "policy"], context)
        .map_err(|error| main_problem(errors::text(&error, context)))?;
    let [evaluate, check, policy] = exports;
    let (evaluate, check, schema) = match (evaluate, policy) {
        (Some(_), Some(_)) => {
            let message = "exports both `evaluate` and `policy`; keep one";
            return Err(main_problem(message.to_owned()));
        }
        (Some(evaluate), None) => (Some(evaluate), check, None),
        (None, Some(policy)) => {
            let Some(policy) = policy.as_object() else {
                let message = format!("`policy` is {}; expected an object", kind(&policy));
                return Err(main_problem(message));
            };
            let [evaluate, check, schema] =
                own(&policy, &["evaluate", "check", "settingsSchema"], context)
                    .map_err(|error| main_problem(errors::text(&error, context)))?;
            (evaluate, check, schema)
        }
        (None, None) => (None, check, None),
    };
    let function = |name: &str, value: &JsValue| {
        value.as_callable().ok_or_else(|| {
            main_problem(format!("`{name}` is {}; expected a function", kind(value)))
        })
    };
    let Some(evaluate) = evaluate else {
        let found = Vec::from_iter(names(&namespace, context)).join("`, `");
        let found = if found.is_empty() { found } else { format!("; found `{found}`") };
        return Err(main_problem(format!(
            "expected an export `evaluate`: `export function evaluate(settings, run, token)`{found}"
        )));
    };
    let check = check.filter(|check| !check.is_undefined());
    Ok(Exports {
        evaluate: function("evaluate", &evaluate)?,
        check: check.map(|check| function("check", &check)).transpose()?,
        schema: schema.filter(|schema| !schema.is_undefined()),
    })
}

impl Exports {
    /// Asks the policy for the problems of its settings. Where `check` itself fails, the settings are not to blame, and
    /// that is a fault.
    ///
    /// # Errors
    /// The problems that it returns, in the settings of the engine.
    pub fn check(
        &self,
        settings: &JsValue,
        files: &Files,
        context: &mut Context,
    ) -> Result<(), Vec<Problem>> {
        if let Some(schema) = &self.schema {
            let found = by_schema(schema, settings, context)
                .map_err(|error| vec![problem(files.main(), errors::text(&error, context))])?;
            if !found.is_empty() {
                return Err(found);
            }
        }
        let Some(check) = &self.check else { return Ok(()) };
        let returned = check
            .call(&JsValue::undefined(), std::slice::from_ref(settings), context)
            .unwrap_or_else(|error| {
                fault(&format!("`check` failed: {}", errors::text(&error, context)))
            });
        let problems = problems(&returned, context)
            .unwrap_or_else(|error| {
                fault(&format!("`check` failed: {}", errors::text(&error, context)))
            })
            .unwrap_or_else(|found| {
                fault(&format!(
                    "{}: `check` returned {found}; expected an array of {{ pointer, message }}, empty where the settings \
                     are right",
                    files.main()
                ))
            });
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }
}

/// Finds the problems of settings by a schema.
fn by_schema(
    schema: &JsValue,
    settings: &JsValue,
    context: &mut Context,
) -> JsResult<Vec<Problem>> {
    let source = Source::from_bytes(SCHEMA).with_path(Path::new(OWN_SCRIPT));
    let check = context.eval(source)?;
    let Some(check) = check.as_callable() else { return Ok(Vec::new()) };
    let returned =
        check.call(&JsValue::undefined(), &[schema.clone(), settings.clone()], context)?;
    Ok(problems(&returned, context)?.unwrap_or_default())
}

/// Reads an array of problems, or a single one; the words for anything else are the inner error.
fn problems(returned: &JsValue, context: &mut Context) -> JsResult<Result<Vec<Problem>, String>> {
    let Some(object) = returned.as_object() else { return Ok(Err(kind(returned))) };
    if !object.is_array() {
        return Ok(one_problem(returned, context)?.map(|problem| vec![problem]));
    }
    let length = object.get(js_string!("length"), context)?.to_u32(context)?;
    let mut found = Vec::new();
    for index in 0..length {
        let item = object.get(index, context)?;
        match one_problem(&item, context)? {
            Ok(problem) => found.push(problem),
            Err(kind) => return Ok(Err(format!("an array with {kind}"))),
        }
    }
    Ok(Ok(found))
}

fn one_problem(value: &JsValue, context: &mut Context) -> JsResult<Result<Problem, String>> {
    let misfit = || Ok(Err(kind(value)));
    let Some(object) = value.as_object() else { return misfit() };
    let [pointer, message] = own(&object, &["pointer", "message"], context)?;
    let text = |value: Option<JsValue>| Some(value?.as_string()?.to_std_string_escaped());
    match (text(pointer), text(message)) {
        // The policy knows its own settings, the host those of the engine.
        (Some(pointer), Some(message)) => {
            Ok(Ok(Problem { pointer: format!("/settings{pointer}"), message }))
        }
        _ => misfit(),
    }
}

/// The own members of an object by their names, where it has them.
fn own<const N: usize>(
    object: &JsObject,
    names: &[&str; N],
    context: &mut Context,
) -> JsResult<[Option<JsValue>; N]> {
    let mut values = [const { None }; N];
    for (value, name) in values.iter_mut().zip(names) {
        let key = PropertyKey::from(JsString::from(*name));
        if object.has_own_property(key.clone(), context)? {
            *value = Some(object.get(key, context)?);
        }
    }
    Ok(values)
}
