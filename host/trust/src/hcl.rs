//! Evaluates HCL as far as its files determine it.
//!
//! `local` is followed within the files of a folder, `for_each` over known values is unrolled, and `jsonencode` and the
//! functions that return lists are evaluated. A variable's default, if it is a string, counts as one of its possible
//! values. Everything else is unknown: nothing is fetched and no provider runs.

use std::cell::Cell;
use std::collections::BTreeMap;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ObjectKey, TraversalOperator};
use hcl_edit::structure::{Block as HclBlock, Body};
use hcl_edit::template::{Element, Template};

use crate::json;
use crate::node::{Node, Place, Text, Value};

/// The maximum `count` that is unrolled.
const MAX_COUNT: usize = 1000;

/// The maximum depth at which names are followed: it ends a `local` that refers to itself.
const MAX_FOLLOWED: usize = 16;

/// The maximum number of values made of one set of files: names that refer to several others multiply.
const MAX_NODES: usize = 200_000;

/// A parsed file.
pub(crate) struct HclFile {
    body: Body,
    /// The offsets of its line breaks.
    newlines: Vec<usize>,
}

/// A block with its values evaluated.
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

/// The definitions of names.
#[derive(Default)]
pub(crate) struct Names<'f> {
    /// The number of values made so far.
    made: Cell<usize>,
    locals: BTreeMap<String, (&'f HclFile, &'f Expression)>,
    defaults: BTreeMap<String, (&'f HclFile, &'f Expression)>,
}

struct Scope<'n, 'f> {
    names: &'n Names<'f>,
    file: &'f HclFile,
    /// `each.key` and `each.value`.
    each: Option<(Node, Node)>,
    followed: Cell<usize>,
}

impl HclFile {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > json::MAX_FILE_BYTES {
            return Err(format!("longer than {} bytes", json::MAX_FILE_BYTES));
        }
        let body = hcl_edit::parser::parse_body(text).map_err(|error| {
            let at = error.location();
            format!("line {}, column {}: {}", at.line(), at.column(), error.message())
        })?;
        Ok(Self { body, newlines: text.match_indices('\n').map(|(at, _)| at).collect() })
    }

    fn place(&self, span: Option<std::ops::Range<usize>>) -> Place {
        let start = span.map_or(0, |span| span.start);
        Place::Line(self.newlines.partition_point(|newline| *newline < start) + 1)
    }
}

impl<'f> Names<'f> {
    /// Collects the names that these files define.
    pub(crate) fn of(files: impl Iterator<Item = &'f HclFile>) -> Self {
        let mut names = Self::default();
        for file in files {
            for block in file.body.blocks() {
                if block.has_ident("locals") {
                    for attribute in block.body.attributes() {
                        names.locals.insert(attribute.key.to_string(), (file, &attribute.value));
                    }
                } else if let (true, Some(name)) =
                    (block.has_ident("variable"), block.labels.first())
                    && let Some(default) = block.body.get_attribute("default")
                {
                    names.defaults.insert(name.as_str().to_owned(), (file, &default.value));
                }
            }
        }
        names
    }
}

/// Lists the module calls of a file: name and place.
pub(crate) fn modules(file: &HclFile) -> impl Iterator<Item = (String, Place)> {
    let calls = file.body.blocks().filter(|block| block.has_ident("module"));
    calls.map(|block| {
        let name = block.labels.first().map(|label| label.as_str().to_owned());
        (name.unwrap_or_default(), file.place(block.span()))
    })
}

/// Evaluates the resources and data sources of a file; one with `for_each` or `count` is returned once for each
/// instance.
pub(crate) fn blocks<'f>(file: &'f HclFile, names: &Names<'f>) -> Vec<Block> {
    let mut found = Vec::new();
    for block in file.body.blocks() {
        if !block.has_ident("resource") && !block.has_ident("data") {
            continue;
        }
        let scope = Scope { names, file, each: None, followed: Cell::new(0) };
        let each =
            block.body.get_attribute("for_each").map(|attribute| scope.node(&attribute.value));
        let pairs = each.as_ref().map(pairs);
        let count = block.body.get_attribute("count").map(|attribute| scope.node(&attribute.value));
        let known = count.as_ref().and_then(Node::known).and_then(|count| count.parse().ok());
        let repeated = each.is_some() || (count.is_some() && known.is_none());
        match pairs {
            None if known.is_some_and(|count: usize| count <= MAX_COUNT) => {
                found.extend((0..known.unwrap_or(0)).map(|_| scope.block(block, false)));
            }
            Some(Some(pairs)) if !pairs.is_empty() => {
                for pair in pairs {
                    let scope = Scope { names, file, each: Some(pair), followed: Cell::new(0) };
                    found.push(scope.block(block, false));
                }
            }
            _ => found.push(scope.block(block, repeated)),
        }
    }
    found
}

/// The key and the value of each iteration.
fn pairs(each: &Node) -> Option<Vec<(Node, Node)>> {
    match &each.value {
        Value::List(elements) => Some(elements.iter().map(|e| (e.clone(), e.clone())).collect()),
        Value::Map(members) => {
            let pair = |(key, node): &(String, Node)| {
                let text = Text { text: key.clone(), known: true };
                (Node { value: Value::Text(text), place: node.place.clone() }, node.clone())
            };
            Some(members.iter().map(pair).collect())
        }
        _ => None,
    }
}

impl Scope<'_, '_> {
    fn block(&self, block: &HclBlock, repeated_unknown: bool) -> Block {
        Block {
            kind: block.ident.to_string(),
            labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
            place: self.file.place(block.span()),
            body: self.body(&block.body, self.file.place(block.span())),
            repeated_unknown,
        }
    }

    fn body(&self, body: &Body, place: Place) -> Node {
        let mut members: Vec<(String, Node)> = Vec::new();
        for attribute in body.attributes() {
            members.push((attribute.key.to_string(), self.node(&attribute.value)));
        }
        for block in body.blocks() {
            // `dynamic "statement" { for_each = …, content { … } }` is not evaluated.
            let name = match block.labels.first() {
                Some(label) if block.has_ident("dynamic") => label.as_str().to_owned(),
                _ => block.ident.to_string(),
            };
            let at = self.file.place(block.span());
            let node = if block.has_ident("dynamic") {
                Node { value: Value::Unknown(format!("dynamic \"{name}\"")), place: at }
            } else {
                self.body(&block.body, at)
            };
            match members.iter_mut().find(|(key, _)| *key == name) {
                Some((_, Node { value: Value::List(nodes), .. })) => nodes.push(node),
                _ => {
                    let place = node.place.clone();
                    members.push((name, Node { value: Value::List(vec![node]), place }));
                }
            }
        }
        Node { value: Value::Map(members), place }
    }

    fn node(&self, expression: &Expression) -> Node {
        let place = self.file.place(expression.span());
        let made = self.names.made.get() + 1;
        self.names.made.set(made);
        if made > MAX_NODES {
            return Node { value: Value::Unknown("…".to_owned()), place };
        }
        let unknown = || Value::Unknown(expression.to_string().trim().to_owned());
        let text = |text: String| Value::Text(Text { text, known: true });
        let value = match expression {
            Expression::Null(_) => Value::Null,
            Expression::Bool(bool) => Value::Bool(*bool.value()),
            Expression::Number(number) => Value::Number(number.value().to_string()),
            Expression::String(string) => text(string.value().clone()),
            Expression::StringTemplate(template) => Value::Text(self.template(template)),
            Expression::HeredocTemplate(heredoc) => Value::Text(self.template(&heredoc.template)),
            Expression::Parenthesis(inner) => return self.node(inner.inner()),
            Expression::Array(array) => {
                Value::List(array.iter().map(|element| self.node(element)).collect())
            }
            Expression::Object(object) => Value::Map(
                object
                    .iter()
                    .map(|(key, value)| (self.key(key), self.node(value.expr())))
                    .collect(),
            ),
            Expression::FuncCall(call) => {
                let arguments: Vec<_> =
                    call.args.iter().map(|argument| self.node(argument)).collect();
                let made = match call.name.name.as_str() {
                    "jsonencode" | "toset" | "tolist" | "sensitive" | "nonsensitive" => {
                        arguments.into_iter().next().map(|argument| argument.value)
                    }
                    "concat" | "setunion" => flat(&arguments),
                    "flatten" | "distinct" | "compact" | "sort" => {
                        arguments.first().and_then(|list| flat(list.elements()))
                    }
                    _ => None,
                };
                made.unwrap_or_else(unknown)
            }
            Expression::Traversal(traversal) => {
                let steps: Option<Vec<&str>> = traversal
                    .operators
                    .iter()
                    .map(|operator| match operator.value() {
                        TraversalOperator::GetAttr(name) => Some(name.as_str()),
                        TraversalOperator::Index(Expression::String(key)) => {
                            Some(key.value().as_str())
                        }
                        _ => None,
                    })
                    .collect();
                let root = match &traversal.expr {
                    Expression::Variable(name) => Some(name.as_str()),
                    _ => None,
                };
                match (root, steps) {
                    (Some(root), Some(steps)) => {
                        self.follow(root, &steps).map_or_else(unknown, |node| node.value)
                    }
                    _ => unknown(),
                }
            }
            _ => unknown(),
        };
        Node { value, place }
    }

    /// Resolves a name, if the files define it.
    fn follow(&self, root: &str, steps: &[&str]) -> Option<Node> {
        let (first, rest) = steps.split_first()?;
        let mut node = match root {
            "each" => {
                let (key, value) = self.each.as_ref()?;
                match *first {
                    "key" => key.clone(),
                    "value" => value.clone(),
                    _ => return None,
                }
            }
            "local" => self.named(self.names.locals.get(*first)?)?,
            // A caller outside the files may replace the default.
            "var" => match self.named(self.names.defaults.get(*first)?)? {
                Node { value: Value::Text(text), place } => {
                    Node { value: Value::Text(Text { known: false, ..text }), place }
                }
                _ => return None,
            },
            _ => return None,
        };
        for step in rest {
            node = node.get(step)?.clone();
        }
        Some(node)
    }

    /// Evaluates the definition of a name.
    fn named(&self, (file, expression): &(&HclFile, &Expression)) -> Option<Node> {
        if self.followed.get() >= MAX_FOLLOWED {
            return None;
        }
        let followed = Cell::new(self.followed.get() + 1);
        Some(Scope { names: self.names, file, each: None, followed }.node(expression))
    }

    fn key(&self, key: &ObjectKey) -> String {
        match key {
            ObjectKey::Ident(name) => name.to_string(),
            ObjectKey::Expression(expression) => {
                let text = self.node(expression).text();
                text.map_or_else(|| expression.to_string(), |text| text.text)
            }
        }
    }

    fn template(&self, template: &Template) -> Text {
        let mut made = Text { text: String::new(), known: true };
        for element in template {
            match element {
                Element::Literal(literal) => made.text.push_str(literal.value()),
                Element::Interpolation(interpolation) => {
                    match self.node(&interpolation.expr).text() {
                        Some(part) => {
                            made.text.push_str(&part.text);
                            made.known &= part.known;
                        }
                        None => {
                            made.text.push_str(&format!(
                                "${{{}}}",
                                interpolation.expr.to_string().trim()
                            ));
                            made.known = false;
                        }
                    }
                }
                Element::Directive(_) => {
                    made.text.push_str("${…}");
                    made.known = false;
                }
            }
        }
        made
    }
}

/// Concatenates lists. An unknown list contributes one unknown element.
fn flat(lists: &[Node]) -> Option<Value> {
    Some(Value::List(lists.iter().flat_map(Node::elements).cloned().collect()))
}
