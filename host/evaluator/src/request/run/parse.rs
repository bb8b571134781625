//! From the bytes of a run object to a [`Run`].

use super::{
    AuthorKind, Behavior, BuildingBlock, Definition, Implementation, Parent, Run, Trigger,
};
use crate::request::identifier::IdentifierError;
use crate::strict_json::{self, JsonError, JsonLimits, Object, Value};
use crate::text::escape;

/// The longest run object that is parsed, in bytes.
pub const MAX_RUN_BYTES: usize = 1 << 20;

/// The maximum nesting of a run object.
pub const MAX_RUN_DEPTH: usize = 64;

/// The most parents that a building block may have.
const MAX_PARENTS: usize = 256;

/// The largest integer that JSON carries without loss (RFC 8259 section 6).
const MAX_INTEGER: u64 = (1 << 53) - 1;

const KIND: &str = "meshBuildingBlockRun";
const API_VERSION: &str = "v1";

/// The reason why a run object is refused before any policy sees it.
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
}

impl Run {
    /// Parses a run object of kind `meshBuildingBlockRun`, version `v1`.
    ///
    /// Reads JSON (RFC 8259) of at most [`MAX_RUN_BYTES`], [`MAX_RUN_DEPTH`] and
    /// [`MAX_VALUES`](crate::MAX_VALUES). Fields that this
    /// version does not know are tolerated and dropped, and so are `status`, `_links`, the display
    /// name, all inputs and every secret. A key that appears twice in one object, at any depth,
    /// refuses the whole.
    ///
    /// ```
    /// let run = countersign::Run::parse(include_bytes!("../../../tests/data/published-get.json"))?;
    /// assert_eq!(run.building_block.workspace.as_str(), "my-workspace");
    /// # Ok::<(), countersign::RunError>(())
    /// ```
    ///
    /// # Errors
    /// When anything that the decision may depend on is missing, malformed or unknown.
    pub fn parse(text: &[u8]) -> Result<Self, RunError> {
        let limits = JsonLimits { bytes: MAX_RUN_BYTES, depth: MAX_RUN_DEPTH };
        let value = strict_json::parse(text, limits)?;
        let root = Node::root(&value)?;

        root.word("kind", |word| (word == KIND).then_some(()), || vec![KIND])?;
        root.word("apiVersion", |word| (word == API_VERSION).then_some(()), || vec![API_VERSION])?;
        let spec = root.object("spec")?;
        Ok(Self {
            id: root.object("metadata")?.identifier("uuid")?,
            number: spec.integer("runNumber")?,
            behavior: spec
                .word("behavior", Behavior::from_word, || words(Behavior::ALL, |b| b.as_str()))?,
            building_block: building_block(&spec.object("buildingBlock")?)?,
            definition: definition(&spec.object("buildingBlockDefinition")?)?,
            trigger: spec.optional_object("trigger")?.map(|node| trigger(&node)).transpose()?,
        })
    }
}

fn building_block(node: &Node<'_>) -> Result<BuildingBlock, RunError> {
    let spec = node.object("spec")?;
    Ok(BuildingBlock {
        id: node.identifier("uuid")?,
        workspace: spec.identifier("workspaceIdentifier")?,
        project: spec.optional_identifier("projectIdentifier")?,
        platform: spec.optional_identifier("fullPlatformIdentifier")?,
        parents: parents(&spec)?,
    })
}

fn parents(spec: &Node<'_>) -> Result<Vec<Parent>, RunError> {
    const EXPECTED: &str = "an array of at most 256 parents";
    let field = "parentBuildingBlocks";
    let items = match spec.members.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= MAX_PARENTS => items,
        Some(Value::Array(_)) => return Err(spec.wrong_type(field, EXPECTED, "a longer array")),
        Some(other) => return Err(spec.wrong_type(field, EXPECTED, other.kind())),
    };
    items
        .iter()
        .enumerate()
        .map(|(index, item)| {
            let pointer = format!("{}/{field}/{index}", spec.pointer);
            let parent = Node::object_at(pointer, item)?;
            Ok(Parent {
                building_block: parent.identifier("buildingBlockUuid")?,
                definition: parent.identifier("definitionUuid")?,
            })
        })
        .collect()
}

fn definition(node: &Node<'_>) -> Result<Definition, RunError> {
    let spec = node.object("spec")?;
    Ok(Definition {
        id: node.identifier("uuid")?,
        workspace: spec.identifier("workspaceIdentifier")?,
        version: spec.integer("version")?,
        implementation: spec.object("implementation")?.word(
            "type",
            Implementation::from_word,
            || words(Implementation::ALL, |i| i.as_str()),
        )?,
    })
}

fn trigger(node: &Node<'_>) -> Result<Trigger, RunError> {
    let author = node.object("author")?;
    Ok(Trigger {
        reason: match node.members.get("reason") {
            None | Some(Value::Null) => None,
            Some(_) => Some(node.line("reason", "a text of 1 to 1024 bytes on one line", 1024)?),
        },
        author: author.line("identifier", "a text of 1 to 255 bytes on one line", 255)?,
        author_kind: author
            .word("type", AuthorKind::from_word, || words(AuthorKind::ALL, |kind| kind.as_str()))?,
    })
}

/// An object within the run object, with the pointer to it.
struct Node<'v> {
    pointer: String,
    members: &'v Object<'v>,
}

impl<'v> Node<'v> {
    fn root(value: &'v Value<'v>) -> Result<Self, RunError> {
        Self::object_at(String::new(), value)
    }

    fn object_at(pointer: String, value: &'v Value<'v>) -> Result<Self, RunError> {
        match value {
            Value::Object(members) => Ok(Self { pointer, members }),
            other => {
                Err(RunError::WrongType { pointer, expected: "an object", found: other.kind() })
            }
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

    fn optional_object(&self, field: &str) -> Result<Option<Self>, RunError> {
        match self.members.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Self::object_at(self.at(field), value).map(Some),
        }
    }

    fn text(&self, field: &str, expected: &'static str) -> Result<&'v str, RunError> {
        match self.required(field, expected)? {
            Value::String(text) => Ok(text),
            other => Err(self.wrong_type(field, expected, other.kind())),
        }
    }

    /// A text on one line that is shown to people: 1 to `limit` bytes, no control characters.
    fn line(&self, field: &str, expected: &'static str, limit: usize) -> Result<String, RunError> {
        let text = self.text(field, expected)?;
        if text.is_empty() || text.len() > limit {
            return Err(self.wrong_type(field, expected, "a text of another length"));
        }
        if text.contains(char::is_control) {
            return Err(self.wrong_type(field, expected, "a text with control characters"));
        }
        Ok(text.to_owned())
    }

    fn integer(&self, field: &str) -> Result<u64, RunError> {
        const EXPECTED: &str = "a whole number from 0 to 2^53 - 1";
        match self.required(field, EXPECTED)? {
            Value::Unsigned(number) if *number <= MAX_INTEGER => Ok(*number),
            Value::Unsigned(_) | Value::Number => {
                Err(self.wrong_type(field, EXPECTED, "another number"))
            }
            other => Err(self.wrong_type(field, EXPECTED, other.kind())),
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

    fn optional_identifier<T: std::str::FromStr<Err = IdentifierError>>(
        &self,
        field: &str,
    ) -> Result<Option<T>, RunError> {
        match self.members.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.identifier(field).map(Some),
        }
    }

    fn word<T>(
        &self,
        field: &str,
        find: impl Fn(&str) -> Option<T>,
        known: impl Fn() -> Vec<&'static str>,
    ) -> Result<T, RunError> {
        let text = self.text(field, "a word")?;
        find(text).ok_or_else(|| {
            let known: Vec<_> = known().iter().map(|word| format!("`{word}`")).collect();
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

fn words<T: Copy>(all: &[T], word: fn(T) -> &'static str) -> Vec<&'static str> {
    all.iter().map(|case| word(*case)).collect()
}
