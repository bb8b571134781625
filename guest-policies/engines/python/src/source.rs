//! The files of a policy: what they import, name and define, found before anything runs.

use std::collections::{BTreeMap, BTreeSet};

use engine_shared::claims::Paths;
use monty_types::{ExcType, MontyObject};
use ruff_python_ast::visitor::Visitor;
use ruff_python_ast::{Expr, Stmt};
use ruff_text_size::{Ranged, TextRange};

use crate::absent::{self, Absent};
use crate::hints;
use crate::reader::Reader;
use crate::reads;

/// The beginning of the names that the engine has beside the policy's.
const OWN: &str = "__countersign_";

/// The file that has `evaluate`.
pub const MAIN: &str = "policy.py";

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

/// The methods of the library's dates that ask for the time.
const CLOCK: [&str; 3] = ["now", "today", "utcnow"];

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
    /// The names that its top level defines.
    pub defined: Vec<String>,
    /// It defines `check`.
    pub has_check: bool,
    /// It calls `exported`.
    pub is_exported: bool,
    /// The claims that it reads, if it is the file with `evaluate`.
    pub reads: Paths,
    /// It imports a function that the engine answers.
    pub asks: bool,
    /// The names of builtins that it reads.
    pub builtins: BTreeSet<String>,
    /// The attributes of modules of the library and of what is imported from them, each with its place.
    pub attributes: Vec<(String, String)>,
}

/// The files of a policy that were read.
#[derive(Debug)]
pub struct Sources {
    /// In the order in which they run: each behind those that it imports.
    pub files: Vec<Source>,
    pub warnings: Vec<Wrong>,
}

/// Reads the files of a policy.
///
/// # Errors
/// All that is wrong with the first files that have something wrong.
pub fn read(files: &BTreeMap<String, String>) -> Result<Sources, Vec<Wrong>> {
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
    let warnings = warnings(&read, files);
    // All files share their names: another one may put its own function in the place of `evaluate`.
    let is_elsewhere =
        read.iter().any(|(path, file)| *path != MAIN && file.bound.contains("evaluate"));
    if let Some(main) = read.get_mut(MAIN).filter(|_| is_elsewhere) {
        main.source.reads = Paths::all();
    }
    let order = order(&read)?;
    let files = order.into_iter().filter_map(|path| read.remove(path)).map(|file| file.source);
    Ok(Sources { files: files.collect(), warnings })
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
    absent: Absent,
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
        let mut reader = Reader::new(files);
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
        let is_of_library = |path: &str| {
            let root = path.split('.').next().unwrap_or(path);
            reader.libraries.contains(root)
                && !reader.parameters.contains(root)
                && !reader.rebound.contains(root)
        };
        for (attribute, place) in &reader.paths {
            let name = attribute.trim_end_matches("()").rsplit('.').next();
            if name.is_some_and(|name| CLOCK.contains(&name)) && is_of_library(attribute) {
                reader.wrong.push((*place, hints::NO_CLOCK.to_owned()));
            }
        }
        if let Some(name) = reader.bound.iter().find(|name| name.starts_with(OWN)) {
            let place = text.find(name.as_str()).unwrap_or_default();
            reader
                .wrong
                .push((place, format!("`{name}`: names that begin with `{OWN}` are the engine's")));
        }
        for (name, place) in &reader.read {
            if let Some(message) = hints::refused(name)
                && !reader.bound.contains(name)
            {
                reader.wrong.push((*place, message.to_owned()));
            }
        }
        let mut defined = BTreeMap::new();
        let (mut evaluate, mut has_check) = (None, false);
        for statement in body {
            define(statement, &mut defined);
            if let Stmt::FunctionDef(function) = statement {
                if function.is_async && ["evaluate", "check"].contains(&function.name.as_str()) {
                    let place = start(function.range());
                    reader.wrong.push((place, "a policy cannot wait: remove `async`".to_owned()));
                }
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
        let of_library = reader.paths.iter().filter(|(attribute, _)| is_of_library(attribute));
        let of_claims = reader.methods.iter().filter(|(root, ..)| is_claim(root));
        let attributes = of_library
            .map(|(attribute, place)| (attribute, *place))
            .chain(of_claims.map(|(_, place, attribute)| (attribute, *place)))
            .map(|(attribute, place)| {
                let at = wrong(path, text, place, String::new());
                (attribute.clone(), format!("{}:{}:{}", at.file, at.line, at.column))
            })
            .collect();
        let mut absent = std::mem::take(&mut reader.absent);
        absent.retain(is_claim);
        let is_exported = reader.read.iter().any(|(name, _)| name == "exported");
        let text = edited(text, reader.edits);
        let builtins = reader.read.iter().map(|(name, _)| name);
        let builtins = builtins.filter(|name| is_builtin(name) && !name.starts_with('_'));
        let builtins = builtins.cloned().collect();
        let (path, asks) = (path.to_owned(), reader.own.values().any(|own| own == "local_time"));
        let source = Source {
            path,
            text,
            evaluate,
            defined: defined.keys().cloned().collect(),
            has_check,
            is_exported,
            // A function that is handed to `exported` gives its parameters names of its own.
            reads: if is_exported { Paths::all() } else { reads::of(body) },
            asks,
            builtins,
            attributes,
        };
        Ok(Self {
            source,
            imports: reader.imports,
            defined,
            bound: reader.bound,
            read: reader.read,
            absent,
        })
    }
}

/// The claims that files read as if every run had them.
fn warnings(read: &BTreeMap<&str, File<'_>>, files: &BTreeMap<String, String>) -> Vec<Wrong> {
    let paths: Vec<_> = read.keys().copied().collect();
    let absent: Vec<_> = read.values().map(|file| &file.absent).collect();
    let placed = |(file, at, message): (usize, usize, String)| {
        let path = *paths.get(file)?;
        Some(wrong(path, files.get(path)?, at, message))
    };
    absent::unasked(&absent).into_iter().filter_map(placed).collect()
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
                let bound = file.bound.iter().map(String::as_str);
                let known = bound.chain(defined.keys().copied()).chain(BUILTINS);
                let hint = hints::undefined(name, known);
                let message = format!("NameError: name '{name}' is not defined{hint}");
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

/// The byte at which a range begins.
pub fn start(range: TextRange) -> usize {
    usize::from(range.start())
}

fn wrong(file: &str, text: &str, place: usize, message: String) -> Wrong {
    let before = text.get(..place).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Wrong { file: file.to_owned(), line, column, message }
}
