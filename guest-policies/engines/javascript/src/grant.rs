//! The module `countersign`: the functions that make verdicts, and the local time of a zone.

use boa_engine::builtins::promise::Promise;
use boa_engine::module::SyntheticModuleInitializer;
use boa_engine::object::{FunctionObjectBuilder, IntegrityLevel};
use boa_engine::property::{PropertyDescriptor, PropertyKey};
use boa_engine::{
    Context, JsNativeError, JsObject, JsResult, JsString, JsValue, Module, NativeFunction,
    js_string,
};

use crate::local_time;
use crate::verdict::{Answer, Narrowing, kind};

/// Makes the data of a verdict of arguments.
type Maker = fn(&[JsValue], &mut Context) -> JsResult<Answer>;

/// The largest code of a reason, in bytes.
const MAX_CODE_BYTES: usize = 64;

/// The members of a policy that is written as one object.
const POLICY_MEMBERS: [&str; 6] =
    ["name", "version", "summary", "settingsSchema", "check", "evaluate"];

/// Makes the module. Each of its functions refuses what it does not know, since a misspelt limit is no limit.
pub fn module(context: &mut Context) -> Module {
    let makers: [(JsString, Maker); 4] = [
        (js_string!("permit"), permit),
        (js_string!("restrict"), restrict),
        (js_string!("deny"), deny),
        (js_string!("abstain"), abstain),
    ];
    let mut natives = vec![
        (js_string!("policy"), NativeFunction::from_fn_ptr(policy)),
        (js_string!("localTime"), NativeFunction::from_fn_ptr(local_time::call)),
    ];
    for (tag, make) in makers {
        let prototype = prototype(tag.clone(), context);
        let native = NativeFunction::from_copy_closure_with_captures(
            move |_, arguments, prototype, context| {
                verdict(make(arguments, context)?, prototype, context)
            },
            prototype,
        );
        natives.push((tag, native));
    }
    let functions: Vec<(JsString, JsValue)> = natives
        .into_iter()
        .map(|(name, native)| {
            let built = FunctionObjectBuilder::new(context.realm(), native).name(name.clone());
            (name, built.build().into())
        })
        .collect();
    let names: Vec<_> = functions.iter().map(|(name, _)| name.clone()).collect();
    Module::synthetic(
        &names,
        SyntheticModuleInitializer::from_copy_closure_with_captures(
            |module, functions, _| {
                functions
                    .iter()
                    .try_for_each(|(name, function)| module.set_export(name, function.clone()))
            },
            functions,
        ),
        None,
        None,
        context,
    )
}

fn permit(arguments: &[JsValue], context: &mut Context) -> JsResult<Answer> {
    narrowing("permit", arguments, context).map(Answer::Permit)
}

fn restrict(arguments: &[JsValue], context: &mut Context) -> JsResult<Answer> {
    narrowing("restrict", arguments, context).map(Answer::Restrict)
}

fn abstain(arguments: &[JsValue], _: &mut Context) -> JsResult<Answer> {
    match arguments.first() {
        Some(argument) => wrong(format!("abstain: expected no argument, found {}", kind(argument))),
        None => Ok(Answer::Abstain),
    }
}

/// A code and a message, or a list of several reasons.
fn deny(arguments: &[JsValue], context: &mut Context) -> JsResult<Answer> {
    let reasons = match arguments {
        [list] if list.as_object().is_some_and(|list| list.is_array()) => items(list, context)?
            .iter()
            .map(|item| {
                let Some(members) = members(item, context)? else {
                    return wrong(format!(
                        "deny: expected {{ code, message }}, found {}",
                        kind(item)
                    ));
                };
                for (name, _) in &members {
                    if name != "code" && name != "message" {
                        return wrong(format!(
                            "deny: unknown key `{name}`, expected `code` and `message`"
                        ));
                    }
                }
                let value = |key: &str| members.iter().find(|(name, _)| name == key);
                reason(value("code").map(|(_, v)| v), value("message").map(|(_, v)| v))
            })
            .collect::<JsResult<Vec<_>>>()?,
        [_, _, more, ..] => {
            return wrong(format!(
                "deny: expected a code and a message, found also {}",
                kind(more)
            ));
        }
        _ => vec![reason(arguments.first(), arguments.get(1))?],
    };
    if reasons.is_empty() {
        return wrong("deny: expected at least one reason".to_owned());
    }
    Ok(Answer::Deny(reasons))
}

/// Takes a policy that is written as one object with its functions.
fn policy(_: &JsValue, arguments: &[JsValue], context: &mut Context) -> JsResult<JsValue> {
    let [argument] = arguments else {
        return wrong("policy: expected one object".to_owned());
    };
    let Some(members) = members(argument, context)? else {
        return wrong(format!("policy: expected an object, found {}", kind(argument)));
    };
    for (name, _) in members {
        if !POLICY_MEMBERS.contains(&name.as_str()) {
            return wrong(format!("policy: unknown key `{name}`, expected `check` and `evaluate`"));
        }
    }
    Ok(argument.clone())
}

fn reason(code: Option<&JsValue>, message: Option<&JsValue>) -> JsResult<(String, String)> {
    let undefined = JsValue::undefined();
    let (code, message) = (code.unwrap_or(&undefined), message.unwrap_or(&undefined));
    let (Some(text), Some(message_text)) = (code.as_string(), message.as_string()) else {
        return wrong(format!(
            "deny: expected a code and a message, found {} and {}",
            kind(code),
            kind(message)
        ));
    };
    let text = string("deny: the code", &text)?;
    let is_code = (1..=MAX_CODE_BYTES).contains(&text.len())
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if !is_code {
        return wrong(format!(
            "deny: expected a code of 1 to {MAX_CODE_BYTES} lower-case letters, digits and dashes, found {}",
            kind(code)
        ));
    }
    Ok((text, string("deny: the message", &message_text)?))
}

/// Reads a grant.
fn narrowing(verdict: &str, arguments: &[JsValue], context: &mut Context) -> JsResult<Narrowing> {
    let expected = "expected an object with maxTtl, audiences and claims";
    let argument = match arguments {
        [] => return Ok(Narrowing::default()),
        [argument] => argument,
        [_, more, ..] => {
            return wrong(format!("{verdict}: {expected}, found also {}", kind(more)));
        }
    };
    let Some(members) = members(argument, context)? else {
        return wrong(format!("{verdict}: {expected}, found {}", kind(argument)));
    };
    let mut narrowing = Narrowing::default();
    for (name, value) in members {
        match name.as_str() {
            "maxTtl" => narrowing.max_ttl = Some(seconds(verdict, &value)?),
            "audiences" => narrowing.audiences = Some(audiences(verdict, &value, context)?),
            "claims" => narrowing.claims = claims(verdict, &value, context)?,
            _ => {
                return wrong(format!(
                    "{verdict}: unknown key `{name}`, expected maxTtl, audiences and claims"
                ));
            }
        }
    }
    Ok(narrowing)
}

fn seconds(verdict: &str, value: &JsValue) -> JsResult<u32> {
    let number = value.as_bigint().map(|whole| whole.to_f64()).or_else(|| value.as_number());
    match number {
        Some(number) if number >= 1.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0 =>
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it fits")]
            Ok(number as u32)
        }
        _ => wrong(format!(
            "{verdict}: maxTtl: expected whole seconds, 1 or more, found {}{}",
            kind(value),
            hint(value)
        )),
    }
}

fn audiences(verdict: &str, value: &JsValue, context: &mut Context) -> JsResult<Vec<String>> {
    let misfit = |found: &JsValue| {
        format!(
            "{verdict}: audiences: expected an array of strings, found {}{}",
            kind(found),
            hint(found)
        )
    };
    if !value.as_object().is_some_and(|object| object.is_array()) {
        return wrong(misfit(value));
    }
    let items = items(value, context)?;
    let texts = items.iter().map(|item| match item.as_string() {
        Some(text) => string(&format!("{verdict}: audiences"), &text),
        None => wrong(misfit(item)),
    });
    texts.collect()
}

fn claims(
    verdict: &str,
    value: &JsValue,
    context: &mut Context,
) -> JsResult<Vec<(String, String)>> {
    let misfit = |found: &JsValue| {
        format!(
            "{verdict}: claims: expected an object of strings, found {}{}",
            kind(found),
            hint(found)
        )
    };
    let Some(members) = members(value, context)? else {
        return wrong(misfit(value));
    };
    let claims = members.into_iter().map(|(name, value)| match value.as_string() {
        Some(text) => Ok((name, string(&format!("{verdict}: claims"), &text)?)),
        None => wrong(misfit(&value)),
    });
    claims.collect()
}

/// Says what to do about a member that is there and has no value. It is more often a misspelt setting than a wish to
/// limit nothing.
fn hint(value: &JsValue) -> &'static str {
    if value.is_undefined() { "; leave the key out to limit nothing" } else { "" }
}

/// The own members of an object that is neither an array, a function nor a promise; `None` for anything else.
fn members(value: &JsValue, context: &mut Context) -> JsResult<Option<Vec<(String, JsValue)>>> {
    let object = value
        .as_object()
        .filter(|object| !object.is_array() && !object.is_callable() && !object.is::<Promise>());
    let Some(object) = object else { return Ok(None) };
    let keys = object.own_property_keys(context)?.into_iter();
    let members = keys.map(|key| {
        let name = match &key {
            PropertyKey::String(name) => string("a key", name)?,
            PropertyKey::Index(index) => index.get().to_string(),
            PropertyKey::Symbol(_) => return wrong("unexpected symbol as a key".to_owned()),
        };
        Ok((name, object.get(key, context)?))
    });
    members.collect::<JsResult<_>>().map(Some)
}

fn items(array: &JsValue, context: &mut Context) -> JsResult<Vec<JsValue>> {
    let Some(array) = array.as_object() else { return Ok(Vec::new()) };
    let length = array.get(js_string!("length"), context)?.to_u32(context)?;
    (0..length).map(|index| array.get(index, context)).collect()
}

fn string(what: &str, text: &JsString) -> JsResult<String> {
    text.to_std_string().or_else(|_| wrong(format!("{what}: found a lone surrogate")))
}

/// Makes what all verdicts of a kind inherit: their tag.
fn prototype(tag: JsString, context: &mut Context) -> JsObject {
    let object = JsObject::with_object_proto(context.intrinsics());
    let tag = PropertyDescriptor::builder().value(tag).enumerable(true);
    object.insert_property(js_string!("tag"), tag.writable(false).configurable(false).build());
    object
}

/// Makes the object of a verdict. It is frozen: an assignment to it would otherwise look as if it changed the verdict.
fn verdict(answer: Answer, prototype: &JsObject, context: &mut Context) -> JsResult<JsValue> {
    let object = JsObject::from_proto_and_data(prototype.clone(), answer);
    object.set_integrity_level(IntegrityLevel::Frozen, context)?;
    Ok(object.into())
}

fn wrong<T>(message: String) -> JsResult<T> {
    Err(JsNativeError::typ().with_message(message).into())
}
