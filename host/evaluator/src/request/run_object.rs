//! From the bytes of a run object to a [`Run`].

use super::fact_reader;
use super::facts::Facts;
use super::reader::{Reader, RunError, Shape};
use super::run::Run;
use crate::strict_json::{self, Dropped, JsonError, JsonLimits};

/// The maximum length of a run object without its inputs, in bytes.
pub const MAX_RUN_BYTES: usize = 1 << 20;

/// The maximum length of a run object with its inputs, in bytes. They are dropped unread, and may hold files.
pub const MAX_RUN_TEXT_BYTES: usize = 16 << 20;

/// The maximum nesting depth of a run object.
pub const MAX_RUN_DEPTH: usize = 64;

const KIND: &str = "meshBuildingBlockRun";
const API_VERSION: &str = "v1";

/// The inputs of a building block: secrets among them, and nothing that is decided on.
const INPUTS: [&str; 4] = ["spec", "buildingBlock", "spec", "inputs"];

/// The same in an object that has the run object as its member `run`.
const INPUTS_OF_RUN: [&str; 5] = ["run", "spec", "buildingBlock", "spec", "inputs"];

impl Run {
    /// Parses a run object of kind `meshBuildingBlockRun`, version `v1`.
    ///
    /// Reads JSON (RFC 8259) of at most [`MAX_RUN_BYTES`], [`MAX_RUN_DEPTH`] and
    /// [`MAX_VALUES`](crate::MAX_VALUES), without its inputs; with them, of at most
    /// [`MAX_RUN_TEXT_BYTES`]. Fields that this
    /// version does not know are tolerated and dropped, and so are `status`, `_links`, all inputs
    /// and every secret. A key that appears twice in one object, at any depth,
    /// refuses the whole, and so does a number or a text that no reader can hold; but not within
    /// the inputs, which are not read.
    ///
    /// ```
    /// let run = countersign::Run::parse(include_bytes!("../../tests/data/published-get.json"))?;
    /// assert_eq!(run.building_block.workspace.as_str(), "my-workspace");
    /// # Ok::<(), countersign::RunError>(())
    /// ```
    ///
    /// # Errors
    /// When anything that the decision may depend on is missing, malformed or unknown.
    pub fn parse(text: &[u8]) -> Result<Self, RunError> {
        Self::parse_with_facts(text).map(|(run, _)| run)
    }

    /// The same, with the facts that the run object has beyond the run
    /// ([`OBJECT_FACTS`](crate::OBJECT_FACTS)).
    ///
    /// # Errors
    /// As [`Run::parse`]. A fact that is missing or out of form is left out.
    pub fn parse_with_facts(text: &[u8]) -> Result<(Self, Facts), RunError> {
        let limits = JsonLimits { bytes: MAX_RUN_BYTES, depth: MAX_RUN_DEPTH };
        let inputs = Dropped { path: &INPUTS, max_bytes: MAX_RUN_TEXT_BYTES };
        let value = strict_json::parse_without(text, limits, inputs)?;
        let reader = Reader::new(Shape::Object, &value)?;
        reader.is_word("kind", KIND)?;
        reader.is_word("apiVersion", API_VERSION)?;
        Ok((reader.run()?, fact_reader::read(&value)))
    }
}

/// Checks an object that has a run object as its member `run`, as [`check_json`](crate::check_json) does, but for the
/// inputs of the run. With them it may be so much longer than `bytes` as a run object may be with its own.
///
/// # Errors
/// At the first thing that is wrong. No message repeats a value of the text.
pub fn check_json_with_run(text: &[u8], bytes: usize, depth: usize) -> Result<(), JsonError> {
    let max_bytes = bytes.saturating_add(MAX_RUN_TEXT_BYTES);
    let inputs = Dropped { path: &INPUTS_OF_RUN, max_bytes };
    strict_json::parse_without(text, JsonLimits { bytes, depth }, inputs).map(drop)
}
