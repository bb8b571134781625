//! `strings.render_template`: texts with parts in braces, as Go's `text/template` has them: members, `range`, `if`, `with`,
//! `else`, variables, comments and trimmed spaces.

use anyhow::{Result, anyhow, bail};
use regorus::Value;

use super::Function;
use super::arguments::{take, text};

pub(super) const FUNCTIONS: &[Function] = &[("strings.render_template", 2, render)];

/// The longest text that is made, and the most actions that are run for it.
const MAX_BYTES: usize = 1 << 20;
const MAX_ACTIONS: usize = 100_000;

/// A part of a template.
enum Node {
    Text(String),
    /// An expression whose value is written.
    Show(String),
    /// A block: its word, its expression, and its two branches.
    Block(String, String, Vec<Node>, Vec<Node>),
    /// `$x := …`
    Assign(String, String),
}

fn render(arguments: Vec<Value>) -> Result<Value> {
    let [template, values] = take(arguments)?;
    let parts = split(text("strings.render_template", &template)?)?;
    let mut parts = parts.into_iter().peekable();
    let (nodes, end) = parse(&mut parts, 0)?;
    if let Some(end) = end {
        bail!("strings.render_template: `{end}` without a block");
    }
    let mut renderer = Renderer {
        variables: vec![("$".to_owned(), values.clone())],
        out: String::new(),
        actions: 0,
    };
    renderer.nodes(&nodes, &values)?;
    Ok(Value::from(renderer.out))
}

/// The texts and actions of a template. Dashes beside the braces take the spaces away that are there.
fn split(template: &str) -> Result<Vec<(bool, String)>> {
    let (mut parts, mut rest, mut trims) = (Vec::new(), template, false);
    while let Some(start) = rest.find("{{") {
        let (before, after) = rest.split_at(start);
        let after = after.get(2..).unwrap_or_default();
        let end = after
            .find("}}")
            .ok_or_else(|| anyhow!("strings.render_template: `{{{{` is not closed"))?;
        let (mut action, next) = after.split_at(end);
        let before = if trims { before.trim_start() } else { before };
        let before = if action.starts_with("- ") { before.trim_end() } else { before };
        action = action.strip_prefix("- ").unwrap_or(action);
        trims = action.ends_with(" -");
        action = action.strip_suffix(" -").unwrap_or(action);
        parts.push((false, before.to_owned()));
        if !action.trim().starts_with("/*") {
            parts.push((true, action.trim().to_owned()));
        }
        rest = next.get(2..).unwrap_or_default();
    }
    parts.push((false, if trims { rest.trim_start() } else { rest }.to_owned()));
    Ok(parts)
}

type Parts = std::iter::Peekable<std::vec::IntoIter<(bool, String)>>;

/// The nodes up to `end` or `else`, and that word.
fn parse(parts: &mut Parts, depth: usize) -> Result<(Vec<Node>, Option<String>)> {
    if depth > 32 {
        bail!("strings.render_template: blocks are nested more than 32 deep");
    }
    let mut nodes = Vec::new();
    while let Some((is_action, text)) = parts.next() {
        if !is_action {
            nodes.push(Node::Text(text));
            continue;
        }
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
        match word {
            "end" | "else" => return Ok((nodes, Some(text))),
            "if" | "range" | "with" => {
                let (then, mut end) = parse(parts, depth + 1)?;
                let mut other = Vec::new();
                if let Some(rest) = end.as_deref().and_then(|end| end.strip_prefix("else")) {
                    let rest = rest.trim();
                    if rest.is_empty() {
                        (other, end) = parse(parts, depth + 1)?;
                    } else {
                        // `else if` is a block within the other branch, and shares its end.
                        let mut inner: Vec<(bool, String)> = vec![(true, rest.to_owned())];
                        inner.extend(parts.by_ref());
                        let mut inner = inner.into_iter().peekable();
                        other = vec![one_block(&mut inner, depth + 1)?];
                        let left: Vec<_> = inner.collect();
                        nodes.push(Node::Block(word.to_owned(), rest_of(word, &text), then, other));
                        *parts = left.into_iter().peekable();
                        continue;
                    }
                }
                if end.as_deref() != Some("end") {
                    bail!("strings.render_template: `{word}` without `end`");
                }
                nodes.push(Node::Block(word.to_owned(), rest.trim().to_owned(), then, other));
            }
            _ => match text.split_once(":=").filter(|(name, _)| name.trim().starts_with('$')) {
                Some((name, value)) => {
                    nodes.push(Node::Assign(name.trim().to_owned(), value.trim().to_owned()))
                }
                None => nodes.push(Node::Show(text)),
            },
        }
    }
    Ok((nodes, None))
}

/// A block that begins the parts.
fn one_block(parts: &mut Parts, depth: usize) -> Result<Node> {
    let (_, text) =
        parts.next().ok_or_else(|| anyhow!("strings.render_template: a block is missing"))?;
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((&text, ""));
    if word != "if" && word != "with" {
        bail!("strings.render_template: expected `else if` or `else with`, found `else {text}`");
    }
    let (then, end) = parse(parts, depth)?;
    let mut other = Vec::new();
    if let Some(after) = end.as_deref().and_then(|end| end.strip_prefix("else")) {
        if after.trim().is_empty() {
            let (nodes, end) = parse(parts, depth)?;
            if end.as_deref() != Some("end") {
                bail!("strings.render_template: `else` without `end`");
            }
            other = nodes;
        } else {
            let mut inner: Vec<(bool, String)> = vec![(true, after.trim().to_owned())];
            inner.extend(parts.by_ref());
            let mut inner = inner.into_iter().peekable();
            other = vec![one_block(&mut inner, depth + 1)?];
            *parts = inner.collect::<Vec<_>>().into_iter().peekable();
        }
    } else if end.as_deref() != Some("end") {
        bail!("strings.render_template: `{word}` without `end`");
    }
    Ok(Node::Block(word.to_owned(), rest.trim().to_owned(), then, other))
}

fn rest_of(word: &str, text: &str) -> String {
    text.strip_prefix(word).unwrap_or(text).trim().to_owned()
}

struct Renderer {
    variables: Vec<(String, Value)>,
    out: String,
    actions: usize,
}

impl Renderer {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<()> {
        let outer = self.variables.len();
        for node in nodes {
            self.actions += 1;
            if self.actions > MAX_ACTIONS || self.out.len() > MAX_BYTES {
                bail!(
                    "strings.render_template: the text is longer than {MAX_BYTES} bytes, or takes too long"
                );
            }
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Show(expression) => match self.value(expression, dot)? {
                    Value::String(text) => self.out.push_str(&text),
                    Value::Undefined => self.out.push_str("<no value>"),
                    Value::Array(items) => {
                        let items: Vec<_> = items.iter().map(plain).collect();
                        self.out.push_str(&format!("[{}]", items.join(" ")));
                    }
                    other => self.out.push_str(&plain(&other)),
                },
                Node::Assign(name, expression) => {
                    let value = self.value(expression, dot)?;
                    self.variables.push((name.clone(), value));
                }
                Node::Block(word, expression, then, other) => {
                    self.block(word, expression, then, other, dot)?
                }
            }
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn block(
        &mut self,
        word: &str,
        expression: &str,
        then: &[Node],
        other: &[Node],
        dot: &Value,
    ) -> Result<()> {
        let (names, expression) = match expression.split_once(":=") {
            Some((names, expression)) => {
                (names.split(',').map(|name| name.trim().to_owned()).collect(), expression.trim())
            }
            None => (Vec::new(), expression),
        };
        let value = self.value(expression, dot)?;
        let outer = self.variables.len();
        if word == "range" {
            let members: Vec<(Value, Value)> = match &value {
                Value::Array(items) => items
                    .iter()
                    .enumerate()
                    .map(|(key, item)| (Value::from(key), item.clone()))
                    .collect(),
                Value::Set(items) => items
                    .iter_sorted()
                    .enumerate()
                    .map(|(key, item)| (Value::from(key), item.clone()))
                    .collect(),
                Value::Object(items) => {
                    items.iter_sorted().map(|(key, item)| (key.clone(), item.clone())).collect()
                }
                _ => Vec::new(),
            };
            if members.is_empty() {
                return self.nodes(other, dot);
            }
            for (key, member) in members {
                match names.as_slice() {
                    [one] => self.variables.push((one.clone(), member.clone())),
                    [one, two] => {
                        self.variables.push((one.clone(), key));
                        self.variables.push((two.clone(), member.clone()));
                    }
                    _ => {}
                }
                self.nodes(then, &member)?;
                self.variables.truncate(outer);
            }
            return Ok(());
        }
        if let [name] = names.as_slice() {
            self.variables.push((name.clone(), value.clone()));
        }
        if is_true(&value) {
            self.nodes(then, if word == "with" { &value } else { dot })?;
        } else {
            self.nodes(other, dot)?;
        }
        self.variables.truncate(outer);
        Ok(())
    }

    fn value(&self, expression: &str, dot: &Value) -> Result<Value> {
        let expression = expression.trim();
        if let Some(text) = expression.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
            return Ok(Value::from(text));
        }
        if let Some(inner) = expression.strip_prefix("not ") {
            return Ok(Value::from(!is_true(&self.value(inner, dot)?)));
        }
        if let Some(inner) = expression.strip_prefix("len ") {
            return Ok(Value::from(match self.value(inner, dot)? {
                Value::String(text) => text.len(),
                Value::Array(items) => items.len(),
                Value::Set(items) => items.len(),
                Value::Object(items) => items.len(),
                other => bail!("strings.render_template: `len` of {other}"),
            }));
        }
        if expression.parse::<f64>().is_ok() {
            return Value::from_json_str(expression);
        }
        let (root, path) = expression.split_once('.').unwrap_or((expression, ""));
        let mut value = match root {
            "" if expression.starts_with('.') => dot.clone(),
            "true" => return Ok(Value::from(true)),
            "false" => return Ok(Value::from(false)),
            name => {
                let found = self.variables.iter().rev().find(|(variable, _)| variable == name);
                let found = found.map(|(_, value)| value.clone());
                found.ok_or_else(|| {
                    anyhow!("strings.render_template: `{expression}` is not known")
                })?
            }
        };
        for key in path.split('.').filter(|key| !key.is_empty()) {
            if !key.chars().all(|c| c.is_alphanumeric() || c == '_') {
                bail!("strings.render_template: `{expression}` is not known");
            }
            value = match &value {
                Value::Object(members) => {
                    members.get(&Value::from(key)).cloned().unwrap_or(Value::Undefined)
                }
                _ => Value::Undefined,
            };
        }
        Ok(value)
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => other.to_string(),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Undefined | Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Set(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
    }
}
