//! From the bytes of a run object to a [`Run`].

use super::reader::{Reader, RunError, Shape};
use super::run::Run;
use crate::strict_json::{self, JsonLimits};

/// The longest run object that is parsed, in bytes.
pub const MAX_RUN_BYTES: usize = 1 << 20;

/// How deep a run object may be nested.
pub const MAX_RUN_DEPTH: usize = 64;

const KIND: &str = "meshBuildingBlockRun";
const API_VERSION: &str = "v1";

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
    /// let run = countersign::Run::parse(include_bytes!("../../tests/data/published-get.json"))?;
    /// assert_eq!(run.building_block.workspace.as_str(), "my-workspace");
    /// # Ok::<(), countersign::RunError>(())
    /// ```
    ///
    /// # Errors
    /// When anything that the decision may depend on is missing, malformed or unknown.
    pub fn parse(text: &[u8]) -> Result<Self, RunError> {
        let limits = JsonLimits { bytes: MAX_RUN_BYTES, depth: MAX_RUN_DEPTH };
        let value = strict_json::parse(text, limits)?;
        let reader = Reader::new(Shape::Object, &value)?;
        reader.is_word("kind", KIND)?;
        reader.is_word("apiVersion", API_VERSION)?;
        reader.run()
    }
}
