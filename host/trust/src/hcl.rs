//! Evaluates HCL as far as its files determine it.
//!
//! Names are followed within the files of a folder, `for_each`, `count`, `dynamic` and `for` over known values are
//! unrolled, and functions of known values are evaluated. A call of a module whose folder is among the files gives its
//! variables their values. A variable's default counts as one of its possible values. Everything else is unknown:
//! nothing is fetched and no provider runs.

mod functions;
mod json_syntax;
mod names;
mod operators;
mod scope;
mod tolerate;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::Body;

use crate::json;
use crate::node::{Node, Place, Text, Value};

pub(crate) use names::{Inputs, Names, Texts};
use scope::Scope;

/// The maximum `count` that is unrolled.
const MAX_COUNT: usize = 1000;

/// A parsed file.
pub(crate) struct HclFile {
    body: Body,
    /// The offsets of its line breaks.
    newlines: Vec<usize>,
    /// Keys that stand again in one object.
    pub(crate) repeated_keys: Vec<(Place, String)>,
    /// Set for OpenTofu's JSON syntax: the body has one attribute, the whole file.
    is_json: bool,
}

/// The content of a block: in HCL a body, in OpenTofu's JSON syntax an object.
#[derive(Clone, Copy)]
pub(crate) enum Content<'f> {
    Body(&'f Body),
    Object(&'f Expression),
}

/// A block of a file, not evaluated.
pub(crate) struct Definition<'f> {
    pub(crate) file: &'f HclFile,
    pub(crate) kind: String,
    pub(crate) labels: Vec<String>,
    pub(crate) place: Place,
    pub(crate) content: Content<'f>,
}

/// A resource or data source with its values evaluated.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) labels: Vec<String>,
    pub(crate) place: Place,
    /// Attributes and nested blocks; blocks of one kind are a list.
    pub(crate) body: Node,
    /// Set if `for_each` or `count` is unknown, so that there may be any number of these, and none.
    pub(crate) repeated_unknown: bool,
}

impl HclFile {
    /// Parses a file of HCL, or of its JSON syntax. A problem has its line.
    pub(crate) fn parse(text: &str, is_json: bool) -> Result<Self, (Place, String)> {
        if text.len() > json::MAX_FILE_BYTES {
            let problem = format!("longer than {} bytes", json::MAX_FILE_BYTES);
            return Err((Place::Line(1), problem));
        }
        let text = tolerate::without_mark(text);
        let mut text = if is_json {
            json_syntax::as_hcl(text).map_err(|problem| (Place::Line(1), problem))?
        } else {
            text.to_owned()
        };
        let newlines = |text: &str| text.match_indices('\n').map(|(at, _)| at).collect();
        let mut lines: Vec<usize> = newlines(&text);
        if is_json {
            text = text.replace(['\n', '\r'], " ");
        }
        let (mut repeated_keys, mut joined) = (Vec::new(), false);
        let body = loop {
            let error = match hcl_edit::parser::parse_body(&text) {
                Ok(body) => break body,
                Err(error) => error,
            };
            let at = error.location();
            let place = Place::Line(at.line());
            if error.message().contains("redefined object key")
                && repeated_keys.len() < tolerate::MAX_REPEATED
                && (repeated_keys.len() + 1) * text.len() <= tolerate::MAX_PARSED_AGAIN
                && let Some(marked) = tolerate::mark_key(&text, at.offset())
            {
                text = marked;
                lines = newlines(&text);
                repeated_keys.push((place, String::new()));
            } else if !joined && !is_json {
                joined = true;
                text = tolerate::join_lines_of_for(&text);
            } else {
                let problem =
                    format!("line {}, column {}: {}", at.line(), at.column(), error.message());
                return Err((place, problem));
            }
        };
        let mut file = Self { body, newlines: lines, repeated_keys: Vec::new(), is_json };
        if !repeated_keys.is_empty() {
            file.repeated_keys = names::repeated_keys(&file);
        }
        Ok(file)
    }

    fn place(&self, span: Option<std::ops::Range<usize>>) -> Place {
        Place::Line(self.line(span.map_or(0, |span| span.start)))
    }

    fn line(&self, offset: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < offset) + 1
    }

    /// Lists the blocks of the file.
    pub(crate) fn definitions(&self) -> Vec<Definition<'_>> {
        if self.is_json {
            return json_syntax::definitions(self);
        }
        let blocks = self.body.blocks().map(|block| Definition {
            file: self,
            kind: block.ident.to_string(),
            labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
            place: self.place(block.span()),
            content: Content::Body(&block.body),
        });
        blocks.collect()
    }

    /// The attributes of a file of values, `terraform.tfvars`.
    pub(crate) fn attributes(&self) -> Vec<(String, &Expression)> {
        if self.is_json {
            let root = self.body.attributes().next().map(|root| &root.value);
            return root.map(|root| Content::Object(root).attributes()).unwrap_or_default();
        }
        Content::Body(&self.body).attributes()
    }
}

impl<'f> Content<'f> {
    pub(crate) fn attributes(self) -> Vec<(String, &'f Expression)> {
        match self {
            Content::Body(body) => {
                body.attributes().map(|one| (one.key.to_string(), &one.value)).collect()
            }
            Content::Object(expression) => {
                let object = expression.as_object().into_iter().flat_map(|object| object.iter());
                object.map(|(key, value)| (plain_key(key), value.expr())).collect()
            }
        }
    }

    pub(crate) fn attribute(self, name: &str) -> Option<&'f Expression> {
        self.attributes().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// `enabled` in the block `lifecycle`: OpenTofu makes one or none.
    fn enabled(self) -> Option<&'f Expression> {
        match self {
            Content::Body(body) => {
                let lifecycle = body.get_blocks("lifecycle").next()?;
                Content::Body(&lifecycle.body).attribute("enabled")
            }
            Content::Object(_) => {
                let lifecycle = self.attribute("lifecycle")?;
                let of_list = lifecycle.as_array().and_then(|blocks| blocks.iter().next());
                Content::Object(of_list.unwrap_or(lifecycle)).attribute("enabled")
            }
        }
    }

    /// Returns true for a block that there may be any number of, and none.
    pub(crate) fn is_repeated(self) -> bool {
        let of = |name| self.attribute(name).is_some();
        of("for_each") || of("count") || self.enabled().is_some()
    }
}

/// The text of a key that is not evaluated.
fn plain_key(key: &ObjectKey) -> String {
    let key = match key {
        ObjectKey::Ident(name) => name.to_string(),
        ObjectKey::Expression(Expression::String(text)) => text.value().clone(),
        ObjectKey::Expression(expression) => expression.to_string(),
    };
    tolerate::unmarked(key.trim()).0.to_owned()
}

/// Evaluates a resource, a data source or a call of a module: once for each instance, with true if there may be any
/// number of it, and none.
pub(crate) fn instances<'f>(definition: &Definition<'f>, names: &Names<'f>) -> Vec<(Node, bool)> {
    let scope = Scope::new(names, definition.file);
    let node = |name| definition.content.attribute(name).map(|value| scope.node(value));
    let (each, count) = (node("for_each"), node("count"));
    let instance =
        |scope: &Scope<'_, 'f>| scope.content(definition.content, definition.place.clone());
    match definition.content.enabled().map(|enabled| scope.node(enabled).known()) {
        None => {}
        Some(Some(enabled)) if enabled == "true" => {}
        Some(Some(enabled)) if enabled == "false" => return Vec::new(),
        Some(_) => return vec![(instance(&scope), true)],
    }
    if let Some(each) = each {
        return match pairs(&each) {
            Some(pairs) if pairs.len() <= MAX_COUNT => {
                let with = |pair| instance(&scope.with("each", iteration(pair)));
                pairs.into_iter().map(|pair| (with(pair), false)).collect()
            }
            _ => vec![(instance(&scope), true)],
        };
    }
    let Some(count) = count else { return vec![(instance(&scope), false)] };
    match count.known().and_then(|count| count.parse::<usize>().ok()) {
        Some(count) if count <= MAX_COUNT => {
            let index = |at: usize| {
                let number =
                    Node { value: Value::Number(at.to_string()), place: definition.place.clone() };
                let count = vec![("index".to_owned(), number)];
                Node { value: Value::Map(count), place: definition.place.clone() }
            };
            (0..count).map(|at| (instance(&scope.with("count", index(at))), false)).collect()
        }
        _ => vec![(instance(&scope), true)],
    }
}

/// Evaluates the outputs of a module.
pub(crate) fn outputs<'f>(
    definitions: &[&Definition<'f>],
    names: &Names<'f>,
    place: &Place,
) -> Node {
    let outputs = definitions.iter().filter_map(|definition| {
        let (name, value) = (definition.labels.first()?, definition.content.attribute("value")?);
        Some((name.clone(), Scope::new(names, definition.file).node(value)))
    });
    Node { value: Value::Map(outputs.collect()), place: place.clone() }
}

/// The key and the value of each iteration, if all are known.
fn pairs(each: &Node) -> Option<Vec<(Node, Node)>> {
    match &each.value {
        Value::List(elements) => Some(elements.iter().map(|e| (e.clone(), e.clone())).collect()),
        Value::Map(members) => {
            let pair = |(key, node): &(String, Node)| {
                (Node::of_text(Text::known(key), node.place.clone()), node.clone())
            };
            Some(members.iter().map(pair).collect())
        }
        _ => None,
    }
}

/// `each`, or the iterator of a `dynamic` block.
fn iteration((key, value): (Node, Node)) -> Node {
    let place = value.place.clone();
    Node { value: Value::Map(vec![("key".to_owned(), key), ("value".to_owned(), value)]), place }
}

/// The line of an expression that the scope evaluates.
fn line_of(file: &HclFile, expression: &Expression) -> Place {
    file.place(expression.span())
}
