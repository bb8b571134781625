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
    /// An expression that only OpenTofu could evaluate, as the file writes it.
    Unknown(String),
}

/// A text. Its unknown parts are written as `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) known: bool,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A line, from 1.
    Line(usize),
    /// A JSON pointer (RFC 6901).
    Pointer(String),
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

impl Node {
    /// Returns a member of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(members) => {
                members.iter().find(|(key, _)| key == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// Returns the first of several members that is not null: `userAssigned`, `user_assigned`.
    pub(crate) fn any(&self, names: &[&str]) -> Option<&Node> {
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

    /// The elements of a list; any other value is its own single element.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// The text of a scalar. An unknown expression is a text that is unknown as a whole.
    pub(crate) fn text(&self) -> Option<Text> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Unknown(written) => Some(Text { text: format!("${{{written}}}"), known: false }),
            Value::Number(number) => Some(Text { text: number.clone(), known: true }),
            Value::Bool(bool) => Some(Text { text: bool.to_string(), known: true }),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The texts of a list, or of a scalar.
    pub(crate) fn texts(&self) -> Vec<Text> {
        self.elements().iter().filter_map(Node::text).collect()
    }

    /// The text of a scalar, if all of it is known.
    pub(crate) fn known(&self) -> Option<String> {
        self.text().filter(|text| text.known).map(|text| text.text)
    }
}
