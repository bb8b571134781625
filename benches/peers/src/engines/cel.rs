//! CEL, with `cel`.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use countersign::Claims;

use super::{Answer, Peer};
use crate::facts::{self, Form};
use crate::rules::Rules;

const OWN: &str = "run.building_block.workspace == run.definition.workspace";

const IN_ALSO: &str = "run.building_block.workspace in also";

const LESSER: &str = "(token.ttl_seconds < also_max_ttl ? token.ttl_seconds : also_max_ttl)";

const OWN_OR_ALSO: &str = "(run.building_block.workspace == run.definition.workspace \
    || run.building_block.workspace in also)";

const ALLOWED_CONSUMERS: &str = "run.building_block.workspace in workspaces";

const CEILING: &str =
    "(!(run.behavior in ceilings) || token.ttl_seconds <= ceilings[run.behavior])";

const AUDIENCES_SET: &str = "run.definition.implementation in audiences";

const AUDIENCE: &str = "(!(run.definition.implementation in audiences) \
    || token.audiences.exists(a, a in audiences[run.definition.implementation]))";

const AUTHOR_KNOWN: &str = "(!(run.behavior in triggers) || has(run.trigger))";

const TRIGGER: &str = "(!(run.behavior in triggers) || !has(run.trigger) \
    || run.trigger.author_kind in triggers[run.behavior])";

/// `cel`: makes variables from the claims in a scope of their own, and runs the program.
pub struct Cel {
    program: Program,
    data: Context<'static, 'static>,
}

/// Its values.
enum Values {}

impl Form for Values {
    type Value = Value;

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    fn number(number: i64) -> Value {
        Value::Int(number)
    }

    fn list(items: Vec<Value>) -> Value {
        Value::List(Arc::new(items))
    }

    fn record(members: Vec<(&'static str, Value)>) -> Value {
        map(members.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }
}

impl Cel {
    /// The rules in CEL.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let refused = |rule: &str, code: &str| format!("({rule} ? [] : ['{code}'])");
        let program = match rules {
            Rules::OwnWorkspace => format!("{OWN} ? token.ttl_seconds : ['foreign-workspace']"),
            Rules::SameWorkspace(_) => {
                format!("{OWN} ? token.ttl_seconds : {IN_ALSO} ? {LESSER} : ['foreign-workspace']")
            }
            Rules::AllowedConsumers(_) => {
                format!("{ALLOWED_CONSUMERS} ? token.ttl_seconds : ['workspace-not-listed']")
            }
            Rules::Five { .. } => {
                let rules = [
                    (OWN_OR_ALSO, "foreign-workspace"),
                    (ALLOWED_CONSUMERS, "workspace-not-listed"),
                    (CEILING, "ttl-above-ceiling"),
                    (AUDIENCES_SET, "no-audiences-set"),
                    (AUDIENCE, "audience-not-used"),
                    (AUTHOR_KNOWN, "author-not-known"),
                    (TRIGGER, "author-not-allowed"),
                ];
                let all = rules.map(|(rule, _)| rule).join(" && ");
                let reasons = rules.map(|(rule, code)| refused(rule, code)).join(" + ");
                format!("{all} ? ({OWN} ? token.ttl_seconds : {LESSER}) : {reasons}")
            }
        };
        let mut data = Context::default();
        for (name, json) in rules.data() {
            data.add_variable_from_value(name, value(json));
        }
        Self { program: Program::compile(&program).expect("CEL"), data }
    }
}

impl Peer for Cel {
    type Input = Claims;

    fn input(&self, claims: &Claims) -> Claims {
        claims.clone()
    }

    fn decide(&mut self, claims: Claims) -> Answer {
        let mut scope = self.data.new_inner_scope();
        scope.add_variable_from_value("run", facts::run::<Values>(&claims));
        scope.add_variable_from_value("token", facts::token::<Values>(&claims));
        match self.program.execute(&scope).expect("a decision") {
            Value::Int(lifetime) => Answer::Admitted(u32::try_from(lifetime).expect("a lifetime")),
            Value::List(codes) => {
                let codes = codes.iter().map(|code| match code {
                    Value::String(code) => code.to_string(),
                    other => panic!("{other:?}"),
                });
                Answer::new(codes, [])
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The data of rules, which is objects, numbers and true.
fn value(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Bool(bool) => Value::Bool(bool),
        serde_json::Value::Number(number) => Value::Int(number.as_i64().expect("a small number")),
        serde_json::Value::Object(members) => {
            map(members.into_iter().map(|(name, json)| (name, value(json))))
        }
        other => panic!("{other}"),
    }
}

fn map(members: impl IntoIterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> =
        members.into_iter().map(|(name, value)| (Key::String(Arc::new(name)), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}
