//! The names that the files of a folder define.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, Object, ObjectKey};
use hcl_edit::visit::{Visit, visit_object};

use super::scope::Scope;
use super::{Content, Definition, HclFile, tolerate};
use crate::node::{Node, Place, Text};

/// The maximum number of values made of one folder: names that refer to several others multiply.
const MAX_NODES: usize = 400_000;

/// The maximum depth at which names are followed: it ends a `local` that refers to itself.
pub(super) const MAX_FOLLOWED: usize = 16;

/// The values of a module's variables that its call gives.
pub(crate) type Inputs = BTreeMap<String, Node>;

/// Texts that `file` and `templatefile` can read: the given files, and no others.
#[derive(Default)]
pub(crate) struct Texts<'f> {
    by_path: BTreeMap<String, &'f str>,
    /// The paths that were read.
    read: RefCell<BTreeSet<String>>,
}

impl<'f> Texts<'f> {
    /// Texts by their paths, without `.` and `..`.
    pub(crate) fn of(files: impl Iterator<Item = (String, &'f str)>) -> Self {
        Self { by_path: files.collect(), read: RefCell::default() }
    }

    fn read(&self, path: &str) -> Option<&'f str> {
        let text = self.by_path.get(path)?;
        self.read.borrow_mut().insert(path.to_owned());
        Some(text)
    }

    /// Returns true if an expression read the text of this path.
    pub(crate) fn is_read(&self, path: &str) -> bool {
        self.read.borrow().contains(path)
    }
}

/// The definitions of names.
#[derive(Default, Clone)]
pub(crate) struct Names<'f> {
    /// The number of values made so far, in this module and those that are called with it.
    made: Rc<Cell<usize>>,
    locals: BTreeMap<String, (&'f HclFile, &'f Expression)>,
    defaults: BTreeMap<String, (&'f HclFile, &'f Expression)>,
    /// The values in `terraform.tfvars` and `*.auto.tfvars`, which OpenTofu loads by itself.
    values: BTreeMap<String, (&'f HclFile, &'f Expression)>,
    /// Set for a module that is called: a variable that the call leaves out has its default for certain.
    inputs: Option<Inputs>,
    /// Resources and data sources, `KIND.NAME` and `data.KIND.NAME`.
    resources: BTreeMap<String, Resource<'f>>,
    /// The outputs of the modules that are called, by the label of the call.
    modules: BTreeMap<String, Node>,
    /// The folder, and the texts that it can read.
    folder: String,
    texts: Rc<Texts<'f>>,
}

/// A resource that other blocks refer to.
#[derive(Clone, Copy)]
struct Resource<'f> {
    file: &'f HclFile,
    content: Content<'f>,
    is_repeated: bool,
}

impl<'f> Names<'f> {
    /// Collects the names that these blocks define.
    pub(crate) fn of<'d>(definitions: impl Iterator<Item = &'d Definition<'f>>) -> Self
    where
        'f: 'd,
    {
        let mut names = Self::default();
        for Definition { file, kind, labels, content, .. } in definitions {
            match (kind.as_str(), labels.as_slice()) {
                ("locals", _) => {
                    let locals = content.attributes().into_iter();
                    names.locals.extend(locals.map(|(name, value)| (name, (*file, value))));
                }
                ("variable", [name]) => {
                    if let Some(default) = content.attribute("default") {
                        names.defaults.insert(name.clone(), (file, default));
                    }
                }
                ("resource" | "data", [of, name]) => {
                    let data = if kind == "data" { "data." } else { "" };
                    let is_repeated = content.is_repeated();
                    let resource = Resource { file, content: *content, is_repeated };
                    names.resources.insert(format!("{data}{of}.{name}"), resource);
                }
                _ => {}
            }
        }
        names
    }

    /// Adds the values of a file that OpenTofu loads by itself.
    pub(crate) fn add_values(&mut self, file: &'f HclFile) {
        let values = file.attributes().into_iter();
        self.values.extend(values.map(|(name, value)| (name, (file, value))));
    }

    /// Adds the texts of files.
    pub(crate) fn add_texts(&mut self, folder: &str, texts: &Rc<Texts<'f>>) {
        folder.clone_into(&mut self.folder);
        self.texts = Rc::clone(texts);
    }

    /// Adds the outputs of a module that is called.
    pub(crate) fn add_module(&mut self, label: &str, outputs: Node) {
        self.modules.insert(label.to_owned(), outputs);
    }

    /// The same names in a module that is called with these values.
    pub(crate) fn with_inputs(&self, inputs: Inputs) -> Self {
        let (values, modules) = (BTreeMap::new(), BTreeMap::new());
        Self { values, modules, inputs: Some(inputs), ..self.clone() }
    }

    /// Counts values, and returns false if there are too many.
    pub(super) fn may_make(&self, count: usize) -> bool {
        self.made.set(self.made.get().saturating_add(count));
        self.made.get() <= MAX_NODES
    }
}

impl<'n, 'f> Scope<'n, 'f> {
    /// Resolves the beginning of a name; returns how many of its steps that takes.
    pub(super) fn resolve(
        &self,
        root: &str,
        steps: &[&str],
        place: &Place,
    ) -> Option<(Node, usize)> {
        let first = steps.first().copied();
        match root {
            "local" => {
                let definition = self.names.locals.get(first?)?;
                Some((self.named(*definition, place)?, 1))
            }
            "var" => Some((self.variable(first?, steps.len() > 1, place)?, 1)),
            "module" => {
                let [label, output, ..] = steps else { return None };
                let output = self.names.modules.get(*label)?.get(output)?;
                self.names.may_make(output.size()).then(|| (output.clone().at(place), 2))
            }
            // Files are named from the folder of the module, and the root is not known to be another one.
            "path" if first == Some("module") => {
                Some((Node::of_text(Text::known("."), place.clone()), 1))
            }
            "data" => {
                let [of, name, attribute, ..] = steps else { return None };
                let key = format!("data.{of}.{name}");
                Some((self.attribute_of(&key, of, attribute, place)?, 3))
            }
            _ => {
                let [name, attribute, ..] = steps else { return None };
                let key = format!("{root}.{name}");
                Some((self.attribute_of(&key, root, attribute, place)?, 2))
            }
        }
    }

    /// The text of a file that was given.
    pub(super) fn file_text(&self, path: &Node) -> Option<&'f str> {
        let path = path.known()?;
        self.names.texts.read(&crate::modules::within(&self.names.folder, &path))
    }

    fn variable(&self, name: &str, is_stepped_into: bool, place: &Place) -> Option<Node> {
        let names = self.names;
        if let Some(inputs) = &names.inputs {
            if let Some(given) = inputs.get(name) {
                return Some(given.clone().at(place));
            }
            return self.named(*names.defaults.get(name)?, place);
        }
        if let Some(value) = names.values.get(name) {
            return self.named(*value, place);
        }
        // A caller outside the files may replace the default.
        let default = self.named(*names.defaults.get(name)?, place)?;
        let default = default.uncertain(&format!("the default of `var.{name}`"));
        Some(match &default.value {
            crate::node::Value::Text(_) => default,
            _ if is_stepped_into => default,
            _ => Node::unknown(&format!("var.{name}"), default.elements().to_vec(), place.clone()),
        })
    }

    /// The attribute of a resource, if its block gives it. Attributes of repeated resources are unknown.
    fn attribute_of(&self, key: &str, of: &str, name: &str, place: &Place) -> Option<Node> {
        let Resource { file, content, is_repeated } = *self.names.resources.get(key)?;
        if is_repeated {
            return None;
        }
        let text = |name| {
            let value = content.attribute(name)?;
            self.named((file, value), place)?.text()
        };
        let made = |text| Some(Node::of_text(text, place.clone()));
        match (of, name) {
            ("aws_iam_openid_connect_provider", "arn") => {
                let url = text("url")?;
                let host = url.text.strip_prefix("https://").unwrap_or(&url.text);
                let arn = format!("arn:aws:iam::${{account}}:oidc-provider/{host}");
                made(Text { text: arn, known: false, ..url })
            }
            ("google_iam_workload_identity_pool", "name") => {
                let id = text("workload_identity_pool_id")?;
                let path = format!(
                    "projects/${{project}}/locations/global/workloadIdentityPools/{}",
                    id.text
                );
                made(Text { text: path, known: false, ..id })
            }
            // These are made by the provider, of the block as a whole.
            (_, "json" | "policy_data") => None,
            _ => self.named((file, content.attribute(name)?), place),
        }
    }

    /// Evaluates the definition of a name.
    fn named(
        &self,
        (file, expression): (&'f HclFile, &'f Expression),
        place: &Place,
    ) -> Option<Node> {
        let node = self.followed(file)?.node(expression);
        Some(if std::ptr::eq(file, self.file) { node } else { node.at(place) })
    }
}

/// Finds the keys that stand again in one object.
pub(super) fn repeated_keys(file: &HclFile) -> Vec<(Place, String)> {
    struct Finder<'f>(&'f HclFile, Vec<(Place, String)>);
    impl Visit for Finder<'_> {
        fn visit_object(&mut self, object: &Object) {
            for (key, _) in object.iter() {
                let (text, span) = match key {
                    ObjectKey::Ident(name) => (name.to_string(), name.span()),
                    ObjectKey::Expression(expression) => {
                        let text = expression.as_str().map(ToOwned::to_owned);
                        (text.unwrap_or_else(|| expression.to_string()), expression.span())
                    }
                };
                if let (name, true) = tolerate::unmarked(text.trim().trim_matches('"')) {
                    self.1.push((self.0.place(span), name.to_owned()));
                }
            }
            visit_object(self, object);
        }
    }
    let mut finder = Finder(file, Vec::new());
    finder.visit_body(&file.body);
    finder.1
}
