//! Settings, checked against a schema.

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use countersign::{Settings, SettingsProblem};
use serde_json::Value;

use crate::document::document;
use crate::problems::Problems;
use crate::read::{Read, read, size};
use crate::unusable::Unusable;

/// The longest schema that is read, in bytes: the contract's bound.
pub const MAX_SCHEMA_BYTES: usize = 65_536;

/// How many schemas may stand within one another, references followed.
pub const MAX_DEPTH: usize = 64;

/// The most keywords, each counted as often as references lead to it.
pub const MAX_NODES: u64 = 16_384;

/// The most patterns.
pub const MAX_PATTERNS: usize = 64;

/// The most of keywords (references followed) times values of the settings: about what is done to check them.
pub const MAX_WORK: u64 = 1 << 20;

/// The most of KiB of compiled patterns (references followed) times bytes of the settings.
pub const MAX_PATTERN_WORK: u64 = 1 << 23;

/// Where the schema is for the library: it is given, never fetched.
const PLACE: &str = "mem:///settings";

/// A policy's JSON Schema of its settings, bounded and ready to check by.
///
/// It is used where it is of draft 2020-12, has no keyword that the draft does not know, refers only to places in
/// itself and never to where it came from, has patterns that a linear engine takes, and stays within [`MAX_DEPTH`],
/// [`MAX_NODES`] and [`MAX_PATTERNS`]. Formats and contents are not asserted, as the draft has it; nor is what items
/// after those of `prefixItems` must be.
///
/// ```
/// use countersign::Settings;
/// use countersign_schema::SettingsSchema;
///
/// let schema = SettingsSchema::parse(r#"{"properties": {"ttl": {"type": "integer"}}}"#)?;
/// let problems = schema.check(&Settings::from_json(r#"{"ttl": "long"}"#)?)?;
/// assert_eq!(problems[0].pointer, "/ttl");
/// assert_eq!(problems[0].message, "expected a whole number, found a string");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SettingsSchema {
    read: Read,
    document: Value,
    schemas: Schemas,
    index: SchemaIndex,
}

impl SettingsSchema {
    /// The schema and its definitions in draft-07, all by the names that they have in a document of that draft:
    /// `name`, and `name.DEFINITION`. What draft-07 has no keyword for is left out: it then takes more, never less.
    pub fn draft7_definitions(&self, name: &str) -> Vec<(String, Value)> {
        crate::draft7::definitions(&self.read, name)
    }

    /// Reads a schema. What that takes is bounded by the length of the text.
    ///
    /// # Errors
    /// When the schema cannot be used.
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        if text.len() > MAX_SCHEMA_BYTES {
            return Err(Unusable::TooLarge { bytes: text.len() });
        }
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Unusable::NotJson { problem: error.to_string() })?;
        let read = read(&value)?;
        let document = document(&read);
        let unusable = |error: boon::CompileError| Unusable::Malformed {
            place: "it does not follow the draft".to_owned(),
            problem: of_library(&error),
        };
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.use_loader(Box::new(Nowhere));
        compiler.add_resource(PLACE, document.clone()).map_err(unusable)?;
        let mut schemas = Schemas::new();
        let index = compiler.compile(PLACE, &mut schemas).map_err(unusable)?;
        Ok(Self { read, document, schemas, index })
    }

    /// What is wrong with settings, in the order of pointers; nothing where they fit.
    ///
    /// # Errors
    /// When the schema cannot be used for settings of this size.
    pub fn check(&self, settings: &Settings) -> Result<Vec<SettingsProblem>, Unusable> {
        let text = settings.as_json();
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Unusable::NotJson { problem: error.to_string() })?;
        let (nodes, kib) = (self.read.cost.nodes, self.read.cost.pattern_kib);
        let (values, bytes) = (size(&value), text.len() as u64);
        if nodes.saturating_mul(values) > MAX_WORK {
            return Err(Unusable::TooMuch { nodes, values });
        }
        if kib.saturating_mul(bytes) > MAX_PATTERN_WORK {
            return Err(Unusable::TooMuchText { kib, bytes });
        }
        let Err(error) = self.schemas.validate(&value, self.index) else { return Ok(Vec::new()) };
        Ok(Problems::new(&self.document, &self.read.patterns, &value).of(&error))
    }
}

impl std::fmt::Debug for SettingsSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SettingsSchema({})", self.document)
    }
}

/// What the library says is wrong with a schema.
fn of_library(error: &boon::CompileError) -> String {
    match error {
        boon::CompileError::ValidationError { src, .. } => {
            let mut first = src;
            while let Some(cause) = first.causes.first() {
                first = cause;
            }
            format!("at #{}: {}", first.instance_location, first.kind)
        }
        other => other.to_string(),
    }
}

/// Fetches nothing.
struct Nowhere;

impl boon::UrlLoader for Nowhere {
    fn load(&self, url: &str) -> Result<Value, Box<dyn std::error::Error>> {
        Err(format!("{url}: nothing is fetched").into())
    }
}
