//! Run objects and records of runs, read by the table of fields.

use std::borrow::Cow;

use super::facts::{Facts, FactsError};
use super::fields::{
    ClaimField, FieldForm, PARENT_BUILDING_BLOCK, PARENT_DEFINITION, ParentMember,
};
use super::identifier::IdentifierError;
use super::run::{
    AuthorKind, Behavior, BuildingBlock, Definition, Implementation, Parent, Run, Trigger,
};
use crate::strict_json::{JsonError, Object, Value};
use crate::text::escape;

/// The reason that a run object is refused before any policy sees it.
///
/// Messages name the place and what was expected. They repeat a value only where the field holds
/// an identifier or a word of a closed list, escaped and cut; never the value of a field that may
/// hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The text is too large, not JSON, too deep, or has a key twice.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field is missing.
    #[error("{pointer}: missing, expected {expected}")]
    Missing {
        /// JSON pointer (RFC 6901) to the field.
        pointer: String,
        /// The expected form.
        expected: &'static str,
    },
    /// A field has a value of another type or outside its bounds.
    #[error("{pointer}: expected {expected}, found {found}")]
    WrongType {
        /// JSON pointer to the field.
        pointer: String,
        /// The expected form.
        expected: &'static str,
        /// The kind of value that was found, not the value.
        found: &'static str,
    },
    /// A field's text is not one of the words that this version knows.
    #[error("{pointer}: expected {expected}, found `{found}`")]
    UnknownWord {
        /// JSON pointer to the field.
        pointer: String,
        /// The words that are known.
        expected: String,
        /// The text that was found: escaped, and cut to 80 bytes.
        found: String,
    },
    /// A field's text is not the identifier that it must be.
    #[error("{pointer}: {problem}")]
    Identifier {
        /// JSON pointer to the field.
        pointer: String,
        /// The problem with it.
        problem: IdentifierError,
    },
    /// Facts are not what they must be. Only records have them.
    #[error("{pointer}{problem}")]
    Facts {
        /// JSON pointer to the facts.
        pointer: String,
        /// The problem with them.
        problem: FactsError,
    },
}

/// Two shapes of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The run object of the platform: what is unknown is dropped, and `null` is an absence.
    Object,
    /// The `claims` of a decision's record: written by this program, so `null` is an error.
    Record,
}

/// Reads fields from where the table says that they are in a shape.
pub(crate) struct Reader<'v> {
    shape: Shape,
    root: Node<'v>,
}

impl<'v> Reader<'v> {
    pub(crate) fn new(shape: Shape, value: &'v Value<'v>) -> Result<Self, RunError> {
        Ok(Self { shape, root: Node::object_at("", value)? })
    }

    /// The facts of a run, all but those that only a record has.
    pub(crate) fn run(&self) -> Result<Run, RunError> {
        Ok(Run {
            id: self.identifier(ClaimField::RunId)?,
            number: self.integer(ClaimField::RunNumber)?,
            behavior: self.word(ClaimField::Behavior, Behavior::from_word)?,
            building_block: BuildingBlock {
                id: self.identifier(ClaimField::BuildingBlock)?,
                workspace: self.identifier(ClaimField::OwningWorkspace)?,
                project: self.optional_identifier(ClaimField::Project)?,
                platform: self.optional_identifier(ClaimField::Platform)?,
                parents: self.parents()?,
            },
            definition: Definition {
                id: self.identifier(ClaimField::Definition)?,
                workspace: self.identifier(ClaimField::DefinitionWorkspace)?,
                version: self.integer(ClaimField::DefinitionVersion)?,
                implementation: self.word(ClaimField::Implementation, Implementation::from_word)?,
            },
            trigger: self.trigger()?,
        })
    }

    fn trigger(&self) -> Result<Option<Trigger>, RunError> {
        let (parent, name) = self.at(match self.shape {
            Shape::Object => "/spec/trigger",
            Shape::Record => "/run/trigger",
        })?;
        if self.is_absent(&parent, name) {
            return Ok(None);
        }
        parent.object(name)?;
        Ok(Some(Trigger {
            author: self.line(ClaimField::Author)?,
            author_kind: self.word(ClaimField::AuthorKind, AuthorKind::from_word)?,
            reason: self.optional_line(ClaimField::TriggerReason)?,
        }))
    }

    fn parents(&self) -> Result<Vec<Parent>, RunError> {
        let field = ClaimField::Parents;
        let (node, name) = self.place(field)?;
        // A row of another form takes nothing: no parents at all would be a fact that nobody stated.
        let (max, expected) = match field.form() {
            FieldForm::Parents { max, expected } => (Some(max), expected),
            _ => (None, "an array of parents"),
        };
        // A run object of a building block without parents has no list; a record always has one.
        if self.shape == Shape::Object && self.is_absent(&node, name) {
            return Ok(Vec::new());
        }
        let key = |member: ParentMember| match self.shape {
            Shape::Object => member.object,
            Shape::Record => member.record,
        };
        node.list(name, expected, max)?
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let pointer = format!("{}/{name}/{index}", node.pointer);
                let parent = Node::object_at(pointer, item)?;
                Ok(Parent {
                    building_block: parent.identifier(key(PARENT_BUILDING_BLOCK))?,
                    definition: parent.identifier(key(PARENT_DEFINITION))?,
                })
            })
            .collect()
    }

    /// The facts of a record, none where it has none.
    pub(crate) fn facts(&self) -> Result<Facts, RunError> {
        let (node, name) = self.place(ClaimField::Facts)?;
        match node.members.get(name) {
            None => Ok(Facts::default()),
            Some(value) => Facts::from_value(value)
                .map_err(|problem| RunError::Facts { pointer: node.at(name), problem }),
        }
    }

    /// The object that a field is in, and its name there.
    fn place(&self, field: ClaimField) -> Result<(Node<'v>, &'static str), RunError> {
        self.at(match self.shape {
            Shape::Object => field.object_pointer().unwrap_or_default(),
            Shape::Record => field.record_pointer(),
        })
    }

    /// The object that a pointer's last part is a member of, and that part.
    fn at(&self, pointer: &'static str) -> Result<(Node<'v>, &'static str), RunError> {
        let (parents, name) = pointer.rsplit_once('/').unwrap_or_default();
        let mut node = self.root.clone();
        let mut end = 0;
        for parent in parents.split('/').skip(1) {
            end += 1 + parent.len();
            let value = node.required(parent, "an object")?;
            node = Node::object_at(pointer.get(..end).unwrap_or_default(), value)?;
        }
        Ok((node, name))
    }

    /// Returns true if an optional member is absent.
    fn is_absent(&self, node: &Node<'_>, name: &str) -> bool {
        match node.members.get(name) {
            None => true,
            Some(Value::Null) => self.shape == Shape::Object,
            Some(_) => false,
        }
    }

    pub(crate) fn identifier<T: std::str::FromStr<Err = IdentifierError>>(
        &self,
        field: ClaimField,
    ) -> Result<T, RunError> {
        let (node, name) = self.place(field)?;
        node.identifier(name)
    }

    pub(crate) fn optional_identifier<T: std::str::FromStr<Err = IdentifierError>>(
        &self,
        field: ClaimField,
    ) -> Result<Option<T>, RunError> {
        let (node, name) = self.place(field)?;
        if self.is_absent(&node, name) { Ok(None) } else { node.identifier(name).map(Some) }
    }

    /// Each of a list of identifiers. That none is there twice is checked where they are put to use.
    pub(crate) fn identifiers<T: std::str::FromStr<Err = IdentifierError>>(
        &self,
        field: ClaimField,
    ) -> Result<Vec<T>, RunError> {
        let (node, name) = self.place(field)?;
        let (max, expected) = match field.form() {
            FieldForm::Identifiers { max, expected, .. } => (Some(max), expected),
            _ => (None, "an array of identifiers"),
        };
        let items = node.list(name, expected, max)?.iter().enumerate();
        items
            .map(|(index, item)| {
                let pointer = || format!("{}/{name}/{index}", node.pointer);
                match item {
                    Value::String(text) => text
                        .parse()
                        .map_err(|problem| RunError::Identifier { pointer: pointer(), problem }),
                    other => Err(RunError::WrongType {
                        pointer: pointer(),
                        expected: "an identifier",
                        found: other.kind(),
                    }),
                }
            })
            .collect()
    }

    pub(crate) fn integer(&self, field: ClaimField) -> Result<u64, RunError> {
        let (node, name) = self.place(field)?;
        let (min, max, expected) = match field.form() {
            FieldForm::Integer { min, max, expected } => (min, max, expected),
            _ => (1, 0, "a whole number"),
        };
        match node.required(name, expected)? {
            Value::Unsigned(number) if (min..=max).contains(number) => Ok(*number),
            Value::Unsigned(_) | Value::Number => {
                Err(node.wrong_type(name, expected, "another number"))
            }
            other => Err(node.wrong_type(name, expected, other.kind())),
        }
    }

    fn word<T>(&self, field: ClaimField, find: fn(&str) -> Option<T>) -> Result<T, RunError> {
        let (node, name) = self.place(field)?;
        let known = match field.form() {
            FieldForm::Word(known) => known,
            _ => &[],
        };
        node.word(name, find, known)
    }

    /// A text on one line that is shown to people.
    fn line(&self, field: ClaimField) -> Result<String, RunError> {
        let (node, name) = self.place(field)?;
        let (max_bytes, expected) = match field.form() {
            FieldForm::Line { max_bytes, expected } => (max_bytes, expected),
            _ => (0, "a text on one line"),
        };
        let text = node.text(name, expected)?;
        if text.is_empty() || text.len() > max_bytes {
            return Err(node.wrong_type(name, expected, "a text of another length"));
        }
        if text.contains(char::is_control) {
            return Err(node.wrong_type(name, expected, "a text with control characters"));
        }
        Ok(text.to_owned())
    }

    fn optional_line(&self, field: ClaimField) -> Result<Option<String>, RunError> {
        let (node, name) = self.place(field)?;
        if self.is_absent(&node, name) { Ok(None) } else { self.line(field).map(Some) }
    }

    /// A word that only a run object has: what kind of object it is.
    pub(crate) fn is_word(&self, name: &str, word: &'static str) -> Result<(), RunError> {
        self.root.word(name, |found| (found == word).then_some(()), &[word])
    }
}

/// An object within the whole, with the pointer to it.
#[derive(Clone)]
struct Node<'v> {
    pointer: Cow<'static, str>,
    members: &'v Object<'v>,
}

impl<'v> Node<'v> {
    fn object_at(
        pointer: impl Into<Cow<'static, str>>,
        value: &'v Value<'v>,
    ) -> Result<Self, RunError> {
        let pointer = pointer.into();
        match value {
            Value::Object(members) => Ok(Self { pointer, members }),
            other => Err(RunError::WrongType {
                pointer: pointer.into_owned(),
                expected: "an object",
                found: other.kind(),
            }),
        }
    }

    fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }

    fn wrong_type(&self, field: &str, expected: &'static str, found: &'static str) -> RunError {
        RunError::WrongType { pointer: self.at(field), expected, found }
    }

    /// A field that must be there. `null` is not a value.
    fn required(&self, field: &str, expected: &'static str) -> Result<&'v Value<'v>, RunError> {
        self.members
            .get(field)
            .ok_or_else(|| RunError::Missing { pointer: self.at(field), expected })
    }

    fn object(&self, field: &str) -> Result<Self, RunError> {
        Self::object_at(self.at(field), self.required(field, "an object")?)
    }

    fn text(&self, field: &str, expected: &'static str) -> Result<&'v str, RunError> {
        match self.required(field, expected)? {
            Value::String(text) => Ok(text),
            other => Err(self.wrong_type(field, expected, other.kind())),
        }
    }

    fn list(
        &self,
        field: &str,
        expected: &'static str,
        max: Option<usize>,
    ) -> Result<&'v [Value<'v>], RunError> {
        match self.required(field, expected)? {
            Value::Array(items) if max.is_some_and(|max| items.len() <= max) => Ok(items),
            Value::Array(_) => Err(self.wrong_type(field, expected, "a longer array")),
            other => Err(self.wrong_type(field, expected, other.kind())),
        }
    }

    fn identifier<T: std::str::FromStr<Err = IdentifierError>>(
        &self,
        field: &str,
    ) -> Result<T, RunError> {
        self.text(field, "an identifier")?
            .parse()
            .map_err(|problem| RunError::Identifier { pointer: self.at(field), problem })
    }

    fn word<T>(
        &self,
        field: &str,
        find: impl Fn(&str) -> Option<T>,
        known: &[&str],
    ) -> Result<T, RunError> {
        let text = self.text(field, "a word")?;
        find(text).ok_or_else(|| {
            let known: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
            RunError::UnknownWord {
                pointer: self.at(field),
                expected: match known.as_slice() {
                    [only] => only.clone(),
                    _ => format!("one of {}", known.join(", ")),
                },
                found: escape(text, 80),
            }
        })
    }
}
