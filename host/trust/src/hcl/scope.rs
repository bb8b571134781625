//! Evaluates expressions.

use std::collections::BTreeMap;
use std::rc::Rc;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, ForExpr, ObjectKey, Traversal, TraversalOperator};
use hcl_edit::structure::Body;
use hcl_edit::template::{Element, HeredocTemplate, StringTemplate, Template};

use super::names::{MAX_FOLLOWED, Names};
use super::{Content, HclFile, functions, iteration, operators, pairs, tolerate};
use crate::node::{Node, Place, Text, Value};

/// The names that an expression can use, and its file.
#[derive(Clone)]
pub(super) struct Scope<'n, 'f> {
    pub(super) names: &'n Names<'f>,
    pub(super) file: &'f HclFile,
    /// `each`, `count`, the iterators of `dynamic` and the variables of `for`.
    variables: BTreeMap<String, Rc<Node>>,
    followed: usize,
}

impl<'n, 'f> Scope<'n, 'f> {
    pub(super) fn new(names: &'n Names<'f>, file: &'f HclFile) -> Self {
        Self { names, file, variables: BTreeMap::new(), followed: 0 }
    }

    /// The scope with a variable.
    pub(super) fn with(&self, name: &str, value: Node) -> Self {
        let mut scope = self.clone();
        scope.variables.insert(name.to_owned(), Rc::new(value));
        scope
    }

    /// The scope with a variable of which nothing is known: an outer one of its name is hidden.
    fn without(&self, name: &str) -> Self {
        let mut scope = self.clone();
        scope.variables.remove(name);
        scope
    }

    /// The scope of a definition in a file; `None` if names were followed too often.
    pub(super) fn followed(&self, file: &'f HclFile) -> Option<Self> {
        let followed = self.followed + 1;
        let variables = BTreeMap::new();
        (followed <= MAX_FOLLOWED).then_some(Self { names: self.names, file, variables, followed })
    }

    /// Evaluates the content of a block.
    pub(super) fn content(&self, content: Content<'f>, place: Place) -> Node {
        match content {
            Content::Body(body) => self.body(body, place),
            Content::Object(_) => {
                let mut members: Vec<(String, Node)> = Vec::new();
                for (name, value) in content.attributes() {
                    if name == "dynamic" {
                        self.dynamics_of_json(value, &mut members);
                    } else if name != "//" {
                        members.push((name, self.node(value)));
                    }
                }
                Node { value: Value::Map(members), place }
            }
        }
    }

    fn body(&self, body: &'f Body, place: Place) -> Node {
        let mut members: Vec<(String, Node)> = Vec::new();
        for attribute in body.attributes() {
            members.push((attribute.key.to_string(), self.node(&attribute.value)));
        }
        for block in body.blocks() {
            let at = self.file.place(block.span());
            match block.labels.first() {
                Some(label) if block.has_ident("dynamic") => {
                    let content = block.body.get_blocks("content").next();
                    let content = content.map(|content| Content::Body(&content.body));
                    let (of, at) = (Content::Body(&block.body), at);
                    self.dynamic(label.as_str(), of, content, at, &mut members);
                }
                _ => add(&mut members, &block.ident, self.body(&block.body, at)),
            }
        }
        Node { value: Value::Map(members), place }
    }

    /// `"dynamic": {"condition": {"for_each": …, "content": {…}}}`, or a list of these.
    fn dynamics_of_json(&self, value: &'f Expression, members: &mut Vec<(String, Node)>) {
        if let Expression::Array(array) = value {
            array.iter().for_each(|one| self.dynamics_of_json(one, members));
            return;
        }
        for (name, block) in Content::Object(value).attributes() {
            let blocks: Vec<_> = match block {
                Expression::Array(array) => array.iter().collect(),
                block => vec![block],
            };
            for block in blocks {
                let of = Content::Object(block);
                let content = of.attribute("content").map(Content::Object);
                self.dynamic(&name, of, content, self.file.place(block.span()), members);
            }
        }
    }

    /// Evaluates `dynamic "NAME" { for_each = …, content { … } }`.
    fn dynamic(
        &self,
        name: &str,
        of: Content<'f>,
        content: Option<Content<'f>>,
        place: Place,
        members: &mut Vec<(String, Node)>,
    ) {
        let iterator = of.attribute("iterator").map(|name| name.to_string().trim().to_owned());
        let iterator = iterator.unwrap_or_else(|| name.to_owned());
        let each = of.attribute("for_each").map(|each| self.node(each));
        match (each.as_ref().and_then(pairs), content) {
            (Some(pairs), Some(content)) if pairs.len() <= super::MAX_COUNT => {
                for pair in pairs {
                    let scope = self.with(&iterator, iteration(pair));
                    add(members, name, scope.content(content, place.clone()));
                }
            }
            (_, content) => {
                let scope = self.without(&iterator);
                let likely = content.map(|content| scope.content(content, place.clone()));
                let written = format!("dynamic \"{name}\"");
                add(members, name, Node::unknown(&written, likely.into_iter().collect(), place));
            }
        }
    }

    pub(super) fn node(&self, expression: &'f Expression) -> Node {
        let place = self.file.place(expression.span());
        if !self.names.may_make(1) {
            return Node::unknown("…", Vec::new(), place);
        }
        // Copies cost as much as what they are made of.
        let counted = |node: Node| match self.names.may_make(node.size()) {
            true => node,
            false => Node::unknown("…", Vec::new(), place.clone()),
        };
        let unknown = || Node::unknown(&expression.to_string(), Vec::new(), place.clone());
        let value = match expression {
            Expression::Null(_) => Value::Null,
            Expression::Bool(bool) => Value::Bool(*bool.value()),
            Expression::Number(number) => Value::Number(number.value().to_string()),
            Expression::String(string) => Value::Text(Text::known(string.value())),
            Expression::StringTemplate(template) => return self.string(template, place),
            Expression::HeredocTemplate(heredoc) => Value::Text(self.heredoc(heredoc, &place)),
            Expression::Parenthesis(inner) => return self.node(inner.inner()),
            Expression::Array(array) => {
                Value::List(array.iter().map(|element| self.node(element)).collect())
            }
            Expression::Object(object) => {
                let mut members: Vec<(String, Node)> = Vec::new();
                for (key, value) in object.iter() {
                    let key = self.key(key);
                    let (name, is_again) = tolerate::unmarked(&key);
                    if is_again {
                        members.retain(|(earlier, _)| earlier != name);
                    }
                    members.push((name.to_owned(), self.node(value.expr())));
                }
                Value::Map(members)
            }
            Expression::FuncCall(call) => {
                let arguments: Vec<_> = call.args.iter().map(|one| self.node(one)).collect();
                let expanded = match arguments.split_last() {
                    Some((last, before)) if call.args.expand_final() => match &last.value {
                        Value::List(elements) => [before, elements.as_slice()].concat(),
                        _ => return unknown(),
                    },
                    _ => arguments,
                };
                let written = expression.to_string();
                if let Some(text) = self.of_file(call.name.name.as_str(), &expanded) {
                    return counted(Node::of_text(text, place.clone()));
                }
                let made = functions::call(call.name.name.as_str(), &expanded, &written, &place);
                return made.map_or_else(unknown, counted);
            }
            Expression::Variable(name) => {
                let variable = self.variables.get(name.as_str());
                return match variable.filter(|variable| self.names.may_make(variable.size())) {
                    Some(variable) => (**variable).clone(),
                    None => unknown(),
                };
            }
            Expression::Traversal(traversal) => {
                return match self.traversal(traversal, &place) {
                    Some(node) => counted(Node { place: place.clone(), ..node }),
                    None => unknown(),
                };
            }
            Expression::Conditional(conditional) => {
                let one = |is_true| {
                    let branch =
                        if is_true { &conditional.true_expr } else { &conditional.false_expr };
                    self.node(branch)
                };
                return match self.node(&conditional.cond_expr).known().as_deref() {
                    Some("true") => one(true),
                    Some("false") => one(false),
                    _ => {
                        let unknown = unknown();
                        let origin =
                            format!("one branch of `{}`", unknown.written().unwrap_or_default());
                        let branches = [one(true), one(false)].map(|node| node.uncertain(&origin));
                        let likely = branches.iter().flat_map(Node::elements).cloned().collect();
                        Node::unknown(&expression.to_string(), likely, place)
                    }
                };
            }
            Expression::UnaryOp(op) => {
                let operand = self.node(&op.expr);
                return operators::unary(*op.operator.value(), &operand).unwrap_or_else(unknown);
            }
            Expression::BinaryOp(op) => {
                let (left, right) = (self.node(&op.lhs_expr), self.node(&op.rhs_expr));
                return operators::binary(*op.operator.value(), &left, &right)
                    .unwrap_or_else(unknown);
            }
            Expression::ForExpr(each) => return self.each(each, expression, place),
        };
        Node { value, place }
    }

    /// Evaluates `file` and `templatefile`, of the given files alone.
    fn of_file(&self, function: &str, arguments: &[Node]) -> Option<Text> {
        match (function, arguments) {
            ("file", [path]) => Some(Text::known(self.file_text(path)?)),
            ("templatefile", [path, values]) => {
                let template: Template = self.file_text(path)?.parse().ok()?;
                let followed = self.followed + 1;
                (followed <= MAX_FOLLOWED).then_some(())?;
                let variables = values.members().iter();
                let variables =
                    variables.map(|(name, value)| (name.clone(), Rc::new(value.clone())));
                let variables = variables.collect();
                // The template lives as long as this call, and so do the names that it sees.
                let (names, file): (&Names<'_>, &HclFile) = (self.names, self.file);
                Some(Scope { names, file, variables, followed }.template(template.iter()))
            }
            _ => None,
        }
    }

    /// Evaluates `[for … : …]` and `{for … : … => …}`.
    fn each(&self, each: &'f ForExpr, expression: &Expression, place: Place) -> Node {
        let collection = self.node(&each.intro.collection_expr);
        let value_name = each.intro.value_var.as_str();
        let pairs = if each.grouping { None } else { pairs(&collection) };
        let Some(pairs) = pairs.filter(|pairs| pairs.len() <= super::MAX_COUNT) else {
            let mut scope = self.without(value_name);
            if let Some(key) = &each.intro.key_var {
                scope = scope.without(key.as_str());
            }
            let origin = "an element of a list that is not known";
            let likely =
                each.key_expr.is_none().then(|| scope.node(&each.value_expr).uncertain(origin));
            return Node::unknown(&expression.to_string(), likely.into_iter().collect(), place);
        };
        let is_list = matches!(collection.value, Value::List(_));
        let (mut list, mut map, mut is_certain) = (Vec::new(), Vec::new(), true);
        for (at, (key, value)) in pairs.into_iter().enumerate() {
            let key =
                if is_list { Node { value: Value::Number(at.to_string()), ..key } } else { key };
            let mut scope = self.with(value_name, value);
            if let Some(name) = &each.intro.key_var {
                scope = scope.with(name.as_str(), key);
            }
            let condition = each.cond.as_ref().map(|condition| scope.node(&condition.expr).known());
            match condition.as_ref().map(Option::as_deref) {
                None | Some(Some("true")) => {}
                Some(Some("false")) => continue,
                Some(_) => is_certain = false,
            }
            let node = scope.node(&each.value_expr);
            match &each.key_expr {
                None => list.push(node),
                Some(key) => match scope.node(key).known() {
                    Some(key) => map.push((key, node)),
                    None => is_certain = false,
                },
            }
        }
        match (is_certain, each.key_expr.is_some()) {
            (true, false) => Node { value: Value::List(list), place },
            (true, true) => Node { value: Value::Map(map), place },
            (false, _) => {
                let origin = "an element that may be left out";
                let likely = list.into_iter().map(|node| node.uncertain(origin)).collect();
                Node::unknown(&expression.to_string(), likely, place)
            }
        }
    }

    /// Resolves a name with its steps, if the files define it.
    fn traversal(&self, traversal: &'f Traversal, place: &Place) -> Option<Node> {
        let operators: Vec<_> = traversal.operators.iter().map(|one| one.value()).collect();
        let (node, taken) = match &traversal.expr {
            Expression::Variable(name) => match self.variables.get(name.as_str()) {
                Some(variable) if self.names.may_make(variable.size()) => ((**variable).clone(), 0),
                Some(_) => return None,
                None => {
                    let steps = operators.iter().map_while(|one| match one {
                        TraversalOperator::GetAttr(name) => Some(name.as_str()),
                        _ => None,
                    });
                    let steps: Vec<_> = steps.collect();
                    self.resolve(name.as_str(), &steps, place)?
                }
            },
            expression => (self.node(expression), 0),
        };
        self.steps(node, operators.get(taken..)?)
    }

    fn steps(&self, mut node: Node, operators: &[&'f TraversalOperator]) -> Option<Node> {
        for (at, operator) in operators.iter().enumerate() {
            node = match operator {
                TraversalOperator::GetAttr(name) => node.get(name.as_str())?.clone(),
                TraversalOperator::LegacyIndex(index) => element(&node, *index.value())?,
                TraversalOperator::Index(index) => match (&node.value, self.node(index).known()?) {
                    (Value::List(_), index) => element(&node, index.parse().ok()?)?,
                    (_, key) => node.get(&key)?.clone(),
                },
                TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => {
                    let Value::List(elements) = node.value else { return None };
                    let rest = operators.get(at + 1..)?;
                    let elements = elements.into_iter().map(|one| self.steps(one, rest));
                    let value = Value::List(elements.collect::<Option<_>>()?);
                    return Some(Node { value, place: node.place });
                }
            };
        }
        Some(node)
    }

    fn key(&self, key: &'f ObjectKey) -> String {
        match key {
            ObjectKey::Ident(name) => name.to_string(),
            ObjectKey::Expression(expression) => {
                let text = self.node(expression).text();
                text.map_or_else(|| expression.to_string(), |text| text.text)
            }
        }
    }

    /// A quoted text; one that is a single expression is its value.
    fn string(&self, template: &'f StringTemplate, place: Place) -> Node {
        let mut elements = template.iter();
        if let (Some(Element::Interpolation(only)), None) = (elements.next(), elements.next()) {
            let node = self.node(&only.expr);
            return match node.value {
                Value::Text(text) => Node::of_text(Text { first_line: None, ..text }, place),
                _ => Node { place, ..node },
            };
        }
        Node::of_text(self.template(template.iter()), place)
    }

    fn heredoc(&self, heredoc: &'f HeredocTemplate, place: &Place) -> Text {
        let Place::Line(line) = place else { return self.template(heredoc.template.iter()) };
        Text { first_line: Some(line + 1), ..self.template(heredoc.template.iter()) }
    }

    fn template(&self, elements: impl Iterator<Item = &'f Element>) -> Text {
        let mut made = Text::known("");
        for element in elements {
            match element {
                Element::Literal(literal) => made.text.push_str(literal.value()),
                Element::Interpolation(interpolation) => {
                    let part = self.node(&interpolation.expr);
                    let written = || interpolation.expr.to_string();
                    // Only the value of `jsonencode` can be a list or a map here.
                    let encoded = matches!(part.value, Value::List(_) | Value::Map(_))
                        .then(|| part.json())
                        .flatten()
                        .map(|(json, known)| Text { known, ..Text::known(json.to_string()) });
                    let part = encoded
                        .or_else(|| part.text())
                        .unwrap_or_else(|| Text::unknown(format!("${{{}}}", written().trim())));
                    // Texts that are put together of others could grow without a bound.
                    let fits = made.text.len() + part.text.len() <= crate::json::MAX_FILE_BYTES;
                    if !fits
                        || !self.names.may_make(Node::of_text(part.clone(), Place::Line(1)).size())
                    {
                        made.text.push_str("${…}");
                        made.known = false;
                        continue;
                    }
                    made.text.push_str(&part.text);
                    made.known &= part.known;
                    made.origin = made.origin.or(part.origin);
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

/// Adds a block to those of its name.
fn add(members: &mut Vec<(String, Node)>, name: &str, node: Node) {
    match members.iter_mut().find(|(key, _)| key == name) {
        Some((_, Node { value: Value::List(nodes), .. })) => nodes.push(node),
        _ => {
            let place = node.place.clone();
            members.push((name.to_owned(), Node { value: Value::List(vec![node]), place }));
        }
    }
}

fn element(node: &Node, index: u64) -> Option<Node> {
    let Value::List(elements) = &node.value else { return None };
    elements.get(usize::try_from(index).ok()?).cloned()
}
