//! Expressions, evaluated by the engine of a policy's language.
//!
//! An engine takes a text and gives a verdict. So the text becomes one that denies with the value for its message.

use anyhow::{Context, Result, bail};
use countersign::{Settings, Verdict};
use serde_json::{Map, Value};

use crate::policy::language::Language;

/// The code of the denial that has the value.
const CODE: &str = "countersign-eval";

/// The settings of an engine whose policy denies with the value of an expression.
pub(super) fn settings(
    language: Language,
    settings: &Settings,
    expression: &str,
) -> Result<Settings> {
    let mut all: Map<String, Value> = serde_json::from_str(settings.as_json())?;
    match language {
        Language::Rego => edit(&mut all, &["policy"], |text| rego(text, expression)),
        Language::Cel => edit(&mut all, &["policy"], |text| cel(text, expression)),
        Language::Cedar => edit(&mut all, &["policies"], |_| cedar(expression)),
        Language::Javascript | Language::Typescript => {
            edit(&mut all, &["files", language.source()], |text| javascript(text, expression))
        }
        Language::Python => {
            edit(&mut all, &["files", language.source()], |text| python(text, expression))
        }
        Language::Rust | Language::Cpython => bail!(
            "--expression: there is none of a policy in {}; leave it out for the verdict",
            language.source()
        ),
    }?;
    Ok(Settings::from_json(&Value::Object(all).to_string())?)
}

/// The value in a verdict; `None` where the expression has none. In Cedar it is a condition, and false where nothing else says
/// so.
pub(super) fn value(verdict: &Verdict, language: Language) -> Option<String> {
    let reasons = match verdict {
        Verdict::Deny(reasons) => reasons.as_slice(),
        _ => &[],
    };
    match reasons.iter().find(|reason| reason.code == CODE) {
        // The host doubles what escapes.
        Some(reason) => Some(reason.message.replace("\\\\", "\\")),
        None => (language == Language::Cedar).then(|| "false".to_owned()),
    }
}

fn edit(
    all: &mut Map<String, Value>,
    path: &[&str],
    change: impl FnOnce(&str) -> String,
) -> Result<()> {
    let mut value = all.get_mut(*path.first().unwrap_or(&""));
    for step in path.iter().skip(1) {
        value = value.and_then(|value| value.get_mut(*step));
    }
    let value = value.with_context(|| format!("the settings have no `{}`", path.join("/")))?;
    let changed = change(value.as_str().unwrap_or_default());
    *value = Value::String(changed);
    Ok(())
}

fn rego(text: &str, expression: &str) -> String {
    format!(
        "{text}\n\ndeny contains {{\"code\": \"{CODE}\", \"message\": json.marshal(countersign_value)}} if {{\n\
         \tcountersign_value := {expression}\n}}\n"
    )
}

fn cedar(expression: &str) -> String {
    format!(
        "@id(\"{CODE}\") @message(\"true\")\nforbid(principal, action, resource) when {{ {expression} }};\n"
    )
}

/// The variables of the policy, and a rule in place of all of its own.
fn cel(text: &str, expression: &str) -> String {
    let is_key = |line: &str| line.starts_with(|c: char| c.is_ascii_alphabetic());
    let variables = text.lines().skip_while(|line| !line.starts_with("variables:"));
    let mut variables = variables.enumerate().take_while(|(at, line)| *at == 0 || !is_key(line));
    let variables = variables.by_ref().map(|(_, line)| format!("{line}\n")).collect::<String>();
    let expression = expression.replace('\n', " ");
    format!(
        "{variables}deny:\n- code: {CODE}\n  when: \"true\"\n  message_expression: |\n    string({expression})\n"
    )
}

/// The module with another `evaluate`. Names of the module are seen where its own is declared as usual.
fn javascript(text: &str, expression: &str) -> String {
    let declared =
        ["export function evaluate", "export async function evaluate", "export const evaluate"];
    let own = declared.iter().find(|declared| text.contains(**declared));
    let text = match own {
        Some(own) => text.replacen(own, own.trim_start_matches("export "), 1),
        None => text.replace("export ", ""),
    };
    format!(
        "{text}\nimport {{ deny as countersignDeny }} from 'countersign';\n\
         function countersignShown(key, value) {{\n  return typeof value === 'bigint' ? `${{value}}n` : value;\n}}\n\
         function countersignEvaluate(settings, run, token) {{\n  const value = ({expression}\n  );\n\
         \x20 return countersignDeny('{CODE}', JSON.stringify(value, countersignShown) ?? String(value));\n}}\n\
         export {{ countersignEvaluate as evaluate }};\n"
    )
}

fn python(text: &str, expression: &str) -> String {
    format!(
        "{text}\n\nfrom countersign import deny as countersign_deny\n\n\ndef evaluate(settings, run, token):\n\
         \x20   return countersign_deny(\"{CODE}\", repr({expression}))\n"
    )
}
