//! The variables of expressions: `run`, `token` and `data`, with the contract's names in underscores.

use std::collections::HashMap;

use cel::ExecutionError;
use cel::common::traits::Indexer;
use cel::common::types::{CelInt, CelList, CelMap, CelMapKey, CelString, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use countersign_policy::{BuildingBlock, Definition, Fact, Parent, Run, Token, Trigger};

/// The variables of one evaluation.
pub struct Claims<'c> {
    pub run: &'c Run,
    pub token: &'c Token,
    pub data: &'c dyn Val,
}

impl VariableResolver for Claims<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "run" => Some(CowVal::owned(Record::Run(self.run))),
            "token" => Some(CowVal::owned(Record::Token(self.token))),
            "data" => Some(CowVal::Borrowed(self.data)),
            // A whole path is asked for first: the commonest ones without the records between.
            "run.building_block.workspace" => Some(text(&self.run.building_block.workspace)),
            "run.definition.workspace" => Some(text(&self.run.definition.workspace)),
            "run.definition.id" => Some(text(&self.run.definition.id)),
            "run.behavior" => Some(text(self.run.behavior.as_str())),
            "token.ttl_seconds" => Some(number(self.token.ttl_seconds.into())),
            _ => None,
        }
    }
}

/// A part of the claims, whose fields are read when they are asked for.
#[derive(Debug, Clone, Copy)]
pub enum Record<'c> {
    Run(&'c Run),
    BuildingBlock(&'c BuildingBlock),
    Parent(&'c Parent),
    Definition(&'c Definition),
    Trigger(&'c Trigger),
    Token(&'c Token),
}

static RUN: Type = Type::new_unspecified_type("run");
static BUILDING_BLOCK: Type = Type::new_unspecified_type("building_block");
static PARENT: Type = Type::new_unspecified_type("parent");
static DEFINITION: Type = Type::new_unspecified_type("definition");
static TRIGGER: Type = Type::new_unspecified_type("trigger");
static TOKEN: Type = Type::new_unspecified_type("token");

/// The fields of a record, by the name of its type; `None` for another type.
pub fn fields(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "run" => &[
            "id",
            "number",
            "behavior",
            "building_block",
            "definition",
            "trigger",
            "runner",
            "facts",
        ],
        "building_block" => &["id", "workspace", "project", "platform", "parents"],
        "parent" => &["building_block", "definition"],
        "definition" => &["id", "workspace", "version", "implementation"],
        "trigger" => &["author", "author_kind", "reason"],
        "token" => &["subject", "audiences", "ttl_seconds", "issued_at"],
        _ => return None,
    })
}

impl<'c> Record<'c> {
    fn field<'b, 'v>(self, name: &str) -> Option<CowVal<'b, 'v>>
    where
        'c: 'v,
    {
        let optional = |value: &'c Option<String>| value.as_deref().map(text);
        match self {
            Self::Run(run) => match name {
                "id" => Some(text(&run.id)),
                "number" => Some(number(run.number)),
                "behavior" => Some(text(run.behavior.as_str())),
                "building_block" => Some(CowVal::owned(Record::BuildingBlock(&run.building_block))),
                "definition" => Some(CowVal::owned(Record::Definition(&run.definition))),
                "trigger" => {
                    run.trigger.as_ref().map(|trigger| CowVal::owned(Record::Trigger(trigger)))
                }
                "runner" => optional(&run.runner),
                "facts" => Some(facts(&run.facts)),
                _ => None,
            },
            Self::BuildingBlock(block) => match name {
                "id" => Some(text(&block.id)),
                "workspace" => Some(text(&block.workspace)),
                "project" => optional(&block.project),
                "platform" => optional(&block.platform),
                "parents" => Some(list(&block.parents, |parent| Box::new(Record::Parent(parent)))),
                _ => None,
            },
            Self::Parent(parent) => match name {
                "building_block" => Some(text(&parent.building_block)),
                "definition" => Some(text(&parent.definition)),
                _ => None,
            },
            Self::Definition(definition) => match name {
                "id" => Some(text(&definition.id)),
                "workspace" => Some(text(&definition.workspace)),
                "version" => Some(number(definition.version)),
                "implementation" => Some(text(definition.implementation.as_str())),
                _ => None,
            },
            Self::Trigger(trigger) => match name {
                "author" => Some(text(&trigger.author)),
                "author_kind" => Some(text(trigger.author_kind.as_str())),
                "reason" => optional(&trigger.reason),
                _ => None,
            },
            Self::Token(token) => match name {
                "subject" => Some(text(&token.subject)),
                "audiences" => Some(list(&token.audiences, |audience| {
                    Box::new(CelString::from(audience.as_str()))
                })),
                "ttl_seconds" => Some(number(token.ttl_seconds.into())),
                "issued_at" => Some(number(token.issued_at)),
                _ => None,
            },
        }
    }
}

impl Val for Record<'_> {
    fn get_type(&self) -> &Type {
        match self {
            Self::Run(_) => &RUN,
            Self::BuildingBlock(_) => &BUILDING_BLOCK,
            Self::Parent(_) => &PARENT,
            Self::Definition(_) => &DEFINITION,
            Self::Trigger(_) => &TRIGGER,
            Self::Token(_) => &TOKEN,
        }
    }

    fn cel_type() -> &'static Type {
        &RUN
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Record<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = index.downcast_ref::<CelString>().map(CelString::inner).unwrap_or_default();
        self.field(name).ok_or_else(|| ExecutionError::no_such_key(name))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

fn text<'b, 'v>(text: &'v str) -> CowVal<'b, 'v> {
    CowVal::owned(CelString::from(text))
}

/// The contract's numbers are below 2^53.
fn number<'b, 'v>(number: u64) -> CowVal<'b, 'v> {
    CowVal::owned(CelInt::from(i64::try_from(number).unwrap_or(i64::MAX)))
}

fn list<'b, 'v, T>(items: &'v [T], value: impl Fn(&'v T) -> Box<dyn Val + 'v>) -> CowVal<'b, 'v> {
    CowVal::owned(CelList::from(items.iter().map(value).collect::<Vec<_>>()))
}

fn facts<'b, 'v>(facts: &'v [Fact]) -> CowVal<'b, 'v> {
    let member = |fact: &'v Fact| -> (CelMapKey<'v>, Box<dyn Val + 'v>) {
        let name = CelMapKey::String(CelString::from(fact.name.as_str()));
        (name, Box::new(CelString::from(fact.value.as_str())))
    };
    CowVal::owned(CelMap::from(facts.iter().map(member).collect::<HashMap<_, _>>()))
}
