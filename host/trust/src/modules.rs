//! Evaluates folders of OpenTofu, with the modules that they call.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use countersign_clouds::Cloud;

use crate::documents;
use crate::hcl::{self, Block, Definition, HclFile, Inputs, Names, Texts};
use crate::node::{Node, Place, Text, Value};
use crate::read;
use crate::trust_statement::{TrustStatement, UnknownEffect};

/// The maximum depth of calls.
const MAX_DEPTH: usize = 8;

/// The maximum number of calls that are evaluated.
const MAX_CALLS: usize = 1000;

/// The arguments of a call that are no inputs.
const META: &[&str] = &["source", "version", "providers", "for_each", "count", "depends_on"];

type NamedFile<'f> = (&'f str, HclFile);

/// The folders of a set of files.
pub(crate) struct Folders<'f> {
    folders: BTreeMap<String, Folder<'f>>,
}

struct Folder<'f> {
    definitions: Vec<(&'f str, Definition<'f>)>,
    names: Names<'f>,
}

/// The result of evaluating all folders.
#[derive(Default)]
pub(crate) struct Evaluated {
    pub(crate) statements: Vec<(String, TrustStatement)>,
    pub(crate) unresolved: Vec<(String, Place, String)>,
    calls: usize,
}

impl<'f> Folders<'f> {
    /// Groups files by folder, since OpenTofu loads a folder as one module. `values` are files of values.
    /// `texts` are what expressions can read.
    pub(crate) fn of(
        files: &[&'f NamedFile<'f>],
        values: &[&'f NamedFile<'f>],
        texts: &Rc<Texts<'f>>,
    ) -> Self {
        let mut by_folder: BTreeMap<String, Vec<(&'f str, Definition<'f>)>> = BTreeMap::new();
        for (name, file) in files {
            let definitions = file.definitions().into_iter().map(|definition| (*name, definition));
            by_folder.entry(folder_of(name)).or_default().extend(definitions);
        }
        let folders = by_folder.into_iter().map(|(folder, definitions)| {
            let mut names = Names::of(definitions.iter().map(|(_, definition)| definition));
            let of_folder = values.iter().filter(|(name, _)| folder_of(name) == folder);
            // OpenTofu loads these in the order of their names, `terraform.tfvars` first.
            let mut of_folder: Vec<_> = of_folder.filter(|(name, _)| is_loaded(name)).collect();
            of_folder.sort_by_key(|(name, _)| (!name.contains("terraform.tfvars"), *name));
            for (_, file) in of_folder {
                names.add_values(file);
            }
            names.add_texts(&folder, texts);
            (folder, Folder { definitions, names })
        });
        Self { folders: folders.collect() }
    }

    /// Lists the files of values that OpenTofu only loads when it is told to.
    pub(crate) fn not_loaded(&self, values: &[&'f NamedFile<'f>]) -> Vec<(String, Place, String)> {
        let others = values.iter().filter(|(name, _)| !is_loaded(name));
        let what = "values that OpenTofu loads only with `-var-file`";
        others.map(|(name, _)| ((*name).to_owned(), Place::Line(1), what.to_owned())).collect()
    }

    /// Evaluates each folder that no other one calls, and those that it calls.
    pub(crate) fn evaluate(&self) -> Evaluated {
        let mut called = BTreeSet::new();
        for (folder, Folder { definitions, .. }) in &self.folders {
            let modules = definitions.iter().filter(|(_, definition)| definition.kind == "module");
            let sources = modules.filter_map(|(_, definition)| {
                let source = definition.content.attribute("source")?;
                resolve(folder, source.as_str()?)
            });
            called.extend(
                sources.filter(|target| self.folders.contains_key(target) && target != folder),
            );
        }
        let mut made = Evaluated::default();
        let roots: Vec<_> =
            self.folders.iter().filter(|(folder, _)| !called.contains(*folder)).collect();
        // Folders that call each other in a circle have no root.
        let roots = if roots.is_empty() { self.folders.iter().collect() } else { roots };
        for (folder, of) in roots {
            self.folder(folder, of, &of.names, "", &mut made, 0);
        }
        made
    }

    /// The names of a folder, with the outputs of the modules that it calls once.
    fn with_outputs(
        &self,
        folder: &str,
        of: &Folder<'f>,
        names: &Names<'f>,
        depth: usize,
    ) -> Names<'f> {
        let mut names = names.clone();
        let calls: Vec<_> = of
            .definitions
            .iter()
            .filter(|(_, one)| one.kind == "module" && depth < MAX_DEPTH)
            .filter(|(_, one)| !one.content.is_repeated())
            .collect();
        // An input of a call may be an output of another one.
        let passes = calls.len().min(2);
        for (_, definition) in calls.iter().copied().cycle().take(calls.len() * passes) {
            let Some(label) = definition.labels.first() else { continue };
            let instances = hcl::instances(definition, &names);
            let Some((body, _)) = instances.first() else { continue };
            let source = body.get("source").and_then(Node::known);
            let target = source.as_ref().and_then(|source| resolve(folder, source));
            let called = target.as_ref().and_then(|target| self.folders.get_key_value(target));
            let Some((target, called)) = called else { continue };
            let outputs: Vec<_> = called
                .definitions
                .iter()
                .map(|(_, one)| one)
                .filter(|one| one.kind == "output")
                .collect();
            if outputs.is_empty() {
                continue;
            }
            let inputs = called.names.with_inputs(inputs_of(body));
            let inner = self.with_outputs(target, called, &inputs, depth + 1);
            names.add_module(label, hcl::outputs(&outputs, &inner, &definition.place));
        }
        names
    }

    fn folder(
        &self,
        folder: &str,
        of: &Folder<'f>,
        names: &Names<'f>,
        path: &str,
        made: &mut Evaluated,
        depth: usize,
    ) {
        let names = &self.with_outputs(folder, of, names, depth);
        let (mut blocks, mut modules) = (Vec::new(), Vec::new());
        for (file, definition) in &of.definitions {
            match definition.kind.as_str() {
                "resource" | "data" => {
                    for (body, repeated_unknown) in hcl::instances(definition, names) {
                        let block = Block {
                            kind: definition.kind.clone(),
                            labels: definition.labels.clone(),
                            place: definition.place.clone(),
                            body,
                            repeated_unknown,
                        };
                        blocks.push((*file, block));
                    }
                }
                "module" => modules.push((*file, definition, hcl::instances(definition, names))),
                _ => {}
            }
        }
        let data = blocks.iter().filter(|(_, block)| block.kind == "data");
        let data: BTreeSet<_> = data.map(|(_, block)| block.labels.join(".")).collect();
        let used = used_documents(&blocks, &modules, false);
        let used_for_certain = used_documents(&blocks, &modules, true);
        let direct = documents_of_roles(&blocks, &modules, false);
        documents::drop_replaced(&mut blocks, &direct);
        let client_ids = client_ids(&blocks);
        let disabled = read::gcp::disabled_pools(blocks.iter().map(|(_, block)| block));
        for (file, block) in &blocks {
            let is_document =
                block.labels.first().is_some_and(|kind| kind == "aws_iam_policy_document");
            let is_unused =
                is_document && block.labels.get(1).is_some_and(|name| !used.contains(name));
            let mut statements = read::block(block, &data);
            read::gcp::without_disabled(&mut statements, &disabled);
            for mut statement in statements {
                statement.is_unused = is_unused;
                let is_certain = !is_document
                    || block.labels.get(1).is_some_and(|name| used_for_certain.contains(name));
                if !is_unused && !is_certain {
                    let (effect, place) = (UnknownEffect::NarrowsAside, statement.place.clone());
                    let what = "how often the role that has this document is repeated";
                    statement.note(effect, &place, what);
                }
                if let Some(ids) = statement.issuer.as_ref().and_then(|i| client_ids.get(&i.text)) {
                    statement.client_ids = Some(ids.clone());
                }
                if !path.is_empty()
                    && (statement.owner.contains("${") || statement.cloud == Cloud::Aws)
                {
                    statement.owner = format!("{path}{}", statement.owner);
                }
                made.statements.push(((*file).to_owned(), statement));
            }
        }
        for (file, definition, instances) in modules {
            let label = definition.labels.first().map(String::as_str).unwrap_or_default();
            for (body, repeated_unknown) in instances {
                let source = body.get("source").and_then(Node::known);
                let target = source.as_ref().and_then(|source| resolve(folder, source));
                let called = target.as_ref().and_then(|target| self.folders.get_key_value(target));
                made.calls += 1;
                let Some((target, called)) =
                    called.filter(|_| depth < MAX_DEPTH && made.calls <= MAX_CALLS)
                else {
                    let what = match source {
                        Some(source) => format!("what the module `{label}` ({source}) makes"),
                        None => format!("what the module `{label}` makes"),
                    };
                    made.unresolved.push((file.to_owned(), definition.place.clone(), what));
                    continue;
                };
                let names = called.names.with_inputs(inputs_of(&body));
                let path = format!("{path}module.{label}: ");
                let from = made.statements.len();
                self.folder(target, called, &names, &path, made, depth + 1);
                if repeated_unknown {
                    for (_, statement) in made.statements.iter_mut().skip(from) {
                        let effect = UnknownEffect::NarrowsAside;
                        let what = format!("how often the module `{label}` is repeated");
                        let place = statement.place.clone();
                        statement.note(effect, &place, what);
                    }
                }
            }
        }
    }
}

/// The documents that roles and calls of modules in these blocks name themselves; of those that are there for certain
/// alone, if that is asked for.
fn documents_of_roles(
    blocks: &[(&str, Block)],
    modules: &[Call<'_, '_>],
    certain: bool,
) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let is_meant = |block: &Block| block.kind == "resource" && !(certain && block.repeated_unknown);
    for (_, block) in blocks.iter().filter(|(_, block)| is_meant(block)) {
        for name in ["assume_role_policy", "assume_role_policy_document"] {
            if let Some(policy) = block.body.get(name) {
                read::plan::documents_of(policy, &mut used);
            }
        }
    }
    for (body, is_unknown) in modules.iter().flat_map(|(_, _, instances)| instances) {
        if !(certain && *is_unknown) {
            read::plan::documents_of(body, &mut used);
        }
    }
    used
}

/// A call of a module: its file, its definition, and its instances.
type Call<'d, 'f> = (&'d str, &'d Definition<'f>, Vec<(Node, bool)>);

/// The documents that roles and calls of modules in these blocks use, directly or by another document.
fn used_documents(
    blocks: &[(&str, Block)],
    modules: &[Call<'_, '_>],
    certain: bool,
) -> BTreeSet<String> {
    let mut used = documents_of_roles(blocks, modules, certain);
    let kind = |block: &Block| block.labels.first().cloned().unwrap_or_default();
    // A document can have another one as its source, and that one again.
    for _ in 0..MAX_DEPTH {
        let before = used.len();
        let documents = blocks.iter().filter(|(_, block)| kind(block) == "aws_iam_policy_document");
        let of_used = documents
            .filter(|(_, block)| block.labels.get(1).is_some_and(|name| used.contains(name)));
        let sources: Vec<_> = of_used.map(|(_, block)| block.body.clone()).collect();
        sources.iter().for_each(|body| read::plan::documents_of(body, &mut used));
        if used.len() == before {
            break;
        }
    }
    used
}

/// The inputs that a call gives.
fn inputs_of(body: &Node) -> Inputs {
    let inputs = body.members().iter().filter(|(name, _)| !META.contains(&name.as_str()));
    inputs.cloned().collect()
}

/// The client ids of the providers in these blocks, by issuer.
fn client_ids(blocks: &[(&str, Block)]) -> BTreeMap<String, Vec<Text>> {
    let providers = blocks.iter().filter(|(_, block)| {
        block.kind == "resource"
            && block.labels.first().is_some_and(|kind| kind == "aws_iam_openid_connect_provider")
    });
    let ids = providers.filter_map(|(_, block)| {
        let (url, list) = (block.body.get("url")?.known()?, block.body.get("client_id_list")?);
        let host = url.strip_prefix("https://").unwrap_or(&url);
        matches!(list.value, Value::List(_)).then(|| (format!("https://{host}"), list.texts()))
    });
    ids.collect()
}

/// Returns true for files of values that OpenTofu loads by itself.
fn is_loaded(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let file = file.strip_suffix(".json").unwrap_or(file);
    file == "terraform.tfvars" || file.ends_with(".auto.tfvars")
}

/// The folder of a file.
pub(crate) fn folder_of(name: &str) -> String {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    normal(folder.split('/'))
}

/// The path of a file, without `.` and `..`.
pub(crate) fn path_of(name: &str) -> String {
    normal(name.split('/'))
}

/// The folder of a module that is called by a relative path.
fn resolve(folder: &str, source: &str) -> Option<String> {
    let is_relative =
        source == "." || source == ".." || source.starts_with("./") || source.starts_with("../");
    is_relative.then(|| within(folder, source))
}

/// The path that is meant by a relative one in a folder.
pub(crate) fn within(folder: &str, path: &str) -> String {
    // The folder that is not named is not the root of all.
    let folder = if folder.is_empty() { "." } else { folder };
    normal(folder.split('/').chain(path.split('/')))
}

/// A path without `.` and `..`.
fn normal<'p>(steps: impl Iterator<Item = &'p str>) -> String {
    let mut path: Vec<&str> = Vec::new();
    for (at, step) in steps.enumerate() {
        match step {
            "" if at == 0 => path.push(""),
            "" | "." => {}
            ".." if path.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                path.pop();
            }
            step => path.push(step),
        }
    }
    path.join("/")
}
