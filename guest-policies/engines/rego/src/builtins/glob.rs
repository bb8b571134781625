//! Globs, as OPA matches them: `*` and `?` stop at delimiters, `**` does not.
//!
//! Matched without compiling: most patterns of a list differ from a value in their first characters.

use anyhow::{Result, anyhow, bail};
use regorus::Value;

use super::Function;
use super::arguments::{take, text, wrong};

pub(super) const FUNCTIONS: &[Function] =
    &[("glob.match", 3, glob_match), ("glob.quote_meta", 1, quote_meta)];

/// The deepest nesting of alternatives.
const MAX_DEPTH: usize = 8;

/// A part of a pattern. A split goes on at both places.
enum Node {
    Char(char),
    /// Any character but a delimiter.
    One,
    /// A class of characters.
    Class {
        ranges: Vec<(char, char)>,
        is_negated: bool,
    },
    /// Any number of characters; of delimiters too, if so.
    Many {
        crosses: bool,
    },
    Split(usize, usize),
    Jump(usize),
}

/// A pattern that is read.
pub struct Glob {
    nodes: Vec<Node>,
    delimiters: Vec<char>,
}

impl Glob {
    /// Reads a pattern. `delimiters` is what the second argument of `glob.match` is.
    ///
    /// # Errors
    /// When the pattern or the delimiters are none.
    pub fn new(pattern: &str, delimiters: &Value) -> Result<Self> {
        let delimiters = delimiters_of(delimiters)?;
        let chars: Vec<char> = pattern.chars().collect();
        let mut reader = Reader { pattern, chars: &chars, at: 0, nodes: Vec::new() };
        reader.sequence(0)?;
        Ok(Self { nodes: reader.nodes, delimiters })
    }

    /// Says that the pattern matches the whole text.
    pub fn is_match(&self, text: &str) -> bool {
        let mut now = vec![false; self.nodes.len() + 1];
        self.enter(0, &mut now);
        for c in text.chars() {
            let is_delimiter = self.delimiters.contains(&c);
            let mut next = vec![false; self.nodes.len() + 1];
            let mut is_alive = false;
            for (at, node) in self.nodes.iter().enumerate() {
                if !now.get(at).copied().unwrap_or_default() {
                    continue;
                }
                let takes = match node {
                    Node::Char(own) => *own == c,
                    Node::One => !is_delimiter,
                    Node::Class { ranges, is_negated } => {
                        ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *is_negated
                    }
                    Node::Many { crosses } => *crosses || !is_delimiter,
                    Node::Split(..) | Node::Jump(_) => false,
                };
                if takes {
                    is_alive = true;
                    self.enter(
                        if matches!(node, Node::Many { .. }) { at } else { at + 1 },
                        &mut next,
                    );
                }
            }
            if !is_alive {
                return false;
            }
            now = next;
        }
        now.last().copied().unwrap_or_default()
    }

    /// Marks a place, and those that are reached from it without a character.
    fn enter(&self, at: usize, marked: &mut [bool]) {
        let mut left = vec![at];
        while let Some(at) = left.pop() {
            match marked.get_mut(at) {
                Some(mark) if !*mark => *mark = true,
                _ => continue,
            }
            match self.nodes.get(at) {
                Some(Node::Many { .. }) => left.push(at + 1),
                Some(Node::Split(one, other)) => left.extend([*one, *other]),
                Some(Node::Jump(to)) => left.push(*to),
                _ => {}
            }
        }
    }
}

/// Says that a pattern begins with other characters than a text does, so that it cannot match.
pub fn differs_at_once(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (Some('*' | '?' | '[' | '{' | '\\'), _) | (None, _) | (_, None) => false,
        (Some(one), Some(other)) => one != other,
    }
}

struct Reader<'p> {
    pattern: &'p str,
    chars: &'p [char],
    at: usize,
    nodes: Vec<Node>,
}

impl Reader<'_> {
    /// Reads to the end, or in alternatives to the comma or the brace.
    fn sequence(&mut self, depth: usize) -> Result<()> {
        while let Some(c) = self.chars.get(self.at).copied() {
            match c {
                ',' | '}' if depth > 0 => return Ok(()),
                _ => {}
            }
            self.at += 1;
            match c {
                '*' => {
                    let crosses = self.chars.get(self.at) == Some(&'*');
                    self.at += usize::from(crosses);
                    self.nodes.push(Node::Many { crosses });
                }
                '?' => self.nodes.push(Node::One),
                '[' => self.class()?,
                '{' => self.alternatives(depth)?,
                '\\' => {
                    let escaped = self
                        .chars
                        .get(self.at)
                        .copied()
                        .ok_or_else(|| self.wrong("ends with `\\`"))?;
                    self.at += 1;
                    self.nodes.push(Node::Char(escaped));
                }
                other => self.nodes.push(Node::Char(other)),
            }
        }
        Ok(())
    }

    fn alternatives(&mut self, depth: usize) -> Result<()> {
        if depth >= MAX_DEPTH {
            bail!(self.wrong("nests alternatives too deep"));
        }
        let mut ends = Vec::new();
        loop {
            let split = self.nodes.len();
            self.nodes.push(Node::Jump(0));
            self.sequence(depth + 1)?;
            let end = self.chars.get(self.at).copied();
            self.at += 1;
            let is_last = match end {
                Some('}') => true,
                Some(_) => false,
                None => bail!(self.wrong("has a `{` that is not closed")),
            };
            ends.push(self.nodes.len());
            self.nodes.push(Node::Jump(0));
            let next = self.nodes.len();
            let node = if is_last { Node::Jump(split + 1) } else { Node::Split(split + 1, next) };
            if let Some(slot) = self.nodes.get_mut(split) {
                *slot = node;
            }
            if is_last {
                break;
            }
        }
        let after = self.nodes.len();
        for end in ends {
            if let Some(slot) = self.nodes.get_mut(end) {
                *slot = Node::Jump(after);
            }
        }
        Ok(())
    }

    fn class(&mut self) -> Result<()> {
        let is_negated = matches!(self.chars.get(self.at), Some('!' | '^'));
        self.at += usize::from(is_negated);
        let mut ranges = Vec::new();
        loop {
            let mut from = self.next_of_class()?;
            if from == ']' && !ranges.is_empty() {
                break;
            }
            if from == '\\' {
                from = self.next_of_class()?;
            }
            if self.chars.get(self.at) == Some(&'-')
                && self.chars.get(self.at + 1).is_some_and(|c| *c != ']')
            {
                self.at += 1;
                let to = self.next_of_class()?;
                ranges.push((from, to));
            } else {
                ranges.push((from, from));
            }
        }
        self.nodes.push(Node::Class { ranges, is_negated });
        Ok(())
    }

    fn next_of_class(&mut self) -> Result<char> {
        let next = self
            .chars
            .get(self.at)
            .copied()
            .ok_or_else(|| self.wrong("has a `[` that is not closed"))?;
        self.at += 1;
        Ok(next)
    }

    fn wrong(&self, problem: &str) -> anyhow::Error {
        anyhow!("glob.match: the pattern `{}` {problem}", self.pattern)
    }
}

fn delimiters_of(value: &Value) -> Result<Vec<char>> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) if items.is_empty() => Ok(vec!['.']),
        Value::Array(items) => items.iter().map(delimiter).collect(),
        other => Err(wrong("glob.match", "an array of delimiters or null", other)),
    }
}

fn delimiter(value: &Value) -> Result<char> {
    let text = text("glob.match", value)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Ok(only),
        _ => bail!("glob.match: expected delimiters of one character, found `{text}`"),
    }
}

fn glob_match(arguments: Vec<Value>) -> Result<Value> {
    let name = "glob.match";
    let [pattern, delimiters, value] = take(arguments)?;
    let (pattern, value) = (text(name, &pattern)?, text(name, &value)?);
    if differs_at_once(pattern, value) {
        return Ok(Value::from(false));
    }
    Ok(Value::from(Glob::new(pattern, &delimiters)?.is_match(value)))
}

fn quote_meta(arguments: Vec<Value>) -> Result<Value> {
    let [pattern] = take(arguments)?;
    let mut quoted = String::new();
    for c in text("glob.quote_meta", &pattern)?.chars() {
        if matches!(c, '*' | '?' | '\\' | '[' | ']' | '{' | '}') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    Ok(Value::from(quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_stop_at_delimiters() {
        let delimiters = |text: &str| {
            Value::from(text.chars().map(|c| Value::from(c.to_string())).collect::<Vec<_>>())
        };
        for (pattern, within, text, expected) in [
            ("*.github.com", "", "api.github.com", true),
            ("*.github.com", "", "api.cdn.github.com", false),
            ("**.github.com", "", "api.cdn.github.com", true),
            ("*hub.com", ".", "api.cdn.github.com", false),
            ("*:github:com", ":", "api:github:com", true),
            ("api.**.com", ".", "api.cdn.github.com", true),
            ("team-*", "-", "team-a", true),
            ("team-*", "-", "team-a-b", false),
            ("?at", "", "cat", true),
            ("?at", "", "at", false),
            ("[abc]at", "", "bat", true),
            ("[!abc]at", "", "cat", false),
            ("[!abc]at", "", "lat", true),
            ("[a-c]at", "", "cat", true),
            ("[!a-c]at", "", "lat", true),
            ("{cat,bat,[fr]at}", "", "rat", true),
            ("{cat,bat,[fr]at}", "", "mat", false),
            ("{cat,bat,[fr]at}s", "", "bats", true),
            ("a\\*", "", "a*", true),
            ("a\\*", "", "ab", false),
            ("", "", "", true),
        ] {
            let glob = Glob::new(pattern, &delimiters(within)).expect(pattern);
            assert_eq!(glob.is_match(text), expected, "{pattern} {text}");
            assert!(!(expected && differs_at_once(pattern, text)));
        }
        assert!(Glob::new("[a", &Value::Null).is_err());
        assert!(Glob::new("{a", &Value::Null).is_err());
        assert!(Glob::new("*", &Value::Null).expect("a pattern").is_match("a.b/c"));
    }
}
