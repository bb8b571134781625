//! Finds the imports, names and reads of a file of a policy in the tree of its parser.

use std::collections::{BTreeMap, BTreeSet};

use engine_shared::claims::Kind;
use engine_shared::{did_you_mean, find_zone, words};
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{CmpOp, Expr, ExprCall, ExprContext, Parameter, Stmt, StmtImportFrom};
use ruff_text_size::{Ranged, TextRange};

use crate::absent::Absent;
use crate::claims::{self, Led, shown};
use crate::source::start;

/// The members of `countersign`, each with its name in the prelude.
pub const EXPORTS: [(&str, &str); 14] = [
    ("AuthorKind", "__countersign_author_kind__"),
    ("Behavior", "__countersign_behavior__"),
    ("Implementation", "__countersign_implementation__"),
    ("Problem", "__countersign_problem__"),
    ("Run", "__countersign_run__"),
    ("Token", "__countersign_token__"),
    ("Verdict", "__countersign_verdict__"),
    ("abstain", "__countersign_abstain__"),
    ("deny", "__countersign_deny__"),
    ("exported", "__countersign_exported__"),
    ("local_time", "__countersign_local_time__"),
    ("permit", "__countersign_permit__"),
    ("restrict", "__countersign_restrict__"),
    // The functions of the module are all; this is for `from countersign import *`, which is refused by its own message.
    ("*", ""),
];

/// The arguments of `permit` and `restrict`.
const GRANT_KEYS: [&str; 3] = ["max_ttl", "audiences", "claims"];
const GRANT: &str = "max_ttl, audiences and claims";

/// The modules of the standard library that the interpreter has, without those that are there for files and the system.
const MODULES: [&str; 13] = [
    "__future__",
    "base64",
    "binascii",
    "collections",
    "dataclasses",
    "datetime",
    "functools",
    "itertools",
    "json",
    "math",
    "re",
    "sys",
    "typing",
];

/// Walks through a file.
pub struct Reader<'f> {
    pub files: &'f BTreeMap<String, String>,
    /// The ranges of statements with what replaces them.
    pub edits: Vec<(TextRange, String)>,
    pub imports: Vec<(&'f str, String, usize)>,
    /// The names that are imported from `countersign`, with those that they have there.
    pub own: BTreeMap<String, String>,
    pub bound: BTreeSet<String>,
    /// The names that are bound by anything but a parameter.
    pub assigned: BTreeSet<String>,
    pub parameters: BTreeSet<String>,
    pub read: Vec<(String, usize)>,
    /// The names that are imported from the library.
    pub libraries: BTreeSet<String>,
    /// The names that anything but an import and a parameter binds.
    pub rebound: BTreeSet<String>,
    /// The paths of attributes, with the place; those that are called end in `()`.
    pub paths: Vec<(String, usize)>,
    /// The ranges of what is called.
    called: BTreeSet<(usize, usize)>,
    /// The problem if the name at the root of a path is that of the claims.
    pub claims: Vec<(String, usize, String)>,
    /// The attributes that are read of a field, on a value of its kind, if the name at the root of the path is that of the claims.
    pub methods: Vec<(String, usize, String)>,
    pub wrong: Vec<(usize, String)>,
    pub absent: Absent,
}

impl<'f> Reader<'f> {
    pub fn new(files: &'f BTreeMap<String, String>) -> Self {
        Self {
            files,
            edits: Vec::new(),
            imports: Vec::new(),
            own: BTreeMap::new(),
            bound: BTreeSet::new(),
            assigned: BTreeSet::new(),
            parameters: BTreeSet::new(),
            read: Vec::new(),
            libraries: BTreeSet::new(),
            rebound: BTreeSet::new(),
            paths: Vec::new(),
            called: BTreeSet::new(),
            claims: Vec::new(),
            methods: Vec::new(),
            wrong: Vec::new(),
            absent: Absent::default(),
        }
    }

    fn bind(&mut self, name: &str) {
        self.bound.insert(name.to_owned());
        self.assigned.insert(name.to_owned());
    }

    fn rebind(&mut self, name: &str) {
        self.rebound.insert(name.to_owned());
        self.bind(name);
    }

    fn import_from(&mut self, import: &StmtImportFrom) {
        let place = start(import.range());
        let module = import.module.as_ref().map_or("", |module| module.as_str());
        for alias in &import.names {
            let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
            self.bind(name);
            if alias.name.as_str() == "*" {
                let message =
                    format!("`from {module} import *` hides what is there; name what you import");
                self.wrong.push((place, message));
                return;
            }
        }
        if import.level == 0 && module == "countersign" {
            let mut bindings = Vec::new();
            for alias in &import.names {
                let wanted = alias.name.as_str();
                let Some((_, own)) = EXPORTS.iter().find(|(name, _)| *name == wanted) else {
                    let names: Vec<_> =
                        EXPORTS.iter().map(|(name, _)| *name).filter(|name| *name != "*").collect();
                    let message = format!(
                        "ImportError: `countersign` has no `{wanted}`, expected one of `{}`{}",
                        names.join("`, `"),
                        did_you_mean(wanted, names.iter().copied())
                    );
                    self.wrong.push((start(alias.range()), message));
                    return;
                };
                let name = alias.asname.as_ref().unwrap_or(&alias.name);
                bindings.push(format!("{name} = {own}"));
                self.own.insert(name.to_string(), wanted.to_owned());
            }
            self.edits.push((import.range(), bindings.join("; ")));
        } else if let Some(path) = self.own(import.level, module) {
            let names = import.names.iter();
            let names = names.map(|alias| (path, alias.name.to_string(), start(alias.range())));
            self.imports.extend(names);
            let renamed = import.names.iter().filter_map(|alias| {
                alias.asname.as_ref().map(|own| format!("{own} = {}", alias.name))
            });
            let renamed: Vec<_> = renamed.collect();
            let replacement =
                if renamed.is_empty() { "pass".to_owned() } else { renamed.join("; ") };
            self.edits.push((import.range(), replacement));
        } else if import.level > 0 {
            let message = format!("ImportError: there is no file `{module}.py` beside the policy");
            self.wrong.push((place, message));
        } else {
            let names = import.names.iter();
            let names = names.map(|alias| alias.asname.as_ref().unwrap_or(&alias.name).to_string());
            self.libraries.extend(names);
            self.library(module, place);
        }
    }

    /// The file of the policy that a module is.
    fn own(&self, level: u32, module: &str) -> Option<&'f str> {
        if level > 1 || module == "countersign" {
            return None;
        }
        let path = format!("{module}.py");
        self.files.get_key_value(&path).map(|(path, _)| path.as_str())
    }

    fn library(&mut self, module: &str, place: usize) {
        if !MODULES.contains(&module) {
            let message = format!(
                "ModuleNotFoundError: no module `{module}` here; policies in Python have {}, and the rest with \
                 `--runtime cpython`",
                MODULES
                    .iter()
                    .filter(|name| **name != "__future__")
                    .copied()
                    .collect::<Vec<_>>()
                    .join(", ")
            );
            self.wrong.push((place, message));
        }
    }

    /// Checks a path that begins at the claims: its fields, and the methods that are called on them.
    fn path(&mut self, expression: &Expr) -> Option<(String, String, Kind)> {
        let (root, path) = path_of(expression)?;
        let place = start(expression.range());
        match claims::follow(&root, &path) {
            Err(message) => {
                // Each longer path through the same attribute has the same problem.
                if !self.claims.iter().any(|(.., known)| *known == message) {
                    self.claims.push((root, place, message));
                }
                None
            }
            Ok(Led::To(kind)) => Some((root, path.join("."), kind)),
            Ok(Led::Beyond(kind, attribute)) => {
                let value = match kind {
                    Kind::Text => "''",
                    Kind::Number | Kind::Long => "(0)",
                    Kind::List => "[]",
                    Kind::Facts => "{}",
                    Kind::Object => return None,
                };
                let call = self.call(expression);
                self.methods.push((root, place, format!("{value}.{attribute}{call}")));
                None
            }
            Ok(Led::Elsewhere) => None,
        }
    }

    /// Checks a word that is read as a name of the contract's, such as `Behavior.APPLY`.
    fn word(&mut self, root: &str, path: &[String], place: usize) {
        let claim = match self.own.get(root).map(String::as_str) {
            Some("AuthorKind") => "run.trigger.author_kind",
            Some("Behavior") => "run.behavior",
            Some("Implementation") => "run.definition.implementation",
            _ => return,
        };
        let ([name], Some(words)) = (path, words(claim)) else { return };
        let names: Vec<_> =
            words.iter().map(|word| word.replace('-', "_").to_uppercase()).collect();
        if !names.contains(name) {
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            let names = names.join("`, `");
            let message = format!(
                "AttributeError: `{root}` has no `{name}`, expected one of `{names}`{hint}"
            );
            self.wrong.push((place, message));
        }
    }

    /// The brackets of a call, where an expression is called.
    fn call(&self, expression: &Expr) -> &'static str {
        if self.called.contains(&ends(expression)) { "()" } else { "" }
    }

    /// Checks a call of a function of `countersign`, as far as that is written in it.
    fn calls(&mut self, call: &ExprCall) {
        let Expr::Name(name) = call.func.as_ref() else { return };
        let Some(own) = self.own.get(name.id.as_str()).cloned() else { return };
        match own.as_str() {
            "permit" | "restrict" => {
                if let Some(argument) = call.arguments.args.first() {
                    let message = format!("TypeError: {own}: expected {GRANT}, by their names");
                    self.wrong.push((start(argument.range()), message));
                }
                for keyword in &call.arguments.keywords {
                    let unknown = keyword.arg.as_ref().map(|arg| arg.as_str());
                    if let Some(unknown) = unknown.filter(|name| !GRANT_KEYS.contains(name)) {
                        let hint = did_you_mean(unknown, GRANT_KEYS);
                        let message = format!(
                            "TypeError: {own}: unknown `{unknown}`, expected {GRANT}{hint}"
                        );
                        self.wrong.push((start(keyword.range()), message));
                    }
                }
            }
            "local_time" => {
                if let Some(Expr::StringLiteral(zone)) = call.arguments.args.first()
                    && let Err(message) = find_zone(zone.value.to_str())
                {
                    self.wrong.push((start(zone.range()), format!("ValueError: {message}")));
                }
            }
            _ => {}
        }
    }

    /// Checks a text that a field has to be a part of, or the other way round.
    fn sought(&mut self, root: &str, path: &str, fits: impl Fn(&str) -> bool, text: &Expr) {
        let field = format!("{root}.{path}");
        let Some(words) = words(&field).filter(|words| !words.iter().any(|word| fits(word))) else {
            return;
        };
        let words = words.join("`, `");
        let message = format!("no word of `{field}` fits this text, expected one of `{words}`");
        self.claims.push((root.to_owned(), start(text.range()), message));
    }

    /// Checks what a field is compared with: a value, or those of a list that it is sought in.
    fn compared(&mut self, field: &Expr, operator: CmpOp, other: &Expr) {
        let Some((root, path, kind)) = self.path(field) else { return };
        let is_sought = matches!(operator, CmpOp::In | CmpOp::NotIn);
        let literals: Vec<&Expr> = match other {
            Expr::List(list) if is_sought => list.elts.iter().collect(),
            Expr::Tuple(tuple) if is_sought => tuple.elts.iter().collect(),
            Expr::Set(set) if is_sought => set.elts.iter().collect(),
            Expr::StringLiteral(text) if is_sought => {
                // A text is sought as a part of another.
                return self.sought(&root, &path, |word| text.value.to_str().contains(word), other);
            }
            _ if is_sought => return,
            other => vec![other],
        };
        let field = format!("{root}.{path}");
        for literal in literals {
            let message = match (literal, words(&field)) {
                (Expr::StringLiteral(text), Some(words)) => {
                    let word = text.value.to_str();
                    if words.contains(&word) {
                        continue;
                    }
                    let hint = did_you_mean(word, words.iter().copied());
                    let words = words.join("`, `");
                    format!("`{field}` is never {word:?}, expected one of `{words}`{hint}")
                }
                (Expr::StringLiteral(_), None) if kind != Kind::Text => {
                    format!("`{field}` is {}, and never a text", shown(kind))
                }
                (Expr::NumberLiteral(_) | Expr::BooleanLiteral(_), _)
                    if !matches!(kind, Kind::Number | Kind::Long) =>
                {
                    format!("`{field}` is {}, and never a number", shown(kind))
                }
                _ => continue,
            };
            self.claims.push((root.clone(), start(literal.range()), message));
        }
    }
}

impl<'a> Visitor<'a> for Reader<'_> {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        match statement {
            Stmt::Import(import) => {
                for alias in &import.names {
                    let module = alias.name.as_str();
                    let place = start(import.range());
                    self.bind(alias.asname.as_ref().unwrap_or(&alias.name).as_str());
                    if module == "countersign" || self.own(0, module).is_some() {
                        let message =
                            format!("write `from {module} import …`, with the names that you need");
                        self.wrong.push((place, message));
                    } else {
                        let name = alias.asname.as_ref().unwrap_or(&alias.name);
                        self.libraries.insert(name.to_string());
                        self.library(module, place);
                    }
                }
            }
            Stmt::ImportFrom(import) => self.import_from(import),
            Stmt::FunctionDef(function) => self.rebind(function.name.as_str()),
            Stmt::ClassDef(class) => self.rebind(class.name.as_str()),
            Stmt::Try(attempt) => {
                let catches = !attempt.handlers.is_empty();
                if catches {
                    self.absent.trying(true);
                }
                self.visit_body(&attempt.body);
                if catches {
                    self.absent.trying(false);
                }
                for handler in &attempt.handlers {
                    let ruff_python_ast::ExceptHandler::ExceptHandler(named) = handler;
                    if let Some(name) = &named.name {
                        self.rebind(name.as_str());
                    }
                    self.visit_except_handler(handler);
                }
                self.visit_body(&attempt.orelse);
                self.visit_body(&attempt.finalbody);
                return;
            }
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    // The interpreter does not evaluate them.
    fn visit_annotation(&mut self, _: &'a Expr) {}

    fn visit_parameter(&mut self, parameter: &'a Parameter) {
        self.bound.insert(parameter.name.to_string());
        self.parameters.insert(parameter.name.to_string());
    }

    fn visit_expr(&mut self, expression: &'a Expr) {
        self.absent.takes(expression);
        match expression {
            Expr::Name(name) => match name.ctx {
                ExprContext::Load => self.read.push((name.id.to_string(), start(name.range()))),
                _ => self.rebind(name.id.as_str()),
            },
            Expr::Attribute(_) => {
                if let Some((root, path)) = path_of(expression) {
                    let call = self.call(expression);
                    let place = start(expression.range());
                    self.word(&root, &path, place);
                    self.paths.push((format!("{root}.{}{call}", path.join(".")), place));
                }
                self.path(expression);
            }
            Expr::Call(call) => {
                self.called.insert(ends(&call.func));
                self.calls(call);
            }
            Expr::Compare(compare) => {
                if let ([operator], [right]) = (&*compare.ops, &*compare.comparators)
                    && matches!(operator, CmpOp::Eq | CmpOp::NotEq | CmpOp::In | CmpOp::NotIn)
                {
                    self.compared(&compare.left, *operator, right);
                    match (operator, compare.left.as_ref()) {
                        (CmpOp::Eq | CmpOp::NotEq, left) => self.compared(right, *operator, left),
                        (_, left @ Expr::StringLiteral(text)) => {
                            if let Some((root, path, _)) = self.path(right) {
                                let has = |word: &str| word.contains(text.value.to_str());
                                self.sought(&root, &path, has, left);
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}

/// The range of an expression.
pub fn ends(expression: &Expr) -> (usize, usize) {
    (start(expression.range()), usize::from(expression.range().end()))
}

/// The most attributes of a path. No claim and nothing of the library has more, and each longer path has to be walked through
/// for each of its attributes.
const MAX_ATTRIBUTES: usize = 8;

/// The name at the root of a path of attributes, and the attributes.
pub fn path_of(expression: &Expr) -> Option<(String, Vec<String>)> {
    let (mut path, mut at) = (Vec::new(), expression);
    loop {
        match at {
            Expr::Name(name) => {
                path.reverse();
                return Some((name.id.to_string(), path));
            }
            Expr::Attribute(attribute) if path.len() < MAX_ATTRIBUTES => {
                path.push(attribute.attr.to_string());
                at = &attribute.value;
            }
            _ => return None,
        }
    }
}
