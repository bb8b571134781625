//! The engines that decide by a text in their settings: the names of their components, and the way to them at run time.
//!
//! A component takes minutes to build, so it is not part of the program. `make engines` builds all of them into a
//! [folder](EngineFolder) that is named after the digest of their [sources](SOURCES), and a program looks for the folder of
//! the sources that it was built with itself, in [`Places`]. An old component is therefore not found, and one that was
//! changed or only half-written is refused.

#![forbid(unsafe_code)]

mod error;
mod folder;
mod places;

pub use error::EngineError;
pub use folder::EngineFolder;
pub use places::{Places, beside, in_place};

/// The SHA-256 of everything that the components are built from, in hexadecimal. The compiler is no part of it.
pub const SOURCES: &str = env!("COUNTERSIGN_ENGINE_SOURCES");

/// The variable of the environment that names the folder of the components.
pub const VARIABLE: &str = "COUNTERSIGN_ENGINES";

/// An engine that has a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    /// Decides by the Cedar policies in its settings.
    Cedar,
    /// Decides by the CEL rules in its settings.
    Cel,
    /// Decides by the JavaScript policy in its settings.
    Javascript,
    /// Decides by the Python policy in its settings.
    Python,
    /// Decides by the Rego policy in its settings.
    Rego,
}

impl EngineName {
    /// All engines, by name.
    pub const ALL: [Self; 5] = [Self::Cedar, Self::Cel, Self::Javascript, Self::Python, Self::Rego];

    /// The name of the engine, and of its component without `.wasm`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cedar => "cedar",
            Self::Cel => "cel",
            Self::Javascript => "javascript",
            Self::Python => "python",
            Self::Rego => "rego",
        }
    }

    /// The name of the engine's package.
    pub fn package(self) -> &'static str {
        match self {
            // The crate that it is made of is named `cel`, and cargo's commands know packages by name.
            Self::Cel => "cel-engine",
            other => other.as_str(),
        }
    }
}
