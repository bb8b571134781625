//! CEL by `cel`.

use std::collections::HashMap;
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use countersign::Claims;

use super::{Answer, Peer};
use crate::facts::{self, Form};
use crate::rules::{AUDIENCES, CEILINGS, Rules, TRIGGERS};

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

/// `cel`: variables are made of the claims in a scope of their own, and the program is run.
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
        let set = |list: &[String]| map(list.iter().map(|name| (name.clone(), Value::Bool(true))));
        let refused = |rule: &str, code: &str| format!("({rule} ? [] : ['{code}'])");
        let foreign = refused(OWN_OR_ALSO, "foreign-workspace");
        let unlisted = refused(ALLOWED_CONSUMERS, "workspace-not-listed");
        let (program, data) = match rules {
            Rules::OwnWorkspace => (
                "run.building_block.workspace == run.definition.workspace \
                    ? token.ttl_seconds : ['foreign-workspace']"
                    .to_owned(),
                vec![],
            ),
            Rules::SameWorkspace(also) => (
                format!("{OWN} ? token.ttl_seconds : {IN_ALSO} ? {LESSER} : ['foreign-workspace']"),
                vec![
                    ("also", set(&also.workspaces)),
                    ("also_max_ttl", Value::Int(also.max_ttl.into())),
                ],
            ),
            Rules::AllowedConsumers(list) => (
                format!("{ALLOWED_CONSUMERS} ? token.ttl_seconds : {unlisted}"),
                vec![("workspaces", set(list))],
            ),
            Rules::Five { also, workspaces } => {
                let audiences = set(&AUDIENCES.map(str::to_owned));
                let ceilings = CEILINGS
                    .iter()
                    .map(|(name, most)| ((*name).to_owned(), Value::Int((*most).into())));
                let triggers = TRIGGERS.iter().map(|(name, kinds)| {
                    let kinds: Vec<_> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
                    ((*name).to_owned(), set(&kinds))
                });
                let data = vec![
                    ("also", set(&also.workspaces)),
                    ("also_max_ttl", Value::Int(also.max_ttl.into())),
                    ("workspaces", set(workspaces)),
                    ("ceilings", map(ceilings)),
                    ("audiences", map([("terraform".to_owned(), audiences)])),
                    ("triggers", map(triggers)),
                ];
                let all = [
                    OWN_OR_ALSO,
                    ALLOWED_CONSUMERS,
                    CEILING,
                    AUDIENCES_SET,
                    AUDIENCE,
                    AUTHOR_KNOWN,
                    TRIGGER,
                ]
                .join(" && ");
                let reasons = [
                    foreign,
                    unlisted,
                    refused(CEILING, "ttl-above-ceiling"),
                    refused(AUDIENCES_SET, "no-audiences-set"),
                    refused(AUDIENCE, "audience-not-used"),
                    refused(AUTHOR_KNOWN, "author-not-known"),
                    refused(TRIGGER, "author-not-allowed"),
                ]
                .join(" + ");
                let program = format!("{all} ? ({OWN} ? token.ttl_seconds : {LESSER}) : {reasons}");
                (program, data)
            }
        };
        let mut context = Context::default();
        for (name, value) in data {
            context.add_variable_from_value(name, value);
        }
        Self { program: Program::compile(&program).expect("CEL"), data: context }
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
            Value::Int(life) => Answer::Admitted(u32::try_from(life).expect("a life")),
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

fn map(members: impl IntoIterator<Item = (String, Value)>) -> Value {
    let map: HashMap<Key, Value> =
        members.into_iter().map(|(name, value)| (Key::String(Arc::new(name)), value)).collect();
    Value::Map(Map { map: Arc::new(map) })
}
