//! The packages, rules and imports of all files.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;
use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead, Span};

use crate::tree::{Part, Reference, head};

/// A part of a path below `data` or `input`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A key that the text has.
    Key(String),
    /// Any key.
    Any,
}

/// The shape of a definition of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One value.
    Complete,
    /// A set, of what each definition `contains`.
    Set,
    /// An object, of the keys of each definition.
    Object,
    /// A function of so many arguments.
    Function(usize),
}

/// A definition of a rule.
pub struct Definition<'t> {
    /// The module, by its index.
    pub module: usize,
    /// The text.
    pub rule: &'t Rule,
    /// Its shape.
    pub shape: Shape,
    /// Set for `default`.
    pub is_default: bool,
}

impl<'t> Definition<'t> {
    /// The reference in its head.
    pub fn head(&self) -> &'t Ref<Expr> {
        head(self.rule)
    }

    /// The place of its name.
    pub fn span(&self) -> &'t Span {
        match Reference::of(self.head()).head {
            Expr::Var { span, .. } => span,
            other => other.span(),
        }
    }
}

/// All definitions of one rule.
pub struct Group<'t> {
    /// The path below `data`: package and name.
    pub path: Vec<String>,
    /// The number of parts of the path that are the package's.
    pub package: usize,
    /// In the order of the text.
    pub definitions: Vec<Definition<'t>>,
}

impl Group<'_> {
    /// The name, as other rules of its package write it.
    pub fn name(&self) -> String {
        self.path.get(self.package..).unwrap_or_default().join(".")
    }

    /// The first part of the name.
    pub fn first_name(&self) -> &str {
        self.path.get(self.package).map_or("", String::as_str)
    }

    /// Says that it is a test: `test_…`, or one that is not done yet.
    pub fn is_test(&self) -> bool {
        self.first_name().starts_with("test_") || self.first_name().starts_with("todo_test_")
    }
}

/// An import, by the name that the file uses.
pub struct ImportedName<'t> {
    /// The path that it stands for: `data` or `input`, and the keys below.
    pub path: Vec<String>,
    /// The place.
    pub span: &'t Span,
}

/// A file.
pub struct File<'t> {
    /// Its syntax tree.
    pub module: &'t Module,
    /// Its package, without `data`.
    pub package: Vec<String>,
    /// Its imports by their names.
    pub imports: BTreeMap<&'t str, ImportedName<'t>>,
}

impl File<'_> {
    /// Says that the file is of tests, which are not part of the policy.
    pub fn is_of_tests(&self) -> bool {
        self.module.package.span.source.get_path().ends_with("_test.rego")
    }
}

/// All files, and the data.
pub struct Index<'t> {
    /// The files, in the order that they were given.
    pub files: Vec<File<'t>>,
    /// The rules by their paths.
    pub groups: Vec<Group<'t>>,
    /// The packages.
    pub packages: BTreeSet<Vec<String>>,
    /// The document `data`.
    pub data: &'t Value,
    /// The first names of the rules in each package.
    names: BTreeMap<Vec<String>, BTreeSet<String>>,
}

impl<'t> Index<'t> {
    /// Reads the heads of all rules.
    pub fn new(modules: &'t [Ref<Module>], data: &'t Value) -> Self {
        let mut groups: BTreeMap<Vec<String>, Group<'t>> = BTreeMap::new();
        let (mut files, mut packages) = (Vec::new(), BTreeSet::new());
        for (number, module) in modules.iter().enumerate() {
            let package = keys(&module.package.refr);
            for rule in &module.policy {
                let (name, shape, is_default) = shape(rule);
                let path: Vec<_> = package.iter().cloned().chain(name).collect();
                let group = groups.entry(path.clone()).or_insert_with(|| Group {
                    path,
                    package: package.len(),
                    definitions: Vec::new(),
                });
                group.definitions.push(Definition { module: number, rule, shape, is_default });
            }
            let mut imports = BTreeMap::new();
            for import in &module.imports {
                let path = keys(&import.refr);
                let is_name = matches!(path.first().map(String::as_str), Some("data" | "input"));
                let last = match &import.r#as {
                    Some(name) => Some(name.text()),
                    None => last_name(&import.refr),
                };
                if let Some(name) = last.filter(|_| is_name) {
                    imports.insert(name, ImportedName { path, span: &import.span });
                }
            }
            packages.insert(package.clone());
            files.push(File { module, package, imports });
        }
        let mut names: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for group in groups.values() {
            let package = group.path.get(..group.package).unwrap_or_default().to_vec();
            names.entry(package).or_default().insert(group.first_name().to_owned());
        }
        Self { files, groups: groups.into_values().collect(), packages, data, names }
    }

    /// The rule with this path, by its index.
    pub fn group(&self, path: &[String]) -> Option<usize> {
        self.groups.binary_search_by(|group| group.path.as_slice().cmp(path)).ok()
    }

    /// The rule of a file's package with this name, which may be only the first part of longer ones.
    pub fn has_rule(&self, file: usize, name: &str) -> bool {
        let package = self.files.get(file).and_then(|file| self.names.get(&file.package));
        package.is_some_and(|names| names.contains(name))
    }

    /// The first names of the rules in a package.
    pub fn names_in<'i>(&'i self, package: &[String]) -> impl Iterator<Item = &'i str> {
        self.names.get(package).into_iter().flatten().map(String::as_str)
    }

    /// The rules whose paths begin with this one.
    pub fn below(&self, path: &[String]) -> std::ops::Range<usize> {
        let start = self.groups.partition_point(|group| group.path.as_slice() < path);
        let rest = self.groups.get(start..).unwrap_or_default();
        start..start + rest.partition_point(|group| group.path.starts_with(path))
    }

    /// The rules that a path below `data` reads: those on the way, and those below it.
    pub fn read_by(&self, path: &[Step]) -> Vec<usize> {
        let mut keys = Vec::new();
        let mut read = Vec::new();
        for step in path {
            let Step::Key(key) = step else { break };
            keys.push(key.clone());
            if keys.len() < path.len() {
                read.extend(self.group(&keys));
            }
        }
        let fits = |group: &Group<'_>| {
            group.path.iter().zip(path).all(|(key, step)| match step {
                Step::Key(step) => key == step,
                Step::Any => true,
            })
        };
        let below = self.below(&keys);
        read.extend(below.filter(|at| self.groups.get(*at).is_some_and(fits)));
        read.sort_unstable();
        read.dedup();
        read
    }
}

/// The keys of a reference in which every part is one.
pub fn keys(expr: &Expr) -> Vec<String> {
    let reference = Reference::of(expr);
    let mut keys: Vec<_> = reference.name().map(str::to_owned).into_iter().collect();
    for part in reference.parts {
        if let Part::Key(key, _) = part {
            keys.push(key.to_owned());
        }
    }
    keys
}

/// The last part of a reference, if a name.
fn last_name(expr: &Ref<Expr>) -> Option<&str> {
    let reference = Reference::of(expr);
    match reference.parts.last() {
        Some(Part::Key(key, _)) => Some(key),
        Some(Part::Index(_)) => None,
        None => reference.name(),
    }
}

/// The keys that the name of a rule begins with, its shape, and whether it is a default.
fn shape(rule: &Rule) -> (Vec<String>, Shape, bool) {
    let reference = Reference::of(head(rule));
    let mut name: Vec<_> = reference.name().map(str::to_owned).into_iter().collect();
    let mut is_whole = true;
    for part in &reference.parts {
        match part {
            Part::Key(key, _) => name.push((*key).to_owned()),
            Part::Index(_) => {
                is_whole = false;
                break;
            }
        }
    }
    match rule {
        Rule::Default { args, .. } if args.is_empty() => (name, Shape::Complete, true),
        Rule::Default { args, .. } => (name, Shape::Function(args.len()), true),
        Rule::Spec { head, .. } => {
            let shape = match head {
                RuleHead::Set { .. } if is_whole => Shape::Set,
                RuleHead::Func { args, .. } => Shape::Function(args.len()),
                RuleHead::Compr { .. } if is_whole => Shape::Complete,
                RuleHead::Set { .. } | RuleHead::Compr { .. } => Shape::Object,
            };
            (name, shape, false)
        }
    }
}
