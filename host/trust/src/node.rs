//! The common form of parsed JSON and HCL.

use std::fmt;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) place: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
    Unknown(Unknown),
}

/// An expression that only OpenTofu or the cloud could evaluate.
#[derive(Debug, Clone)]
pub(crate) struct Unknown {
    /// The expression as the file writes it, on one line.
    pub(crate) written: String,
    /// The parts of its value that the files show: the elements of a default, the form of each element of a `for`. A
    /// text that may be absent or another one is not `known` in them.
    pub(crate) likely: Vec<Node>,
}

/// A text. Its unknown parts are written as `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) known: bool,
    /// The reason why a text that the files show is not certain: it is the default of a variable, or one of two
    /// branches.
    pub(crate) origin: Option<String>,
    /// The line of the file on which the text begins, if each line of the text is one of the file: a heredoc.
    pub(crate) first_line: Option<usize>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line, from 1.
    Line(usize),
    /// A JSON pointer (RFC 6901).
    Pointer(String),
}

impl Ord for Place {
    /// The order in a file: the elements of a list are ordered by their numbers, and not by the digits of these.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let steps = |pointer: &str| -> Vec<(Option<usize>, String)> {
            pointer.split('/').map(|step| (step.parse().ok(), step.to_owned())).collect()
        };
        match (self, other) {
            (Self::Line(one), Self::Line(other)) => one.cmp(other),
            (Self::Pointer(one), Self::Pointer(other)) => steps(one).cmp(&steps(other)),
            (Self::Line(_), Self::Pointer(_)) => std::cmp::Ordering::Less,
            (Self::Pointer(_), Self::Line(_)) => std::cmp::Ordering::Greater,
        }
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "{line}"),
            Self::Pointer(pointer) if pointer.is_empty() => f.write_str("/"),
            Self::Pointer(pointer) => f.write_str(pointer),
        }
    }
}

impl Text {
    pub(crate) fn known(text: impl Into<String>) -> Self {
        Self { text: text.into(), known: true, origin: None, first_line: None }
    }

    pub(crate) fn unknown(text: impl Into<String>) -> Self {
        Self { known: false, ..Self::known(text) }
    }

    /// The text without its unknown parts.
    pub(crate) fn literal(&self) -> String {
        let (mut literal, mut depth, mut before) = (String::new(), 0_usize, ' ');
        for character in self.text.chars() {
            match character {
                '{' if depth > 0 || before == '$' => {
                    if depth == 0 {
                        literal.pop();
                    }
                    depth += 1;
                }
                '}' if depth > 0 => depth -= 1,
                _ if depth == 0 => literal.push(character),
                _ => {}
            }
            before = character;
        }
        literal
    }
}

impl Unknown {
    /// An expression of which nothing is known. It is written on one line, since a finding is one line.
    pub(crate) fn new(written: &str) -> Self {
        const SHOWN: usize = 120;
        let mut written = written.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some((end, _)) = written.char_indices().nth(SHOWN) {
            written.truncate(end);
            written.push('…');
        }
        Self { written, likely: Vec::new() }
    }
}

impl Node {
    pub(crate) fn unknown(written: &str, likely: Vec<Self>, place: Place) -> Self {
        Self { value: Value::Unknown(Unknown { likely, ..Unknown::new(written) }), place }
    }

    pub(crate) fn of_text(text: Text, place: Place) -> Self {
        Self { value: Value::Text(text), place }
    }

    /// Returns the node with each text in it uncertain for a reason.
    pub(crate) fn uncertain(mut self, origin: &str) -> Self {
        self.each_text(&mut |text| {
            text.known = false;
            text.origin.get_or_insert_with(|| origin.to_owned());
        });
        self
    }

    fn each_text(&mut self, change: &mut impl FnMut(&mut Text)) {
        match &mut self.value {
            Value::Text(text) => change(text),
            Value::List(nodes) | Value::Unknown(Unknown { likely: nodes, .. }) => {
                nodes.iter_mut().for_each(|node| node.each_text(change));
            }
            Value::Map(members) => {
                members.iter_mut().for_each(|(_, node)| node.each_text(change));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Returns the node with everything in it at one place: what another file defines is reported where it is used.
    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self.value = match self.value {
            Value::Text(text) => Value::Text(Text { first_line: None, ..text }),
            Value::List(nodes) => Value::List(nodes.into_iter().map(|n| n.at(place)).collect()),
            Value::Map(members) => {
                Value::Map(members.into_iter().map(|(key, node)| (key, node.at(place))).collect())
            }
            Value::Unknown(Unknown { written, likely }) => Value::Unknown(Unknown {
                written,
                likely: likely.into_iter().map(|n| n.at(place)).collect(),
            }),
            value => value,
        };
        self
    }

    /// Returns a member of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(members) => {
                members.iter().find(|(key, _)| key == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// Returns the first of several members that is not null: `userAssigned`, `user_assigned`.
    pub(crate) fn any(&self, names: &[&str]) -> Option<&Self> {
        names
            .iter()
            .find_map(|name| self.get(name))
            .filter(|node| !matches!(node.value, Value::Null))
    }

    pub(crate) fn members(&self) -> &[(String, Node)] {
        match &self.value {
            Value::Map(members) => members,
            _ => &[],
        }
    }

    /// The elements of a list, or the likely ones of an expression; any other value is its own single element.
    pub(crate) fn elements(&self) -> &[Self] {
        match &self.value {
            Value::List(elements) => elements,
            Value::Unknown(Unknown { likely, .. }) if !likely.is_empty() => likely,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// The text of a scalar. An unknown expression is a text that is unknown as a whole.
    pub(crate) fn text(&self) -> Option<Text> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Unknown(Unknown { written, .. }) => {
                Some(Text::unknown(format!("${{{written}}}")))
            }
            Value::Number(number) => Some(Text::known(number)),
            Value::Bool(bool) => Some(Text::known(bool.to_string())),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The texts of a list, or of a scalar.
    pub(crate) fn texts(&self) -> Vec<Text> {
        let texts = self.elements().iter().map(|element| match &element.value {
            Value::Unknown(Unknown { likely, .. }) if !likely.is_empty() => {
                likely.iter().filter_map(Self::text).collect()
            }
            _ => element.text().into_iter().collect::<Vec<_>>(),
        });
        texts.flatten().collect()
    }

    /// The text of a scalar, if all of it is known.
    pub(crate) fn known(&self) -> Option<String> {
        self.text().filter(|text| text.known).map(|text| text.text)
    }

    /// The number of nodes, in which a long text counts as several: the cost of a copy.
    pub(crate) fn size(&self) -> usize {
        const BYTES_OF_ONE: usize = 256;
        let of = |nodes: &[Self]| nodes.iter().map(Self::size).sum::<usize>();
        1 + match &self.value {
            Value::Text(text) => text.text.len() / BYTES_OF_ONE,
            Value::List(nodes) | Value::Unknown(Unknown { likely: nodes, .. }) => of(nodes),
            Value::Map(members) => members.iter().map(|(_, node)| 1 + node.size()).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        }
    }

    /// The value as JSON, as `jsonencode` writes it, and true if all of it is known. `None` if a part has no form.
    pub(crate) fn json(&self) -> Option<(serde_json::Value, bool)> {
        let mut all_known = true;
        let json = self.json_of(&mut all_known)?;
        Some((json, all_known))
    }

    fn json_of(&self, all_known: &mut bool) -> Option<serde_json::Value> {
        Some(match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(bool) => (*bool).into(),
            Value::Number(number) => serde_json::Value::Number(number.parse().ok()?),
            Value::Text(text) => {
                *all_known &= text.known;
                text.text.clone().into()
            }
            Value::Unknown(_) => return None,
            Value::List(elements) => {
                let elements = elements.iter().map(|element| element.json_of(all_known));
                elements.collect::<Option<Vec<_>>>()?.into()
            }
            Value::Map(members) => {
                let members =
                    members.iter().map(|(key, node)| Some((key.clone(), node.json_of(all_known)?)));
                serde_json::Value::Object(members.collect::<Option<_>>()?)
            }
        })
    }

    /// The expression, if the node is one that is not evaluated.
    pub(crate) fn written(&self) -> Option<&str> {
        match &self.value {
            Value::Unknown(unknown) => Some(&unknown.written),
            _ => None,
        }
    }
}
