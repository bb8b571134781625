//! `countersign policy eval`

mod expression;

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{
    Binding, BindingConfig, BindingName, ClaimField, Claims, Decision, FieldForm, FieldValue, Mode,
    Optimization, Policy, PolicySet, Scope,
};
use countersign_authoring::Cases;
use countersign_deployment::engine;
use serde::Serialize;
use serde_json::{Map, Value};

use super::build::words::contract_word;
use super::folder::FolderArguments;
use super::language::Language;
use crate::cache::CacheArguments;
use crate::output::{self, DIM, Exit, Format, STRONG, Styled, one_line};
use crate::progress;

/// The request of a run that no case changes.
const UNCHANGED: &str = "[[case]]\nname = \"run.json\"\nexpect = \"abstain\"\n";

/// Evaluate a policy, or an expression in its language, on a run
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy eval                                      # the policy on run.json
  countersign policy eval --case 'a stranger is denied'        # on the run of a case
  countersign policy eval -e 'owner in data.also'              # a value, in Rego
  countersign policy eval -e 'run.trigger?.authorKind ?? null' # in JavaScript

Without --expression, prints the verdict and what the policy saw: each field with the value that it has in the policy.
With one, prints its value as JSON, cut after 950 bytes. An expression sees what the policy's text sees at its end:
`run`, `token` and `settings` (in Rego `input` and `data`), and the names of the file. In Cedar it is a condition, and true
or false; in CEL a text, a number or a truth value. Policies in Rust and for CPython have no expressions.

The run is that of a case, with its facts, token, settings and data, or run.json. The policy is evaluated as
`countersign policy test` evaluates it.

The JSON has `verdict` and `detail`, as a case of `countersign policy test`, and `claims` by the contract's paths; with an
expression `value`, which is null where it has none in Rego, and `defined`.

Exit status: 0 evaluated, 1 anything else, a fault included.")]
pub(super) struct Eval {
    #[command(flatten)]
    folder: FolderArguments,

    /// The expression, in the policy's language
    #[arg(long, short, value_name = "EXPRESSION")]
    expression: Option<String>,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct PrintedVerdict {
    policy: String,
    verdict: String,
    detail: Vec<String>,
    claims: Map<String, Value>,
}

#[derive(Serialize)]
struct PrintedValue {
    defined: bool,
    value: Value,
}

impl Eval {
    pub(super) fn run(&self) -> Result<Exit> {
        let mut folder = self.folder.read()?;
        let is_selected = !self.folder.selected().is_empty();
        if !is_selected {
            let claims = std::mem::take(&mut folder.cases.claims);
            folder.cases = Cases::parse(UNCHANGED)?;
            folder.cases.claims = claims;
        }
        let [case] = folder.cases.case.as_slice() else {
            bail!("--case: expected the name of one case of `[[case]]`");
        };
        let (input, mut settings) = (case.input(&folder.run)?, case.settings(&folder.settings)?);
        if let Some(expression) = &self.expression {
            settings =
                expression::settings(Language::of(self.folder.folder())?, &settings, expression)?;
        }
        let engine = engine::engine_without_check(Optimization::None, self.cache.open()?)?;
        let decision = progress::with_spinner("evaluating", || {
            let policy = Policy::load(&engine, &folder.component, &folder.limits)?;
            let config = BindingConfig {
                name: BindingName::parse("eval")?,
                settings,
                scope: Scope::All,
                mode: Mode::Enforce,
                may_permit: true,
                limits: folder.limits,
                claims: folder.cases.claims.clone(),
            };
            let set = PolicySet::new(vec![Binding::prepare(Arc::new(policy), config)?])?;
            anyhow::Ok(set.evaluate(input.claims()?))
        })?;
        match self.expression {
            Some(_) => self.print_value(&decision, Language::of(self.folder.folder())?),
            None => self.print_verdict(&decision),
        }
    }

    fn print_value(&self, decision: &Decision, language: Language) -> Result<Exit> {
        let entry = decision.trace().first().context("the policy was not evaluated")?;
        let value = match &entry.result {
            Ok(verdict) => expression::value(verdict, language),
            Err(fault) => bail!("the expression ends in the fault {}: {fault}", fault.code()),
        };
        match self.format {
            Format::Human => {
                let shown = value.as_deref().unwrap_or("undefined");
                output::print(&format!("{}\n", one_line(shown)))?;
            }
            Format::Json => {
                let defined = value.is_some();
                // A value that was cut, or is no JSON, is a text.
                let value = value.map_or(Value::Null, |text| {
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                });
                output::print_json(&PrintedValue { defined, value })?;
            }
        }
        Ok(Exit::Success)
    }

    fn print_verdict(&self, decision: &Decision) -> Result<Exit> {
        let entry = decision.trace().first().context("the policy was not evaluated")?;
        let (verdict, detail) = countersign_authoring::verdict_text(&entry.result);
        let identity = &entry.binding;
        let printed = PrintedVerdict {
            policy: format!("{} {}", identity.policy_name, identity.policy_version),
            verdict,
            detail,
            claims: claims(decision.claims()),
        };
        match self.format {
            Format::Json => output::print_json(&printed)?,
            Format::Human => output::print(&text(&printed))?,
        }
        Ok(if entry.result.is_ok() { Exit::Success } else { Exit::Failed })
    }
}

fn text(printed: &PrintedVerdict) -> String {
    let mut text = format!("{}\n", Styled(STRONG, one_line(&printed.policy)));
    // Writing to a string does not fail.
    let _ = writeln!(text, "  {}", one_line(&printed.verdict));
    for line in &printed.detail {
        let _ = writeln!(text, "  {}", one_line(line));
    }
    let _ = writeln!(text, "\nfor");
    for (path, value) in &printed.claims {
        let _ = writeln!(
            text,
            "  {} {}",
            Styled(DIM, format!("{path:<31}")),
            one_line(&value.to_string())
        );
    }
    text
}

/// The claims by their paths, with the values that a policy sees.
fn claims(claims: &Claims) -> Map<String, Value> {
    let fields = ClaimField::ALL.iter();
    fields.map(|field| (field.path().to_owned(), value(*field, claims))).collect()
}

fn value(field: ClaimField, claims: &Claims) -> Value {
    let is_word = matches!(field.form(), FieldForm::Word(_));
    match field.get(claims) {
        FieldValue::Absent => Value::Null,
        FieldValue::Text(word) if is_word => contract_word(word).into(),
        FieldValue::Text(text) => text.into(),
        FieldValue::Number(number) => number.into(),
        FieldValue::Texts(texts) => texts.into(),
        FieldValue::Parents(parents) => {
            let parent = |parent: &countersign::Parent| {
                serde_json::json!({
                    "building-block": parent.building_block.as_str(),
                    "definition": parent.definition.as_str(),
                })
            };
            parents.iter().map(parent).collect()
        }
        FieldValue::Facts(facts) => {
            let facts = facts.iter().map(|(name, value)| (name.as_str().to_owned(), value.into()));
            Value::Object(facts.collect())
        }
    }
}
