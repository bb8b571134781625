//! Reads a policy file: YAML, without what gives a text a second meaning.
//!
//! Every scalar is a text, whatever YAML would make of it: `no` is a word, and `900` an expression. Anchors, aliases, tags
//! and duplicate keys are errors.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// The maximum depth of nesting. A policy needs five.
const MAX_DEPTH: usize = 8;

/// A place in the policy file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// A problem, and its place in the policy file.
#[derive(Debug)]
pub struct Wrong {
    pub at: Place,
    pub message: String,
}

impl Wrong {
    pub fn new(at: Place, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }
}

/// A text of the policy file.
#[derive(Debug, Clone)]
pub struct Text {
    pub value: String,
    pub at: Place,
    style: ScalarStyle,
    /// The number of characters of the file before it.
    start: usize,
}

impl Text {
    /// The place in the file of a byte of the value.
    ///
    /// YAML folds lines and strips indentation, but leaves what is not white space in its order. Behind an escape, the place
    /// is that of the escape.
    pub fn place(&self, source: &str, offset: usize) -> Place {
        let rest = source.get(char_offset(source, self.start)..).unwrap_or_default();
        let mut cursor = Cursor { rest: rest.chars().peekable(), place: self.at };
        match self.style {
            ScalarStyle::Plain => {}
            ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => drop(cursor.step()),
            // The indicator, and what else its line has, unless the parser has begun behind them.
            ScalarStyle::Literal | ScalarStyle::Folded => {
                if matches!(cursor.peek(), Some('|' | '>')) {
                    while !matches!(cursor.step(), Some('\n') | None) {}
                }
            }
        }
        let before = self.value.get(..offset).unwrap_or(&self.value);
        let wanted = self.value.get(before.len()..).and_then(|rest| rest.chars().next());
        for wanted in before.chars().chain(wanted).filter(|wanted| !wanted.is_whitespace()) {
            while cursor.peek().is_some_and(char::is_whitespace) {
                cursor.step();
            }
            if cursor.peek() != Some(wanted) {
                return cursor.place;
            }
            cursor.step();
        }
        // Behind the wanted character, if there was one.
        if wanted.is_some_and(|wanted| !wanted.is_whitespace()) {
            cursor.place.column -= 1;
        }
        cursor.place
    }
}

fn char_offset(source: &str, count: usize) -> usize {
    source.char_indices().nth(count).map_or(source.len(), |(offset, _)| offset)
}

/// A value of the policy file.
#[derive(Debug)]
pub enum Node {
    Text(Text),
    List(Place, Vec<Self>),
    Map(Place, Vec<(Text, Self)>),
}

impl Node {
    pub fn at(&self) -> Place {
        match self {
            Self::Text(text) => text.at,
            Self::List(at, _) | Self::Map(at, _) => *at,
        }
    }

    /// The kind of the value, for an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::List(..) => "a list",
            Self::Map(..) => "a mapping",
        }
    }
}

/// A collection that has not ended.
enum Open {
    List(Place, Vec<Node>),
    /// With the key whose value comes next.
    Map(Place, Vec<(Text, Node)>, Option<Text>),
}

/// Reads the one document of a policy file.
pub fn read(source: &str) -> Result<Node, Wrong> {
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut parser = Parser::new_from_str(source);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = Place { line: error.marker().line(), column: error.marker().col() + 1 };
            Wrong::new(at, format!("not YAML: {}", error.info()))
        })?;
        let at = Place { line: span.start.line(), column: span.start.col() + 1 };
        let plain = |anchor: usize, is_tagged: bool| match (anchor, is_tagged) {
            (0, false) => Ok(()),
            (0, true) => Err(Wrong::new(at, "tags are not read; remove it")),
            _ => Err(Wrong::new(at, "anchors are not read; write the value where it is used")),
        };
        let node = match event {
            Event::Alias(_) => {
                return Err(Wrong::new(at, "aliases are not read; write the value out"));
            }
            Event::Scalar(value, style, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                Node::Text(Text { value: value.into_owned(), at, style, start: span.start.index() })
            }
            Event::SequenceStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                open.push(Open::List(at, Vec::new()));
                continue;
            }
            Event::MappingStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                open.push(Open::Map(at, Vec::new(), None));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(at, items)) => Node::List(at, items),
                Some(Open::Map(at, members, _)) => Node::Map(at, members),
                None => continue,
            },
            Event::DocumentStart(_) if root.is_some() => {
                return Err(Wrong::new(at, "expected one document, found another"));
            }
            _ => continue,
        };
        if open.len() > MAX_DEPTH {
            return Err(Wrong::new(at, "nested too deep"));
        }
        match open.last_mut() {
            None => root = Some(node),
            Some(Open::List(_, items)) => items.push(node),
            Some(Open::Map(_, members, key)) => match (key.take(), node) {
                (Some(key), node) => members.push((key, node)),
                (None, Node::Text(name)) => {
                    if members.iter().any(|(other, _)| other.value == name.value) {
                        return Err(Wrong::new(at, format!("`{}` is here twice", name.value)));
                    }
                    *key = Some(name);
                }
                (None, other) => {
                    let found = other.kind();
                    return Err(Wrong::new(at, format!("expected a key, found {found}")));
                }
            },
        }
    }
    root.ok_or_else(|| Wrong::new(Place { line: 1, column: 1 }, "the file is empty"))
}

/// A position in a source.
struct Cursor<'s> {
    rest: std::iter::Peekable<std::str::Chars<'s>>,
    place: Place,
}

impl Cursor<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn step(&mut self) -> Option<char> {
        let next = self.rest.next();
        match next {
            Some('\n') => self.place = Place { line: self.place.line + 1, column: 1 },
            Some(_) => self.place.column += 1,
            None => {}
        }
        next
    }
}
