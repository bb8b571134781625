//! The graph of a crate's files: which file names an item of which other.
//!
//! It reads `mod`, `use` and paths in code, follows `pub use` to the file that defines an item, and leaves out
//! code under `#[cfg(test)]`. It knows nothing of the crate that it reads, so any crate's test can include it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, UseTree};

/// A path of modules from the crate's root, such as `["sandbox", "guest"]`.
type ModulePath = Vec<String>;

/// The files of a crate, and the names that each takes from others.
pub struct FileGraph {
    /// By file, relative to the folder of the root: the files that it names.
    pub edges: BTreeMap<PathBuf, BTreeSet<PathBuf>>,
    /// By file, the module that it is.
    modules: BTreeMap<PathBuf, ModulePath>,
}

/// A module, also an inline one.
struct Module {
    file: PathBuf,
    /// By the name that is visible in the module, the path that a `use` takes it from.
    imports: BTreeMap<String, ModulePath>,
    /// The paths behind `use …::*`.
    globs: Vec<ModulePath>,
    /// Paths in code and in `use`, as they are written.
    paths: BTreeSet<ModulePath>,
}

impl FileGraph {
    /// Reads a crate from its root file.
    pub fn read(root: &Path) -> Self {
        let folder = root.parent().unwrap();
        let mut modules = BTreeMap::new();
        read_file(folder, Path::new(root.file_name().unwrap()), Vec::new(), &mut modules);
        let mut edges: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (path, module) in &modules {
            let names = edges.entry(module.file.clone()).or_default();
            for named in &module.paths {
                let absolute = absolute(&modules, path, named);
                let named = absolute.map(|named| defined_in(&modules, named, &mut BTreeSet::new()));
                names.extend(named.into_iter().flatten().filter(|file| *file != module.file));
            }
        }
        let mut files = BTreeMap::new();
        // In the order of paths, so that a file is the outermost of the modules in it.
        for (path, module) in &modules {
            files.entry(module.file.clone()).or_insert_with(|| path.clone());
        }
        Self { edges, modules: files }
    }

    /// The circles of files. A module and a module within it do not count as one: a parent declares its
    /// children and shares its own items with them.
    pub fn circles(&self) -> Vec<BTreeSet<PathBuf>> {
        let related = |one: &Path, other: &Path| {
            let (one, other) = (&self.modules[one], &self.modules[other]);
            one.starts_with(other) || other.starts_with(one)
        };
        let reachable = |from: &PathBuf| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(file) = open.pop() {
                for next in self.edges.get(&file).into_iter().flatten() {
                    if !related(&file, next) && seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            seen
        };
        let reachable: BTreeMap<_, _> =
            self.edges.keys().map(|from| (from, reachable(from))).collect();
        let circles: BTreeSet<BTreeSet<PathBuf>> = reachable
            .iter()
            .filter(|(file, from)| from.contains(**file))
            .map(|(file, from)| {
                from.iter().filter(|other| reachable[other].contains(*file)).cloned().collect()
            })
            .collect();
        circles.into_iter().collect()
    }
}

/// Reads a module's file and the modules below it.
fn read_file(
    folder: &Path,
    file: &Path,
    path: ModulePath,
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    let items = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display())).items;
    // The root's modules lie beside it, those of any other file in a folder by its name.
    let children = if path.is_empty() { PathBuf::new() } else { file.with_extension("") };
    read_items(folder, file, &children, path, &items, modules);
}

fn read_items(
    folder: &Path,
    file: &Path,
    children: &Path,
    path: ModulePath,
    items: &[Item],
    modules: &mut BTreeMap<ModulePath, Module>,
) {
    let mut module = Module {
        file: file.to_owned(),
        imports: BTreeMap::new(),
        globs: Vec::new(),
        paths: BTreeSet::new(),
    };
    for item in items.iter().filter(|item| !is_test(attributes(item))) {
        match item {
            Item::Mod(inner) => {
                let name = inner.ident.to_string();
                let path = [&*path, std::slice::from_ref(&name)].concat();
                match &inner.content {
                    Some((_, items)) => {
                        read_items(folder, file, &children.join(&name), path, items, modules);
                    }
                    None => {
                        let child = match path_attribute(&inner.attrs) {
                            // Relative to the file that says it.
                            Some(given) => normal(&file.parent().unwrap().join(given)),
                            None => children.join(&name).with_extension("rs"),
                        };
                        read_file(folder, &child, path, modules);
                    }
                }
            }
            Item::Use(item) => module.use_item(item),
            other => PathsIn(&mut module).visit_item(other),
        }
    }
    modules.insert(path, module);
}

impl Module {
    fn use_item(&mut self, item: &ItemUse) {
        let mut open = vec![(Vec::new(), &item.tree)];
        while let Some((mut path, tree)) = open.pop() {
            match tree {
                UseTree::Path(step) => {
                    path.push(step.ident.to_string());
                    open.push((path, &step.tree));
                }
                UseTree::Group(group) => {
                    open.extend(group.items.iter().map(|tree| (path.clone(), tree)));
                }
                UseTree::Name(name) if name.ident == "self" => {
                    self.import(path.last().cloned(), path)
                }
                UseTree::Name(name) => {
                    path.push(name.ident.to_string());
                    self.import(path.last().cloned(), path);
                }
                UseTree::Rename(rename) => {
                    if rename.ident != "self" {
                        path.push(rename.ident.to_string());
                    }
                    self.import(Some(rename.rename.to_string()), path);
                }
                UseTree::Glob(_) => {
                    self.paths.insert(path.clone());
                    self.globs.push(path);
                }
            }
        }
    }

    fn import(&mut self, name: Option<String>, path: ModulePath) {
        self.paths.insert(path.clone());
        if let Some(name) = name.filter(|name| name != "_") {
            self.imports.insert(name, path);
        }
    }
}

/// Collects the paths in code.
struct PathsIn<'m>(&'m mut Module);

impl<'ast> Visit<'ast> for PathsIn<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let steps = path.segments.iter().map(|segment| segment.ident.to_string());
        self.0.paths.insert(steps.collect());
        syn::visit::visit_path(self, path);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.0.use_item(item);
    }

    fn visit_item(&mut self, item: &'ast Item) {
        if !is_test(attributes(item)) {
            syn::visit::visit_item(self, item);
        }
    }

    // The inside of a macro is tokens: paths are found in them as they are written.
    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        let text = invocation.tokens.to_string().replace(' ', "");
        let words = text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':'));
        for word in words.filter(|word| word.contains("::")) {
            let steps = word.split("::").map(str::to_owned).filter(|step| !step.is_empty());
            self.0.paths.insert(steps.collect());
        }
        syn::visit::visit_macro(self, invocation);
    }
}

/// A path from the crate's root, or `None` when it leads out of the crate.
fn absolute(
    modules: &BTreeMap<ModulePath, Module>,
    module: &[String],
    path: &[String],
) -> Option<ModulePath> {
    let mut base = module.to_vec();
    let mut steps = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            steps = steps.get(1..)?;
        }
        "self" => steps = steps.get(1..)?,
        "super" => {
            while steps.first().is_some_and(|step| step == "super") {
                base.pop()?;
                steps = steps.get(1..)?;
            }
        }
        first => {
            let here = modules.get(module)?;
            // The name of a local module, or one that `use` brought here; or else one of another crate.
            if !modules.contains_key(&[module, &[first.to_owned()]].concat()) {
                let import = here.imports.get(first)?;
                if import.first().is_some_and(|step| step == first) {
                    return None;
                }
                let rest = steps.get(1..)?;
                return absolute(modules, module, &[import, rest].concat());
            }
        }
    }
    Some([&*base, steps].concat())
}

/// The files that define an item: of the module at the longest part of the path that is one, or, where that
/// module only re-exports the item, of the module that it comes from.
fn defined_in(
    modules: &BTreeMap<ModulePath, Module>,
    path: ModulePath,
    seen: &mut BTreeSet<ModulePath>,
) -> Vec<PathBuf> {
    if !seen.insert(path.clone()) {
        return Vec::new();
    }
    let Some(length) = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))
    else {
        return Vec::new();
    };
    let (at, rest) = path.split_at(length);
    let module = &modules[at];
    let Some(name) = rest.first() else { return vec![module.file.clone()] };
    if let Some(import) = module.imports.get(name) {
        return match absolute(modules, at, import) {
            Some(import) => defined_in(modules, [&*import, &rest[1..]].concat(), seen),
            None => Vec::new(),
        };
    }
    let mut files = vec![module.file.clone()];
    for glob in &module.globs {
        if let Some(glob) = absolute(modules, at, glob) {
            files.extend(defined_in(modules, [&*glob, rest].concat(), seen));
        }
    }
    files
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    attributes.iter().find(|attribute| attribute.path().is_ident("path")).and_then(|attribute| {
        match &attribute.meta.require_name_value().ok()?.value {
            syn::Expr::Lit(literal) => match &literal.lit {
                syn::Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        }
    })
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            std::path::Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}
