//! Trust files, parsed together.

use std::collections::BTreeSet;

use crate::hcl::{HclFile, Texts};
use crate::modules::{self, Folders};
use crate::node::{Node, Place};
use crate::trust_statement::{Pool, TrustStatement};
use crate::{accept, json, read, yaml};
use std::rc::Rc;

/// The trust statements of files that are parsed together: a name that one file defines is known in the others of its
/// folder.
#[derive(Debug, Default)]
pub struct TrustFiles {
    /// Each trust statement, with the file that contains it.
    pub(crate) statements: Vec<(String, TrustStatement)>,
    /// Other places that may contain trust statements: the calls of modules.
    pub(crate) unresolved: Vec<(String, Place, String)>,
    /// Files, or parts of them, that cannot be read.
    pub(crate) unreadable: Vec<(String, Place, String)>,
    /// Keys that stand again in one object.
    pub(crate) repeated_keys: Vec<(String, Place, String)>,
    /// Findings that comments in the files accept.
    pub(crate) accepted: Vec<(String, accept::Comment)>,
    files: usize,
}

/// The language of a file, by the end of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Hcl,
    HclJson,
    /// Values of variables: HCL, and true for the JSON syntax.
    Values(bool),
    Yaml,
    Json,
    /// A text that `templatefile` reads.
    Template,
}

impl Language {
    fn of(name: &str) -> Self {
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if ends(&[".tf", ".tofu", ".hcl"]) {
            Self::Hcl
        } else if ends(&[".tf.json", ".tofu.json"]) {
            Self::HclJson
        } else if ends(&[".tfvars", ".tfvars.json"]) {
            Self::Values(ends(&[".json"]))
        } else if ends(&[".tftpl", ".tpl"]) {
            Self::Template
        } else if ends(&[".yaml", ".yml", ".template"]) {
            Self::Yaml
        } else {
            Self::Json
        }
    }
}

impl TrustFiles {
    /// Parses files, given by name and text.
    ///
    /// `.tf`, `.tofu` and `.hcl` are HCL, `.tf.json` and `.tofu.json` its JSON syntax, `.tfvars` values of variables,
    /// `.yaml`, `.yml` and `.template` YAML or JSON, `.tftpl` and `.tpl` templates, and all others JSON. JSON and YAML are plans and states of
    /// OpenTofu, templates of CloudFormation, or the output of the clouds' command lines, which is searched at any
    /// depth. A file without trust statements is not an error. One that cannot be parsed, that is longer than 4 MiB
    /// or nested too deep is a finding, and the others are read.
    pub fn parse(files: &[(String, String)]) -> Self {
        let mut made = Self { files: files.len(), ..Self::default() };
        let (mut of_hcl, mut documents) = (Vec::new(), Vec::new());
        // OpenTofu leaves out `x.tf` beside `x.tofu`.
        let names: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
        let is_replaced = |name: &str| {
            let stem = name.strip_suffix(".json").unwrap_or(name);
            let tofu = stem
                .strip_suffix(".tf")
                .map(|stem| name.replacen(&format!("{stem}.tf"), &format!("{stem}.tofu"), 1));
            tofu.is_some_and(|tofu| names.contains(tofu.as_str()))
        };
        for (name, text) in files.iter().filter(|(name, _)| !is_replaced(name)) {
            let language = Language::of(name);
            if language != Language::Json && language != Language::HclJson {
                let comments = accept::comments(text).into_iter();
                made.accepted.extend(comments.map(|comment| (name.clone(), comment)));
            }
            let parsed = match language {
                Language::Hcl => HclFile::parse(text, false),
                Language::HclJson => HclFile::parse(text, true),
                Language::Values(is_json) => HclFile::parse(text, is_json),
                Language::Template => continue,
                Language::Yaml | Language::Json => {
                    documents.push((name, text, language));
                    continue;
                }
            };
            match parsed {
                Ok(file) => of_hcl.push((name.as_str(), file)),
                Err((place, problem)) => made.unreadable.push((name.clone(), place, problem)),
            }
        }
        for (name, file) in &of_hcl {
            let keys = file.repeated_keys.iter();
            made.repeated_keys
                .extend(keys.map(|(place, key)| ((*name).to_owned(), place.clone(), key.clone())));
        }
        // What an override replaces may be anything that is read in the other files.
        let (overrides, of_hcl): (Vec<_>, Vec<_>) =
            of_hcl.into_iter().partition(|(name, _)| is_override(name));
        made.unresolved.extend(overrides.iter().filter_map(|(name, file)| overridden(name, file)));
        let (values, code): (Vec<_>, Vec<_>) =
            of_hcl.iter().partition(|(name, _)| matches!(Language::of(name), Language::Values(_)));
        let paths: BTreeSet<String> = names.iter().map(|name| modules::path_of(name)).collect();
        let texts = files.iter().map(|(name, text)| (modules::path_of(name), text.as_str()));
        let texts = Rc::new(Texts::of(texts));
        let folders = Folders::of(&code, &values, &texts);
        made.unresolved.extend(folders.not_loaded(&values));
        let evaluated = folders.evaluate();
        made.statements.extend(evaluated.statements);
        made.unresolved.extend(evaluated.unresolved);
        // A document that an expression reads is a part of the resource that has it.
        for (name, text, language) in documents {
            if !texts.is_read(&modules::path_of(name)) {
                made.add_document(name, text, language, &paths);
            }
        }
        for (file, statement) in &mut made.statements {
            // The same expression in another folder is another pool.
            if let Some(Pool::Expression(expression)) = &mut statement.pool {
                *expression = format!("{}: {expression}", modules::folder_of(file));
            }
        }
        made.statements.sort_by(|(a, one), (b, other)| (a, &one.place).cmp(&(b, &other.place)));
        made
    }

    /// Adds a file that cannot be read at all: it is not there, or not text.
    pub fn add_unreadable(&mut self, file: &str, problem: &str) {
        self.files += 1;
        self.unreadable.push((file.to_owned(), Place::Line(1), problem.to_owned()));
    }

    fn add_document(
        &mut self,
        name: &str,
        text: &str,
        language: Language,
        paths: &BTreeSet<String>,
    ) {
        let is_json = language == Language::Json || text.trim_start().starts_with('{');
        let parsed = if is_json {
            json::parse(text).map_err(|problem| {
                let formats = match language {
                    Language::Json => {
                        "; OpenTofu's files end with .tf, .tofu or .tf.json, CloudFormation's with .yaml, .yml, .json or .template"
                    }
                    _ => "",
                };
                (Place::Line(1), format!("{problem}{formats}"))
            })
        } else {
            yaml::parse(text)
        };
        match parsed {
            Ok(root) => {
                let gaps = read::plan::gaps(&root).into_iter();
                self.unresolved.extend(gaps.map(|(place, what)| (name.to_owned(), place, what)));
                let of_folder = |path: &String| {
                    paths.contains(&modules::within(&modules::folder_of(name), path))
                };
                for (place, template) in read::elsewhere(&root) {
                    // One of the given files is read by itself.
                    if !template.as_ref().is_some_and(of_folder) {
                        let template = template.map(|template| format!(" `{template}`"));
                        let what = format!("the template{}", template.unwrap_or_default());
                        self.unresolved.push((name.to_owned(), place, what));
                    }
                }
                let statements = of_document(&root).into_iter();
                self.statements.extend(statements.map(|statement| (name.to_owned(), statement)));
            }
            Err((place, problem)) => self.unreadable.push((name.to_owned(), place, problem)),
        }
    }

    /// The number of trust statements.
    pub fn len(&self) -> usize {
        self.statements.iter().filter(|(_, statement)| !statement.is_aside).count()
    }

    /// Returns true if the files contain no trust statement.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of files.
    pub fn files(&self) -> usize {
        self.files
    }
}

/// Returns true for a file whose blocks replace parts of those of the others.
fn is_override(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let file = file.strip_suffix(".json").unwrap_or(file);
    let stem = file.strip_suffix(".tf").or_else(|| file.strip_suffix(".tofu"));
    stem.is_some_and(|stem| stem == "override" || stem.ends_with("_override"))
}

/// The first block of an override that can change trust.
fn overridden(name: &str, file: &HclFile) -> Option<(String, Place, String)> {
    const KINDS: [&str; 5] = ["resource", "data", "module", "locals", "variable"];
    let block = file.definitions().into_iter().find(|one| KINDS.contains(&one.kind.as_str()))?;
    let what = "an override, which replaces parts of the other files of its folder";
    Some((name.to_owned(), block.place, what.to_owned()))
}

/// Reads the trust statements of JSON or YAML.
fn of_document(root: &Node) -> Vec<TrustStatement> {
    read::plan::read(root)
        .or_else(|| read::cloudformation::read(root))
        .unwrap_or_else(|| read::json(&read::arm::resolved(root)))
}
