//! Parses JSON as the clouds and their command lines write it.

use countersign::check_json;

use crate::node::{Node, Place, Text, Value};

/// The maximum length of a file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 4 << 20;

/// The maximum depth of nesting.
pub(crate) const MAX_DEPTH: usize = 64;

/// Checks that a text is strict JSON within the bounds.
pub(crate) fn check(text: &str) -> Result<(), String> {
    check_json(text.as_bytes(), MAX_FILE_BYTES, MAX_DEPTH).map_err(|error| error.to_string())
}

/// Parses a file. Places are pointers.
pub(crate) fn parse(text: &str) -> Result<Node, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check(text)?;
    let place = |path: &[String], _: usize| Place::Pointer(pointer(path));
    read(text, &place).ok_or_else(|| "not JSON".to_owned())
}

/// Parses JSON within another file. Its values have the line of a heredoc on which they begin, or the given place.
pub(crate) fn parse_at(text: &Text, place: &Place) -> Option<Node> {
    let Text { text, first_line, .. } = text;
    check(text).ok()?;
    let newlines: Vec<_> = text.match_indices('\n').map(|(at, _)| at).collect();
    let at = |_: &[String], offset: usize| match first_line {
        Some(line) => Place::Line(line + newlines.partition_point(|newline| *newline < offset)),
        None => place.clone(),
    };
    read(text, &at)
}

/// Finds the line of each value of a JSON file that one of the pointers names, `1` for the others.
pub(crate) fn line_of(text: &str, sought: &str) -> usize {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = std::cell::Cell::new(1);
    let place = |path: &[String], offset: usize| {
        if pointer(path) == sought {
            found.set(text.get(..offset).unwrap_or_default().matches('\n').count() + 1);
        }
        Place::Line(1)
    };
    if check(text).is_ok() {
        read(text, &place);
    }
    found.get()
}

type PlaceOf<'p> = dyn Fn(&[String], usize) -> Place + 'p;

/// Reads a text that was checked.
fn read(text: &str, place: &PlaceOf<'_>) -> Option<Node> {
    let mut reader = Reader { text, at: 0, path: Vec::new(), place };
    reader.node()
}

struct Reader<'t, 'p> {
    text: &'t str,
    at: usize,
    path: Vec<String>,
    place: &'p PlaceOf<'p>,
}

impl Reader<'_, '_> {
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.len() - rest.trim_start().len();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Steps over a character if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn node(&mut self) -> Option<Node> {
        let first = self.peek()?;
        let place = (self.place)(&self.path, self.at);
        let value = match first {
            b'{' => {
                self.at += 1;
                let mut members = Vec::new();
                while self.peek()? == b'"' {
                    let key = self.string()?;
                    self.skip(b':');
                    members.push((key.clone(), self.within(key)?));
                    self.skip(b',');
                }
                self.skip(b'}');
                Value::Map(members)
            }
            b'[' => {
                self.at += 1;
                let mut elements = Vec::new();
                while self.peek()? != b']' {
                    elements.push(self.within(elements.len().to_string())?);
                    self.skip(b',');
                }
                self.skip(b']');
                Value::List(elements)
            }
            b'"' => {
                let text = self.string()?;
                // In JSON embedded in HCL, OpenTofu may still interpolate.
                let known = !text.contains("${");
                Value::Text(Text { known, ..Text::known(text) })
            }
            _ => {
                let rest = self.text.get(self.at..)?;
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
                let word = rest.get(..end.unwrap_or(rest.len()))?;
                self.at += word.len();
                match word {
                    "null" => Value::Null,
                    "true" | "false" => Value::Bool(word == "true"),
                    "" => return None,
                    number => Value::Number(number.to_owned()),
                }
            }
        };
        Some(Node { value, place })
    }

    fn within(&mut self, step: String) -> Option<Node> {
        self.path.push(step);
        let node = self.node();
        self.path.pop();
        node
    }

    fn string(&mut self) -> Option<String> {
        let rest = self.text.get(self.at..)?;
        let mut is_escaped = false;
        let end = rest.bytes().skip(1).position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })?;
        let quoted = rest.get(..end + 2)?;
        self.at += quoted.len();
        serde_json::from_str(quoted).ok()
    }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}
