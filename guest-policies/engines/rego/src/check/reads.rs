//! Checks references: members of `input` and `data` that are not there, and rules that are read.

use regorus::Value;
use regorus::unstable::{Expr, Ref};

use super::claims::{Claim, Unknown};
use super::index::{Shape, Step};
use super::nearest::proposal;
use super::walk::{Target, Walk};
use crate::kinds::Kinds;
use crate::tree::{self, Part, Place, Reference};

/// The most steps from a variable or a rule to what it stands for.
const MAX_ALIASES: usize = 8;

impl<'t> Walk<'_, 't> {
    /// Takes down what a reference reads.
    pub(super) fn read(&mut self, reference: &Reference<'t>, expr: &'t Ref<Expr>) {
        let Some(name) = reference.name() else { return };
        self.count_use(name);
        self.use_import(name);
        match self.target(reference) {
            Target::Local => {}
            Target::Input(path) => self.read_input(reference, &path, expr),
            Target::Data(path) => self.read_data(&path, expr),
        }
    }

    /// A replacement by `with`.
    pub(super) fn visit_modified(&mut self, refr: &'t Ref<Expr>) {
        let reference = Reference::of(refr);
        let Some(name) = reference.name() else { return };
        self.use_import(name);
        if let Target::Data(path) = self.target(&reference) {
            let read = self.index.read_by(&path);
            self.reads.extend(read);
            return;
        }
        let Some(callee) = tree::callee(refr) else { return };
        if name != "input" && !regorus::unstable::BUILTINS.contains_key(callee.as_str()) {
            let message = match crate::catalog::lookup(&callee) {
                Some(_) => format!(
                    "`{callee}` cannot be replaced by `with` in this engine; call it in a rule, and replace that"
                ),
                None => format!(
                    "`with` replaces `input`, `data`, rules and functions, and `{callee}` is none of them"
                ),
            };
            self.findings.error("with-target", Place::of_expr(refr), message);
        }
    }

    fn read_input(&mut self, reference: &Reference<'t>, path: &[Step], expr: &'t Ref<Expr>) {
        let Err(Unknown { at, before, members }) = Claim::at(path) else { return };
        let key = match path.get(at) {
            Some(Step::Key(key)) => key.clone(),
            _ => "_".to_owned(),
        };
        // The last parts are those of the text; an import has the first ones.
        let part = (reference.parts.len() + at)
            .checked_sub(path.len())
            .and_then(|at| reference.parts.get(at));
        let place = match part {
            Some(Part::Key(_, span)) => Place::of(span),
            Some(Part::Index(index)) => Place::of_expr(index),
            None => Place::of_expr(expr),
        };
        let message = if members.is_empty() {
            format!("`{before}` has no members, so `{key}` is always undefined")
        } else {
            let meant = proposal(&key, members.iter().copied());
            let list = members.join("`, `");
            format!("`{before}` has no member `{key}`, expected one of `{list}`{meant}")
        };
        self.findings.error("unknown-claim", place, message);
    }

    fn read_data(&mut self, path: &[Step], expr: &'t Ref<Expr>) {
        let read = self.index.read_by(path);
        let is_rule = !read.is_empty();
        self.reads.extend(read);
        if is_rule || path.is_empty() || self.has_data(path) {
            return;
        }
        let keys = path.iter().map_while(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Any => None,
        });
        let keys = keys.collect::<Vec<_>>();
        if self.index.packages.iter().any(|package| package.starts_with(&keys)) {
            return;
        }
        let place = Place::of_expr(expr);
        // The longest package that the path is in.
        let package = self.index.packages.iter().filter(|package| keys.starts_with(package));
        if let Some(package) = package.max_by_key(|package| package.len())
            && let Some(name) = keys.get(package.len())
        {
            let meant = proposal(name, self.index.names_in(package));
            let message = format!("package `{}` has no rule `{name}`{meant}", package.join("."));
            self.findings.error("unknown-rule", place, message);
            return;
        }
        let message = self.missing_data(&keys);
        self.findings.warn("unknown-data", place, message);
    }

    fn missing_data(&self, keys: &[String]) -> String {
        let mut value = self.index.data;
        let mut before = "data".to_owned();
        for key in keys {
            let Value::Object(members) = value else { break };
            match members.get(&Value::from(key.as_str())) {
                Some(below) => value = below,
                None => {
                    let names: Vec<&str> = members.keys().filter_map(text).collect();
                    let packages = self.index.packages.iter().filter_map(|package| package.first());
                    let packages = packages.map(String::as_str).filter(|_| before == "data");
                    let meant = proposal(key, names.into_iter().chain(packages));
                    return format!(
                        "`{before}` has no member `{key}`, so this is always undefined{meant}"
                    );
                }
            }
            before.push('.');
            before.push_str(key);
        }
        format!("`{before}` has no members, so this is always undefined")
    }

    /// Says that the document `data` has something at a path.
    fn has_data(&self, path: &[Step]) -> bool {
        let mut value = self.index.data;
        for step in path {
            let Step::Key(key) = step else { return true };
            match value {
                Value::Object(members) => match members.get(&Value::from(key.as_str())) {
                    Some(below) => value = below,
                    None => return false,
                },
                _ => return false,
            }
        }
        true
    }

    /// The expression that a variable or a rule stands for, where it stands for one.
    pub(super) fn behind<'e>(&'e self, expr: &'t Ref<Expr>) -> &'t Ref<Expr> {
        let mut expr = expr;
        for _ in 0..MAX_ALIASES {
            let Some(name) = tree::variable(expr) else { break };
            let value = match self.local(name) {
                Some(local) => local.value,
                None => self.value_of_rule(name),
            };
            match value {
                Some(value) => expr = value,
                None => break,
            }
        }
        expr
    }

    /// The value of a rule of the package that has one definition without a body.
    fn value_of_rule(&self, name: &str) -> Option<&'t Ref<Expr>> {
        use regorus::unstable::{Rule, RuleHead};
        let file = self.index.files.get(self.file)?;
        let path: Vec<String> = file.package.iter().cloned().chain([name.to_owned()]).collect();
        let group = self.index.groups.get(self.index.group(&path)?)?;
        match group.definitions.as_slice() {
            [definition] => match definition.rule {
                Rule::Spec {
                    head: RuleHead::Compr { assign: Some(assign), .. }, bodies, ..
                } if definition.shape == Shape::Complete && bodies.len() <= 1 => {
                    // With a body the value may be of its variables, which are not known here.
                    let is_constant =
                        bodies.is_empty() || !matches!(assign.value.as_ref(), Expr::Var { .. });
                    is_constant.then_some(&assign.value)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The claim that an expression is.
    pub(super) fn claim(&self, expr: &'t Ref<Expr>) -> Option<&'static Claim> {
        let reference = Reference::of(self.behind(expr));
        let name = reference.name()?;
        // A variable in front of parts may itself stand for a part of `input`.
        let mut path: Vec<Step> = match self.target(&reference) {
            Target::Input(path) => return Claim::at(&path).ok().flatten(),
            Target::Local => self.local(name)?.value.map(|value| self.input_path(value))??,
            Target::Data(_) => self.value_of_rule(name).map(|value| self.input_path(value))??,
        };
        path.extend(reference.parts.iter().map(|part| match part {
            Part::Key(key, _) => Step::Key((*key).to_owned()),
            Part::Index(_) => Step::Any,
        }));
        Claim::at(&path).ok().flatten()
    }

    fn input_path(&self, expr: &'t Ref<Expr>) -> Option<Vec<Step>> {
        match self.target(&Reference::of(self.behind(expr))) {
            Target::Input(path) => Some(path),
            Target::Local | Target::Data(_) => None,
        }
    }

    /// The kinds that the value of an expression can have, as far as they are known.
    pub(super) fn kinds(&self, expr: &'t Ref<Expr>) -> Kinds {
        let expr = self.behind(expr);
        match expr.as_ref() {
            Expr::String { .. } | Expr::RawString { .. } => Kinds::TEXT,
            Expr::Number { .. } | Expr::UnaryExpr { .. } => Kinds::NUMBER,
            Expr::BinExpr { .. } => Kinds::SET,
            Expr::Bool { .. } | Expr::BoolExpr { .. } | Expr::Membership { .. } => Kinds::BOOLEAN,
            Expr::Null { .. } => Kinds::NULL,
            Expr::Array { .. } | Expr::ArrayCompr { .. } => Kinds::ARRAY,
            Expr::Set { .. } | Expr::SetCompr { .. } => Kinds::SET,
            Expr::Object { .. } | Expr::ObjectCompr { .. } => Kinds::OBJECT,
            Expr::Call { fcn, params, .. } => self.kinds_of_call(fcn, params),
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
                if let Some(claim) = self.claim(expr) {
                    return claim.kinds();
                }
                self.kinds_of_data(expr)
            }
            _ => Kinds::ANY,
        }
    }

    /// The kinds of a reference below `data`: a set where its rule is one.
    fn kinds_of_data(&self, expr: &'t Ref<Expr>) -> Kinds {
        let Target::Data(path) = self.target(&Reference::of(expr)) else { return Kinds::ANY };
        let keys: Option<Vec<String>> = path
            .into_iter()
            .map(|step| match step {
                Step::Key(key) => Some(key),
                Step::Any => None,
            })
            .collect();
        let group =
            keys.and_then(|keys| self.index.group(&keys)).and_then(|at| self.index.groups.get(at));
        match group.and_then(|group| group.definitions.first()).map(|definition| definition.shape) {
            Some(Shape::Set) => Kinds::SET,
            Some(Shape::Object) => Kinds::OBJECT,
            Some(Shape::Complete | Shape::Function(_)) | None => Kinds::ANY,
        }
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}
