//! Parses the YAML that CloudFormation templates are written in.
//!
//! Block and flow collections, plain, quoted and block scalars, comments, the tags of CloudFormation's functions, anchors,
//! aliases, merge keys and several documents are read. Everything that aliases copy is counted, since they are the means
//! of expansion bombs. Aliases within flow collections are not read, and are a problem with their line.

mod anchors;
mod flow;

use std::collections::{BTreeMap, BTreeSet};

use crate::json::{MAX_DEPTH, MAX_FILE_BYTES};
use crate::node::{Node, Place, Text, Value};

/// A line without its comment.
struct Line<'t> {
    number: usize,
    indent: usize,
    content: &'t str,
}

pub(crate) struct Parser<'t> {
    /// All lines, for block scalars.
    source: Vec<&'t str>,
    /// The lines that have content.
    lines: Vec<Line<'t>>,
    at: usize,
    /// The nodes of anchors so far.
    anchors: BTreeMap<String, Node>,
    /// The number of nodes that aliases copied.
    copied: usize,
}

type Problem = (Place, String);

/// Parses a file.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    if text.len() > MAX_FILE_BYTES {
        return Err((Place::Line(1), format!("longer than {MAX_FILE_BYTES} bytes")));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source: Vec<_> = text.lines().collect();
    let lines = source.iter().enumerate().filter_map(|(at, line)| {
        let content = without_comment(line).trim_end();
        let trimmed = content.trim_start_matches(' ');
        let line = Line { number: at + 1, indent: content.len() - trimmed.len(), content: trimmed };
        (!trimmed.is_empty() && !trimmed.starts_with('%')).then_some(line)
    });
    let lines: Vec<_> = lines.collect();
    let (mut parser, mut documents) = (Parser::new(source, lines), Vec::new());
    loop {
        while parser.is_between() {
            parser.at += 1;
        }
        if parser.at >= parser.lines.len() {
            break;
        }
        parser.anchors.clear();
        documents.push(parser.block(0, 0)?);
        if let Some(line) = parser.lines.get(parser.at).filter(|_| !parser.is_between()) {
            return Err((Place::Line(line.number), "YAML that is not read here".to_owned()));
        }
    }
    // `gcloud … --format=yaml` prints each element of a list as a document.
    Ok(match documents.len() {
        0 => Node { value: Value::Null, place: Place::Line(1) },
        1 => documents.remove(0),
        _ => Node { value: Value::List(documents), place: Place::Line(1) },
    })
}

/// The part of a line before its comment. A `#` within quotes, or without a blank before it, begins none.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, character) in line.char_indices() {
        match (quote, character) {
            (None, '#') if before.is_whitespace() => return line.get(..at).unwrap_or(line),
            (None, '"' | '\'') if " [{,:-".contains(before) => quote = Some(character),
            (Some(open), character) if open == character && before != '\\' => quote = None,
            _ => {}
        }
        before = character;
    }
    line
}

impl<'t> Parser<'t> {
    fn new(source: Vec<&'t str>, lines: Vec<Line<'t>>) -> Self {
        Self { source, lines, at: 0, anchors: BTreeMap::new(), copied: 0 }
    }

    /// Returns true if the current line is between documents.
    fn is_between(&self) -> bool {
        let line = self.lines.get(self.at);
        line.is_some_and(|line| line.indent == 0 && matches!(line.content, "---" | "..."))
    }

    fn line(&self) -> Option<(usize, usize, &'t str)> {
        let line = self.lines.get(self.at).filter(|_| !self.is_between())?;
        Some((line.number, line.indent, line.content))
    }

    fn problem<T>(&self, number: usize, problem: &str) -> Result<T, Problem> {
        Err((Place::Line(number), problem.to_owned()))
    }

    /// Parses the block that begins at the current line, if it is indented at least so far.
    fn block(&mut self, indent: usize, depth: usize) -> Result<Node, Problem> {
        let Some((number, found, content)) = self.line() else {
            return Ok(Node { value: Value::Null, place: Place::Line(self.source.len().max(1)) });
        };
        let place = Place::Line(number);
        if found < indent {
            return Ok(Node { value: Value::Null, place });
        }
        if depth > MAX_DEPTH {
            return self.problem(number, &format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if content == "-" || content.starts_with("- ") {
            return self.sequence(found, depth);
        }
        if split_key(content).is_some() {
            return self.mapping(found, depth);
        }
        self.at += 1;
        self.value(content, number, found, depth)
    }

    fn sequence(&mut self, indent: usize, depth: usize) -> Result<Node, Problem> {
        let place = Place::Line(self.line().map_or(1, |(number, ..)| number));
        let mut elements = Vec::new();
        while let Some((number, found, content)) = self.line() {
            let rest = match content.strip_prefix('-') {
                Some(rest) if found == indent && (rest.is_empty() || rest.starts_with(' ')) => rest,
                _ if found > indent => {
                    return self.problem(number, "a line that is indented too far");
                }
                _ => break,
            };
            let inner = rest.trim_start();
            let inner_indent = indent + 1 + (rest.len() - inner.len());
            if let Some(name) = anchors::before_mapping(inner) {
                elements.push(self.anchored_mapping(name, indent, depth)?);
            } else if inner.is_empty() {
                self.at += 1;
                elements.push(self.block(indent + 1, depth + 1)?);
            } else if split_key(inner).is_some() || inner.starts_with("- ") {
                // `- key: value` is a mapping that is indented as its first key.
                if let Some(line) = self.lines.get_mut(self.at) {
                    (line.indent, line.content) = (inner_indent, inner);
                }
                elements.push(self.block(inner_indent, depth + 1)?);
            } else {
                self.at += 1;
                elements.push(self.value(inner, number, indent, depth + 1)?);
            }
        }
        Ok(Node { value: Value::List(elements), place })
    }

    fn mapping(&mut self, indent: usize, depth: usize) -> Result<Node, Problem> {
        let place = Place::Line(self.line().map_or(1, |(number, ..)| number));
        let (mut members, mut keys) = (Vec::new(), BTreeSet::new());
        let mut merged = Vec::new();
        while let Some((number, found, content)) = self.line() {
            if found < indent || content.starts_with("- ") || content == "-" {
                break;
            }
            if found > indent {
                return self.problem(number, "a line that is indented too far");
            }
            let Some((key, rest)) = split_key(content) else {
                return self.problem(number, "expected `key: value`");
            };
            let key = flow::scalar(key).map_err(|problem| (Place::Line(number), problem))?;
            if key != "<<" && !keys.insert(key.clone()) {
                return self.problem(number, &format!("the key `{key}` stands twice"));
            }
            self.at += 1;
            let node = if rest.is_empty() {
                // A list may stand as far left as its key.
                let is_list = self.line().is_some_and(|(_, found, content)| {
                    found == indent && (content == "-" || content.starts_with("- "))
                });
                match is_list {
                    true => self.sequence(indent, depth + 1)?,
                    false => self.block(indent + 1, depth + 1)?,
                }
            } else {
                self.value(rest, number, indent, depth + 1)?
            };
            if key == "<<" {
                merged.push(node);
                continue;
            }
            members.push((key, node));
        }
        for node in merged {
            anchors::merge(node, &mut members, &mut keys)?;
        }
        Ok(Node { value: Value::Map(members), place })
    }

    /// Parses a value that begins on a line; the next lines may continue it.
    fn value(
        &mut self,
        text: &'t str,
        number: usize,
        indent: usize,
        depth: usize,
    ) -> Result<Node, Problem> {
        let place = Place::Line(number);
        if depth > MAX_DEPTH {
            return self.problem(number, &format!("nested deeper than {MAX_DEPTH} levels"));
        }
        if let Some(name) = text.strip_prefix('*') {
            return self.alias(name, number);
        }
        if let Some(text) = text.strip_prefix('&') {
            return self.anchored(text, number, indent, depth);
        }
        if text.starts_with('!') {
            let (tag, rest) = text.split_once(' ').unwrap_or((text, ""));
            let rest = rest.trim_start();
            let inner = match rest.is_empty() {
                true => self.block(indent + 1, depth + 1)?,
                false => self.value(rest, number, indent, depth + 1)?,
            };
            return Ok(flow::tagged(tag, inner, place));
        }
        if let Some(style) = text.strip_prefix(['|', '>']) {
            if !style.chars().all(|c| c == '-' || c == '+' || c.is_ascii_digit()) {
                return self.problem(number, "expected a block of text");
            }
            return Ok(self.block_scalar(text.starts_with('>'), number, indent));
        }
        // Flow collections, quoted and plain texts may go on over several lines.
        let mut whole = text.to_owned();
        let is_flow = text.starts_with(['[', '{', '"', '\'']);
        let mut open = flow::Open::of(&whole);
        while let Some((_, found, content)) = self.line() {
            let is_open = is_flow && open.is_any();
            if !is_open && (is_flow || found <= indent) {
                break;
            }
            whole.push(' ');
            whole.push_str(content);
            open.read(" ");
            open.read(content);
            self.at += 1;
        }
        flow::parse(&whole, &place, depth).map_err(|problem| (place, problem))
    }

    /// Parses `|` and `>`: the lines that are indented further, as they are.
    fn block_scalar(&mut self, is_folded: bool, number: usize, indent: usize) -> Node {
        let lines = self.source.iter().skip(number);
        let indent_of = |line: &str| line.len() - line.trim_start_matches(' ').len();
        let block: Vec<&str> = lines
            .take_while(|line| line.trim().is_empty() || indent_of(line) > indent)
            .copied()
            .collect();
        let end = number + block.len();
        while self.line().is_some_and(|(number, ..)| number <= end) {
            self.at += 1;
        }
        let margin =
            block.iter().filter(|line| !line.trim().is_empty()).map(|l| indent_of(l)).min();
        let lines = block.iter().map(|line| line.get(margin.unwrap_or(0)..).unwrap_or_default());
        let text = lines.collect::<Vec<_>>().join(if is_folded { " " } else { "\n" });
        let first_line = (!is_folded).then_some(number + 1);
        Node::of_text(Text { first_line, ..Text::known(text.trim_end()) }, Place::Line(number))
    }
}

/// Splits `key: value`. The key may be quoted.
fn split_key(content: &str) -> Option<(&str, &str)> {
    if content.starts_with(['[', '{', '!', '&', '*', '|', '>', '#']) {
        return None;
    }
    let from = match content.chars().next()? {
        quote @ ('"' | '\'') => content.get(1..)?.find(quote)? + 2,
        _ => 0,
    };
    let rest = content.get(from..)?;
    let at = if from > 0 {
        rest.starts_with(':').then_some(0)?
    } else {
        rest.find(": ").or_else(|| rest.ends_with(':').then(|| rest.len() - 1))?
    };
    let (key, value) = content.split_at_checked(from + at)?;
    let value = value.strip_prefix(':')?;
    (value.is_empty() || value.starts_with(' ')).then(|| (key.trim_end(), value.trim()))
}

#[cfg(test)]
mod tests;
