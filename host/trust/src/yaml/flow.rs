//! Flow collections, scalars and tags of YAML.

use crate::json::MAX_DEPTH;
use crate::node::{Node, Place, Text, Value};

/// The quotes and brackets of a text that are open so far.
pub(super) struct Open {
    depth: usize,
    quote: Option<char>,
    before: char,
}

impl Open {
    pub(super) fn of(text: &str) -> Self {
        let mut open = Self { depth: 0, quote: None, before: ' ' };
        open.read(text);
        open
    }

    /// Reads on.
    pub(super) fn read(&mut self, text: &str) {
        for character in text.chars() {
            match (self.quote, character) {
                (Some(open), character)
                    if open == character && (open == '\'' || self.before != '\\') =>
                {
                    self.quote = None;
                }
                (Some(_), _) => {}
                (None, '"' | '\'') if " [{,:".contains(self.before) => self.quote = Some(character),
                (None, '[' | '{') => self.depth += 1,
                (None, ']' | '}') => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.before = character;
        }
    }

    pub(super) fn is_any(&self) -> bool {
        self.depth > 0 || self.quote.is_some()
    }
}

/// Parses a value on one line.
pub(super) fn parse(text: &str, place: &Place, depth: usize) -> Result<Node, String> {
    let mut flow = Flow { rest: text.trim(), place };
    let node = if text.starts_with(['[', '{']) {
        flow.node(depth)?
    } else {
        let text = std::mem::take(&mut flow.rest);
        plain_or_quoted(text, place)?
    };
    if flow.rest.trim().is_empty() {
        Ok(node)
    } else {
        Err("text after the end of a value".to_owned())
    }
}

/// The text of a scalar.
pub(super) fn scalar(text: &str) -> Result<String, String> {
    let unclosed = || "a quoted text without its end".to_owned();
    if let Some(inner) = text.strip_prefix('\'') {
        return Ok(inner.strip_suffix('\'').ok_or_else(unclosed)?.replace("''", "'"));
    }
    if text.starts_with('"') {
        // YAML's escapes that JSON lacks are rare in templates.
        return serde_json::from_str(text)
            .map_err(|_| "a quoted text that is not read here".to_owned());
    }
    Ok(text.to_owned())
}

fn plain_or_quoted(text: &str, place: &Place) -> Result<Node, String> {
    if text.starts_with(['&', '*']) {
        return Err("anchors and aliases within `[…]` and `{…}` are not read here".to_owned());
    }
    if text.starts_with(['"', '\'']) {
        return Ok(Node::of_text(Text::known(scalar(text)?), place.clone()));
    }
    let value = match text {
        "" | "~" | "null" => Value::Null,
        "true" | "false" => Value::Bool(text == "true"),
        _ if text.parse::<f64>().is_ok() => Value::Number(text.to_owned()),
        _ => Value::Text(Text::known(text)),
    };
    Ok(Node { value, place: place.clone() })
}

/// The node of a tag: CloudFormation's short form of a function, `!Sub text`, is `{"Fn::Sub": text}`.
pub(super) fn tagged(tag: &str, inner: Node, place: Place) -> Node {
    let name = tag.trim_start_matches('!');
    let inner = match (name, &inner.value) {
        // `!GetAtt Resource.Attribute`.
        ("GetAtt", Value::Text(text)) => {
            let parts = text.text.splitn(2, '.');
            let parts = parts.map(|part| Node::of_text(Text::known(part), place.clone()));
            Node { value: Value::List(parts.collect()), place: place.clone() }
        }
        _ => inner,
    };
    let function = match name {
        "Ref" | "Condition" => name.to_owned(),
        // Tags of YAML itself.
        "!str" | "!map" | "!seq" | "str" | "map" | "seq" => return inner,
        _ => format!("Fn::{name}"),
    };
    Node { value: Value::Map(vec![(function, inner)]), place }
}

struct Flow<'t, 'p> {
    rest: &'t str,
    place: &'p Place,
}

impl<'t> Flow<'t, '_> {
    fn skip(&mut self, character: char) -> bool {
        self.rest = self.rest.trim_start();
        let after = self.rest.strip_prefix(character);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn node(&mut self, depth: usize) -> Result<Node, String> {
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if self.skip('[') {
            let mut elements = Vec::new();
            while !self.skip(']') {
                elements.push(self.node(depth + 1)?);
                self.between(']')?;
            }
            return Ok(Node { value: Value::List(elements), place: self.place.clone() });
        }
        if self.skip('{') {
            let mut members = Vec::new();
            while !self.skip('}') {
                let key = scalar(self.word()?)?;
                let value = match self.skip(':') {
                    true => self.node(depth + 1)?,
                    false => Node { value: Value::Null, place: self.place.clone() },
                };
                members.push((key, value));
                self.between('}')?;
            }
            return Ok(Node { value: Value::Map(members), place: self.place.clone() });
        }
        if self.rest.starts_with('!') {
            let end = self.rest.find([' ', ',', ']', '}']).unwrap_or(self.rest.len());
            let (tag, rest) = self.rest.split_at(end);
            self.rest = rest;
            let inner = self.node(depth + 1)?;
            return Ok(tagged(tag, inner, self.place.clone()));
        }
        let word = self.word()?;
        plain_or_quoted(word, self.place)
    }

    /// Steps over the comma between two elements; a collection may end with one.
    fn between(&mut self, end: char) -> Result<(), String> {
        let is_next = self.skip(',') || self.rest.starts_with(end);
        is_next.then_some(()).ok_or_else(|| format!("expected `,` or `{end}`"))
    }

    /// A scalar.
    fn word(&mut self) -> Result<&'t str, String> {
        self.rest = self.rest.trim_start();
        let rest = self.rest;
        let end = match rest.chars().next() {
            None => return Err("the end of the text within a collection".to_owned()),
            Some(quote @ ('"' | '\'')) => {
                let mut before = ' ';
                let closing = rest.char_indices().skip(1).find(|&(_, character)| {
                    let closes = character == quote && (quote == '\'' || before != '\\');
                    before = character;
                    closes
                });
                closing.map(|(at, _)| at + 1).ok_or("a quoted text without its end")?
            }
            // A colon ends a key if a blank follows.
            Some(_) => {
                let mut ends = rest.char_indices().filter(|&(at, character)| match character {
                    ',' | ']' | '}' | '[' | '{' => true,
                    ':' => rest
                        .get(at + 1..)
                        .is_none_or(|r| r.is_empty() || r.starts_with([' ', ',', '}'])),
                    _ => false,
                });
                ends.next().map_or(rest.len(), |(at, _)| at)
            }
        };
        let (word, after) = rest.split_at(end);
        self.rest = after;
        let word = word.trim_end();
        if word.is_empty() {
            Err("an element of a collection is missing".to_owned())
        } else {
            Ok(word)
        }
    }
}
