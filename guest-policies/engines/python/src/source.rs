//! The files of a policy: what they import, name and define, found before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use monty_types::{ExcType, MontyObject};
use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{CmpOp, Expr, ExprContext, Parameter, Stmt, StmtImportFrom};
use ruff_text_size::{Ranged, TextRange};

use crate::claims;

/// The file that has `evaluate`.
pub const MAIN: &str = "policy.py";

/// What `countersign` has, each with its name in the prelude.
const EXPORTS: [(&str, &str); 13] = [
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
    ("permit", "__countersign_permit__"),
    ("restrict", "__countersign_restrict__"),
    // The functions of the module are all; this is for `from countersign import *`, which is refused by its own message.
    ("*", ""),
];

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

/// The names of builtins that are types, or values.
const BUILTINS: [&str; 19] = [
    "bool",
    "int",
    "float",
    "str",
    "bytes",
    "list",
    "tuple",
    "dict",
    "set",
    "frozenset",
    "range",
    "slice",
    "iter",
    "type",
    "property",
    "object",
    "Ellipsis",
    "NotImplemented",
    "__name__",
];

/// A place in a file with what is wrong there.
#[derive(Debug)]
pub struct Wrong {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// A file of a policy, with its imports of other files replaced by what they bring.
#[derive(Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
    /// The parameters of its function `evaluate`.
    pub evaluate: Option<Vec<String>>,
    /// It defines `check`.
    pub has_check: bool,
    /// It calls `exported`.
    pub is_exported: bool,
    /// The names of builtins that it reads.
    pub builtins: BTreeSet<String>,
}

/// Reads the files of a policy, and gives them in the order in which they run: each behind those that it imports.
///
/// # Errors
/// All that is wrong with the first files that have something wrong.
pub fn read(files: &BTreeMap<String, String>) -> Result<Vec<Source>, Vec<Wrong>> {
    if !files.contains_key(MAIN) {
        let message = format!("expected a file `{MAIN}`");
        return Err(vec![Wrong { file: MAIN.to_owned(), line: 1, column: 1, message }]);
    }
    let mut read = BTreeMap::new();
    let mut wrongs = Vec::new();
    for (path, text) in files {
        match File::read(path, text, files) {
            Ok(file) => drop(read.insert(path.as_str(), file)),
            Err(wrong) => wrongs.extend(wrong),
        }
    }
    if wrongs.is_empty() {
        wrongs = check(&read, files);
    }
    if !wrongs.is_empty() {
        return Err(wrongs);
    }
    let order = order(&read)?;
    Ok(order.into_iter().filter_map(|path| read.remove(path)).map(|file| file.source).collect())
}

struct File<'f> {
    source: Source,
    /// The names that it imports from other files, each with the file and the place.
    imports: Vec<(&'f str, String, usize)>,
    /// The names that its top level defines, with the place.
    defined: BTreeMap<String, usize>,
    /// The names that it defines at any level.
    bound: BTreeSet<String>,
    /// The names that it reads, with the place.
    read: Vec<(String, usize)>,
}

impl<'f> File<'f> {
    fn read(
        path: &str,
        text: &str,
        files: &'f BTreeMap<String, String>,
    ) -> Result<Self, Vec<Wrong>> {
        let parsed = ruff_python_parser::parse_module(text).map_err(|error| {
            let message = format!("SyntaxError: {}", error.error);
            vec![wrong(path, text, start(error.location), message)]
        })?;
        let mut reader = Reader {
            files,
            edits: Vec::new(),
            imports: Vec::new(),
            bound: BTreeSet::new(),
            assigned: BTreeSet::new(),
            parameters: BTreeSet::new(),
            read: Vec::new(),
            claims: Vec::new(),
            wrong: Vec::new(),
        };
        let body = &parsed.syntax().body;
        for statement in body {
            reader.visit_stmt(statement);
        }
        // `run` and `token` are the claims where nothing but a parameter has the name.
        let is_claim =
            |root: &str| reader.parameters.contains(root) && !reader.assigned.contains(root);
        for (root, place, message) in &reader.claims {
            if is_claim(root) {
                reader.wrong.push((*place, message.clone()));
            }
        }
        let mut defined = BTreeMap::new();
        let (mut evaluate, mut has_check) = (None, false);
        for statement in body {
            define(statement, &mut defined);
            if let Stmt::FunctionDef(function) = statement {
                match function.name.as_str() {
                    "evaluate" => {
                        let parameters = function.parameters.iter_non_variadic_params();
                        let names = parameters.map(|one| one.parameter.name.to_string()).collect();
                        evaluate = Some(names);
                    }
                    "check" => has_check = true,
                    _ => {}
                }
            }
        }
        if !reader.wrong.is_empty() {
            let wrongs = reader.wrong.into_iter();
            return Err(wrongs.map(|(place, message)| wrong(path, text, place, message)).collect());
        }
        let is_exported = reader.read.iter().any(|(name, _)| name == "exported");
        let text = edited(text, reader.edits);
        let builtins = reader.read.iter().map(|(name, _)| name);
        let builtins = builtins.filter(|name| is_builtin(name) && !name.starts_with('_'));
        let builtins = builtins.cloned().collect();
        let path = path.to_owned();
        Ok(Self {
            source: Source { path, text, evaluate, has_check, is_exported, builtins },
            imports: reader.imports,
            defined,
            bound: reader.bound,
            read: reader.read,
        })
    }
}

/// Checks what files read against what all of them define, since all share one namespace.
fn check(read: &BTreeMap<&str, File<'_>>, files: &BTreeMap<String, String>) -> Vec<Wrong> {
    let mut wrongs = Vec::new();
    let text = |path: &str| files.get(path).map_or("", String::as_str);
    let mut defined: BTreeMap<&str, &str> = BTreeMap::new();
    for (path, file) in read {
        for (name, place) in &file.defined {
            if let Some(other) = defined.insert(name, path) {
                let message = format!("`{name}` is defined in {other} as well; rename one of them");
                wrongs.push(wrong(path, text(path), *place, message));
            }
        }
    }
    for (path, file) in read {
        for (from, name, place) in &file.imports {
            if !read.get(from).is_some_and(|from| from.bound.contains(name)) {
                let message = format!("ImportError: {from} does not define `{name}`");
                wrongs.push(wrong(path, text(path), *place, message));
            }
        }
        for (name, place) in &file.read {
            let is_bound = file.bound.contains(name)
                || defined.contains_key(name.as_str())
                || is_builtin(name);
            if !is_bound {
                let message = format!("NameError: name '{name}' is not defined");
                wrongs.push(wrong(path, text(path), *place, message));
            }
        }
    }
    wrongs
}

fn is_builtin(name: &str) -> bool {
    BUILTINS.contains(&name)
        || name.parse::<ExcType>().is_ok()
        || MontyObject::builtin_function_from_name(name).is_some()
}

/// The paths of files, each behind those that it imports.
fn order<'r>(read: &BTreeMap<&'r str, File<'r>>) -> Result<Vec<&'r str>, Vec<Wrong>> {
    let (mut order, mut open): (Vec<&str>, Vec<&str>) = (Vec::new(), vec![MAIN]);
    while let Some(path) = open.last().copied() {
        let imports = read.get(path).map_or(&[][..], |file| &file.imports);
        match imports.iter().find(|(import, ..)| !order.contains(import)) {
            Some((import, ..)) if open.contains(import) => {
                let message = format!(
                    "{} import each other; put what both need into a third",
                    open.join(" and ")
                );
                return Err(vec![Wrong { file: path.to_owned(), line: 1, column: 1, message }]);
            }
            Some((import, ..)) => open.push(import),
            None => {
                open.pop();
                if !order.contains(&path) {
                    order.push(path);
                }
            }
        }
    }
    Ok(order)
}

/// The names that a statement of the top level defines.
fn define(statement: &Stmt, defined: &mut BTreeMap<String, usize>) {
    let mut put = |name: &str, place: TextRange| {
        defined.insert(name.to_owned(), start(place));
    };
    match statement {
        Stmt::FunctionDef(function) => put(function.name.as_str(), function.name.range()),
        Stmt::ClassDef(class) => put(class.name.as_str(), class.name.range()),
        Stmt::Assign(assign) => {
            for target in &assign.targets {
                if let Expr::Name(name) = target {
                    put(name.id.as_str(), name.range());
                }
            }
        }
        Stmt::AnnAssign(assign) => {
            if let Expr::Name(name) = assign.target.as_ref() {
                put(name.id.as_str(), name.range());
            }
        }
        _ => {}
    }
}

/// Walks through a file.
struct Reader<'f> {
    files: &'f BTreeMap<String, String>,
    /// The ranges of statements with what replaces them.
    edits: Vec<(TextRange, String)>,
    imports: Vec<(&'f str, String, usize)>,
    bound: BTreeSet<String>,
    /// The names that are bound by anything but a parameter.
    assigned: BTreeSet<String>,
    parameters: BTreeSet<String>,
    read: Vec<(String, usize)>,
    /// What is wrong if the name at the root of a path is that of the claims.
    claims: Vec<(String, usize, String)>,
    wrong: Vec<(usize, String)>,
}

impl<'f> Reader<'f> {
    fn bind(&mut self, name: &str) {
        self.bound.insert(name.to_owned());
        self.assigned.insert(name.to_owned());
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
                        "ImportError: `countersign` has no `{wanted}`, expected one of `{}`",
                        names.join("`, `")
                    );
                    self.wrong.push((start(alias.range()), message));
                    return;
                };
                let name = alias.asname.as_ref().unwrap_or(&alias.name);
                bindings.push(format!("{name} = {own}"));
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

    /// Checks a path that begins at the claims: its fields, and the words that one of them is compared with.
    fn path(&mut self, expression: &Expr) -> Option<(String, String)> {
        let (root, path) = path_of(expression)?;
        if let Err((field, message)) = claims::check_path(&root, &path) {
            let place = start(expression.range());
            if !self.claims.iter().any(|(_, _, known)| *known == message) {
                let _ = field;
                self.claims.push((root, place, message));
            }
            return None;
        }
        Some((root, path.join(".")))
    }

    fn compared(&mut self, field: &Expr, literal: &Expr) {
        let Some((root, path)) = self.path(field) else { return };
        let Some(words) = claims::words(&root, &path) else { return };
        let literals: Vec<&Expr> = match literal {
            Expr::List(list) => list.elts.iter().collect(),
            Expr::Tuple(tuple) => tuple.elts.iter().collect(),
            Expr::Set(set) => set.elts.iter().collect(),
            other => vec![other],
        };
        for literal in literals {
            if let Expr::StringLiteral(text) = literal
                && !words.contains(&text.value.to_str())
            {
                let message = format!(
                    "`{root}.{path}` is never {:?}, expected one of `{}`",
                    text.value.to_str(),
                    words.join("`, `")
                );
                self.claims.push((root.clone(), start(literal.range()), message));
            }
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
                        self.library(module, place);
                    }
                }
            }
            Stmt::ImportFrom(import) => self.import_from(import),
            Stmt::FunctionDef(function) => self.bind(function.name.as_str()),
            Stmt::ClassDef(class) => self.bind(class.name.as_str()),
            Stmt::Try(attempt) => {
                for handler in &attempt.handlers {
                    let ruff_python_ast::ExceptHandler::ExceptHandler(handler) = handler;
                    if let Some(name) = &handler.name {
                        self.bind(name.as_str());
                    }
                }
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
        match expression {
            Expr::Name(name) => match name.ctx {
                ExprContext::Load => self.read.push((name.id.to_string(), start(name.range()))),
                _ => self.bind(name.id.as_str()),
            },
            Expr::Attribute(_) => drop(self.path(expression)),
            Expr::Compare(compare) => {
                if let ([operator], [right]) = (&*compare.ops, &*compare.comparators)
                    && matches!(operator, CmpOp::Eq | CmpOp::NotEq | CmpOp::In | CmpOp::NotIn)
                {
                    self.compared(&compare.left, right);
                    self.compared(right, &compare.left);
                }
            }
            _ => {}
        }
        visitor::walk_expr(self, expression);
    }
}

/// The name at the root of a path of attributes, and the attributes.
fn path_of(expression: &Expr) -> Option<(String, Vec<String>)> {
    match expression {
        Expr::Name(name) => Some((name.id.to_string(), Vec::new())),
        Expr::Attribute(attribute) => {
            let (root, mut path) = path_of(&attribute.value)?;
            path.push(attribute.attr.to_string());
            Some((root, path))
        }
        _ => None,
    }
}

/// The text with statements replaced. What follows keeps its line.
fn edited(text: &str, mut edits: Vec<(TextRange, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start());
    let (mut edited, mut from) = (String::with_capacity(text.len()), 0);
    for (range, replacement) in edits {
        let (start, end) = (start(range), usize::from(range.end()));
        edited.push_str(text.get(from..start).unwrap_or_default());
        edited.push_str(&replacement);
        let lines = text.get(start..end).unwrap_or_default().matches('\n').count();
        edited.extend(std::iter::repeat_n('\n', lines));
        from = end;
    }
    edited.push_str(text.get(from..).unwrap_or_default());
    edited
}

fn start(range: TextRange) -> usize {
    usize::from(range.start())
}

fn wrong(file: &str, text: &str, place: usize, message: String) -> Wrong {
    let before = text.get(..place).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Wrong { file: file.to_owned(), line, column, message }
}
