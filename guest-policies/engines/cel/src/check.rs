//! Checks expressions before they decide: what they name has to be there, and types have to fit.
//!
//! Each node is evaluated on its own, with values of a sample in place of its parts, on both sides of `&&`, `||` and `?:`.
//! Claims have one type whatever their value, so an operator that does not take the sample's types takes no run's. What
//! `data` holds, and what is made of it, has any type.

use cel::common::ast::{
    CallExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, SelectExpr, operators,
};
use cel::common::types::{CelBool, CelList, CelMap, CelMapKey, Kind};
use cel::common::value::Val;
use cel::{Context, ExecutionError, Value};

use engine_shared::words;

use crate::claims::fields;
use crate::expression::{describe, fields_of, kind};
use crate::{regexes, times};

/// A node and what is wrong with it.
pub type Problem = (u64, String);

/// The value that a part has on the sample; `None` where it could have any type.
pub type Sample<'v> = Option<Box<dyn Val + 'v>>;

/// The names of the engine, which no variable of a comprehension may have.
const OWN: [&str; 4] = ["run", "token", "data", "variables"];

/// The name of the n-th part of a node, while it is evaluated.
const PARTS: [&str; 4] = ["@0", "@1", "@2", "@3"];

/// The names, functions and types that expressions are checked against.
pub struct Checker<'c, 'p, 'v> {
    /// With the sample's claims.
    pub context: &'c Context<'p, 'v>,
    /// The variables of the policy that are defined so far, with their values.
    pub variables: &'c [(String, Sample<'v>)],
    /// The names that `data` has.
    pub data: &'c CelMap<'static>,
}

/// The variables of the comprehensions around a node.
struct Locals<'l, 'v> {
    name: &'l str,
    value: Sample<'v>,
    outer: Option<&'l Locals<'l, 'v>>,
}

impl<'v> Locals<'_, 'v> {
    fn find(&self, name: &str) -> Option<&Sample<'v>> {
        if self.name == name {
            return Some(&self.value);
        }
        self.outer.and_then(|outer| outer.find(name))
    }
}

impl<'v> Checker<'_, '_, 'v> {
    /// Checks an expression, and gives its value on the sample.
    pub fn check(&self, root: &IdedExpr) -> Result<Sample<'v>, Problem> {
        let tested = fields_of(root, "data", true);
        for name in fields_of(root, "data", false) {
            let is_there = self.data.contains_key(&CelMapKey::String(name.into()));
            if !is_there && !tested.contains(&name) {
                return Err((
                    root.id,
                    format!("`data` has no `{name}`; test what may be absent by has()"),
                ));
            }
        }
        self.node(root, None)
    }

    fn node(
        &self,
        node: &IdedExpr,
        locals: Option<&Locals<'_, 'v>>,
    ) -> Result<Sample<'v>, Problem> {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => self.evaluate(node.id, node.expr.clone(), &[]),
            Expr::Ident(name) => match locals.and_then(|locals| locals.find(name)) {
                Some(value) => Ok(value.clone()),
                None if name == "data" => Ok(None),
                None if name == "variables" => {
                    Err((node.id, "`variables` is no value; name one of them".to_owned()))
                }
                None => self.evaluate(node.id, node.expr.clone(), &[]),
            },
            Expr::Select(select) => self.select(node, select, locals),
            Expr::Call(call) => self.call(node, call, locals),
            Expr::List(list) => {
                let mut items = Vec::new();
                for item in &list.elements {
                    items.push(self.node(item, locals)?);
                }
                if !list.optional_indices.is_empty() {
                    return Ok(None);
                }
                let items: Option<Vec<_>> = items.into_iter().collect();
                Ok(items.map(|items| Box::new(CelList::from(items)) as Box<dyn Val + 'v>))
            }
            Expr::Map(map) => {
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.node(&entry.key, locals)?;
                        self.node(&entry.value, locals)?;
                    }
                }
                Ok(None)
            }
            Expr::Struct(message) => {
                Err((node.id, format!("there is no message type `{}`", message.type_name)))
            }
            Expr::Comprehension(comprehension) => {
                for name in std::iter::once(&comprehension.iter_var).chain(&comprehension.iter_var2)
                {
                    if OWN.contains(&name.as_str()) {
                        return Err((
                            node.id,
                            format!("`{name}` is taken; give the item another name"),
                        ));
                    }
                }
                let range = self.node(&comprehension.iter_range, locals)?;
                let value = match range.as_deref() {
                    None => None,
                    Some(range) => self.item(node.id, range)?,
                };
                let item = Locals { name: &comprehension.iter_var, value, outer: locals };
                let start = self.node(&comprehension.accu_init, locals)?;
                let sum =
                    Locals { name: &comprehension.accu_var, value: start, outer: Some(&item) };
                self.node(&comprehension.loop_cond, Some(&sum))?;
                let value = self.node(&comprehension.loop_step, Some(&sum))?;
                let sum = Locals { name: &comprehension.accu_var, value, outer: locals };
                self.node(&comprehension.result, Some(&sum))
            }
        }
    }

    /// A value of a list or a map, if they all have one type.
    fn item(&self, node: u64, range: &(dyn Val + 'v)) -> Result<Sample<'v>, Problem> {
        let Some(items) = range.as_iterable() else {
            let message = format!("expected a list or a map, found {}", kind(range));
            return Err((node, message));
        };
        let mut items = items.iter();
        let Some(first) = items.next() else { return Ok(None) };
        while let Some(other) = items.next() {
            if other.get_type() != first.get_type() {
                return Ok(None);
            }
        }
        Ok(Some(first.clone_as_boxed()))
    }

    fn select(
        &self,
        node: &IdedExpr,
        select: &SelectExpr,
        locals: Option<&Locals<'_, 'v>>,
    ) -> Result<Sample<'v>, Problem> {
        if let Expr::Ident(name) = &select.operand.expr
            && name == "variables"
        {
            let found = self.variables.iter().find(|(name, _)| *name == select.field);
            return match found {
                Some(_) if select.test => Ok(Some(Box::new(CelBool::from(true)))),
                Some((_, value)) => Ok(value.clone()),
                None => Err((node.id, format!("`{}` is no variable above", select.field))),
            };
        }
        let Some(operand) = self.node(&select.operand, locals)? else { return Ok(None) };
        if let Some(fields) = fields(kind(operand.as_ref()))
            && !fields.contains(&select.field.as_str())
        {
            let message = format!(
                "`{}` has no `{}`, expected one of `{}`",
                kind(operand.as_ref()),
                select.field,
                fields.join("`, `")
            );
            return Err((node.id, message));
        }
        let select = SelectExpr {
            operand: Box::new(part(0)),
            field: select.field.clone(),
            test: select.test,
        };
        self.evaluate(node.id, Expr::Select(select), &[operand])
    }

    fn call(
        &self,
        node: &IdedExpr,
        call: &CallExpr,
        locals: Option<&Locals<'_, 'v>>,
    ) -> Result<Sample<'v>, Problem> {
        // `optional.of(x)` is a function of that name.
        let target = match call.target.as_deref() {
            Some(target) if self.is_namespace(target) => None,
            target => target,
        };
        let mut values = Vec::new();
        for part in target.into_iter().chain(&call.args) {
            values.push(self.node(part, locals)?);
        }
        let name = call.func_name.as_str();
        if let Some(problem) = times::problem(name, &call.args) {
            return Err(problem);
        }
        match (name, values.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT, parts) => {
                for (part, value) in call.args.iter().zip(parts) {
                    expect_bool(part, value)?;
                }
                return Ok(Some(Box::new(CelBool::from(true))));
            }
            (operators::NOT_STRICTLY_FALSE, _) => {
                return Ok(Some(Box::new(CelBool::from(true))));
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                if let Some(part) = call.args.first() {
                    expect_bool(part, condition)?;
                }
                return Ok(match (yes, no) {
                    (Some(yes), Some(no)) if yes.get_type() == no.get_type() => Some(yes.clone()),
                    _ => None,
                });
            }
            (operators::EQUALS | operators::NOT_EQUALS, [Some(left), Some(right)]) => {
                self.comparable(node, call, left.as_ref(), right.as_ref())?;
            }
            (operators::IN, [Some(left), Some(right)]) => {
                self.within(node, call, left.as_ref(), right.as_ref())?;
            }
            ("matches", _) => {
                if let Some(Expr::Literal(LiteralValue::String(pattern))) =
                    call.args.last().map(|pattern| &pattern.expr)
                {
                    regexes::with(pattern.inner(), |_| ()).map_err(|error| (node.id, error))?;
                }
            }
            ("dyn", [_]) => return Ok(None),
            _ => {}
        }
        let known: Option<Vec<_>> = values.iter().cloned().collect();
        match known {
            Some(known) if known.len() <= PARTS.len() => {
                let first = usize::from(target.is_some());
                let call = CallExpr {
                    func_name: call.func_name.clone(),
                    target: match target {
                        Some(_) => Some(Box::new(part(0))),
                        None => call.target.clone(),
                    },
                    args: (first..known.len()).map(part).collect(),
                };
                self.evaluate(node.id, Expr::Call(call), &known)
            }
            _ => self.declared(node.id, call).map(|()| None),
        }
    }

    fn is_namespace(&self, target: &IdedExpr) -> bool {
        matches!(&target.expr, Expr::Ident(name) if name == "optional")
    }

    /// Calls a function without its arguments: the error tells one that does not take them from one that is not there.
    fn declared(&self, node: u64, call: &CallExpr) -> Result<(), Problem> {
        // Operators are not functions in the environment.
        if !call.func_name.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Ok(());
        }
        let is_namespace = call.target.as_deref().is_some_and(|target| self.is_namespace(target));
        let target = match &call.target {
            Some(target) if is_namespace => Some(target.clone()),
            Some(_) => {
                Some(Box::new(IdedExpr { id: 0, expr: Expr::List(ListExpr::new(Vec::new())) }))
            }
            None => None,
        };
        let empty = CallExpr { func_name: call.func_name.clone(), target, args: Vec::new() };
        match Value::resolve_val(&IdedExpr { id: 0, expr: Expr::Call(empty) }, self.context) {
            Err(error @ ExecutionError::UndeclaredReference(_)) => Err((node, describe(&error))),
            _ => Ok(()),
        }
    }

    /// Two values that could never be equal are a mistake, and so is a word that a closed list does not have.
    fn comparable(
        &self,
        node: &IdedExpr,
        call: &CallExpr,
        left: &dyn Val,
        right: &dyn Val,
    ) -> Result<(), Problem> {
        if !could_equal(left, right) {
            let message = format!("{} is never equal to {}", kind(left), kind(right));
            return Err((node.id, message));
        }
        if let [left, right] = call.args.as_slice() {
            word(left, right)?;
            word(right, left)?;
        }
        Ok(())
    }

    fn within(
        &self,
        node: &IdedExpr,
        call: &CallExpr,
        left: &(dyn Val + 'v),
        right: &(dyn Val + 'v),
    ) -> Result<(), Problem> {
        if let Some(list) = right.downcast_ref::<CelList>()
            && !list.inner().is_empty()
            && !list.inner().iter().any(|item| could_equal(left, item.as_ref()))
        {
            let message = format!("the list has no {}", kind(left));
            return Err((node.id, message));
        }
        if let [left, right] = call.args.as_slice()
            && let Expr::List(list) = &right.expr
        {
            for item in &list.elements {
                word(left, item)?;
            }
        }
        Ok(())
    }

    /// Evaluates one node, with the values of its parts.
    fn evaluate(
        &self,
        id: u64,
        expr: Expr,
        parts: &[Box<dyn Val + 'v>],
    ) -> Result<Sample<'v>, Problem> {
        let mut context = self.context.new_inner_scope();
        for (name, value) in PARTS.iter().zip(parts) {
            context.add_variable_as_val(*name, value.clone());
        }
        let node = IdedExpr { id, expr };
        match Value::resolve_val(&node, &context) {
            // Whatever a map holds may be of another type in another run.
            Ok(value) => Ok(Some(value.into_owned())),
            Err(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::UndeclaredReference(_)
                | ExecutionError::UnsupportedBinaryOperator(..)
                | ExecutionError::UnsupportedIndex(..)
                | ExecutionError::UnsupportedKeyType(_)
                | ExecutionError::UnsupportedTargetType { .. }
                | ExecutionError::NotSupportedAsMethod { .. }
                | ExecutionError::InvalidArgumentCount { .. }
                | ExecutionError::MissingArgumentOrTarget
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::ValuesNotComparable(..)),
            ) => Err((id, describe(&error))),
            Err(_) => Ok(None),
        }
    }
}

fn part(index: usize) -> IdedExpr {
    let name = PARTS.get(index).copied().unwrap_or_default();
    IdedExpr { id: 0, expr: Expr::Ident(name.to_owned()) }
}

fn expect_bool(part: &IdedExpr, value: &Sample<'_>) -> Result<(), Problem> {
    match value {
        Some(value) if value.get_type().kind() != Kind::Boolean => {
            Err((part.id, format!("expected bool, found {}", kind(value.as_ref()))))
        }
        _ => Ok(()),
    }
}

fn could_equal(left: &dyn Val, right: &dyn Val) -> bool {
    let is_number =
        |value: &dyn Val| matches!(value.get_type().kind(), Kind::Int | Kind::UInt | Kind::Double);
    let is_map = |value: &dyn Val| value.downcast_ref::<CelMap>().is_some();
    left.get_type() == right.get_type()
        || is_number(left) && is_number(right)
        || is_map(left) && is_map(right)
}

/// A literal that is compared with a field of few words has to be one of them.
fn word(field: &IdedExpr, literal: &IdedExpr) -> Result<(), Problem> {
    let (Expr::Literal(LiteralValue::String(found)), Some(path)) = (&literal.expr, path(field))
    else {
        return Ok(());
    };
    match words(&path) {
        Some(words) if !words.contains(&found.inner()) => {
            let message = format!(
                "`{path}` is never `{}`, expected one of `{}`",
                found.inner(),
                words.join("`, `")
            );
            Err((literal.id, message))
        }
        _ => Ok(()),
    }
}

/// The most names of a path. No claim has more.
const MAX_NAMES: usize = 8;

/// The names of a path such as `run.definition.id`, that an expression is.
pub fn path(node: &IdedExpr) -> Option<String> {
    let (mut names, mut at) = (Vec::with_capacity(MAX_NAMES), node);
    while names.len() < MAX_NAMES {
        match &at.expr {
            Expr::Ident(name) => {
                names.push(name.as_str());
                names.reverse();
                return Some(names.join("."));
            }
            Expr::Select(select) if !select.test => {
                names.push(&select.field);
                at = &select.operand;
            }
            _ => return None,
        }
    }
    None
}
