//! What files say, in one form: JSON, and HCL as far as it can be known without running it.

use std::fmt;

/// A value and where it stands.
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
    /// An expression that only OpenTofu could evaluate, as it is written.
    Unknown(String),
}

/// A text, of which parts may not be known: those stand as `${…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) known: bool,
}

/// Where something stands in its file.
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
    /// A member of a map.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(members) => {
                members.iter().find(|(key, _)| key == name).map(|(_, node)| node)
            }
            _ => None,
        }
    }

    /// A member, however its name is written: `userAssigned`, `user_assigned`.
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

    /// The elements of a list; of anything else, itself.
    pub(crate) fn elements(&self) -> &[Node] {
        match &self.value {
            Value::List(elements) => elements,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// Its text; what is not known is one of which nothing is.
    pub(crate) fn text(&self) -> Option<Text> {
        match &self.value {
            Value::Text(text) => Some(text.clone()),
            Value::Unknown(written) => Some(Text { text: format!("${{{written}}}"), known: false }),
            Value::Number(number) => Some(Text { text: number.clone(), known: true }),
            Value::Bool(bool) => Some(Text { text: bool.to_string(), known: true }),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The texts of a list, or of one.
    pub(crate) fn texts(&self) -> Vec<Text> {
        self.elements().iter().filter_map(Node::text).collect()
    }

    /// Its text, where all of it is known.
    pub(crate) fn known(&self) -> Option<String> {
        self.text().filter(|text| text.known).map(|text| text.text)
    }
}
