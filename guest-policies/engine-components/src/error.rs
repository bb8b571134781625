//! The reasons that there is no component of an engine.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::{SOURCES, VARIABLE};

/// The reason that the component of an engine cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// No place has it.
    #[error("{}", missing(.engine, .looked_in))]
    Missing {
        /// The name of the engine.
        engine: &'static str,
        /// The folders in which it was looked for.
        looked_in: Vec<PathBuf>,
    },
    /// The folder has the components of other sources.
    #[error(
        "{}: the engines there are built from the sources {}, this program needs {}; run `make engines`, or copy the folder \
         that belongs to this program",
        .folder.display(), short(.found), short(SOURCES)
    )]
    OtherSources {
        /// The folder.
        folder: PathBuf,
        /// The digest of the sources of its components.
        found: String,
    },
    /// A file is not the one that was written.
    #[error(
        "{}: not as it was built, {problem}; run `make engines`, or copy the folder again",
        .path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The difference.
        problem: &'static str,
    },
    /// The system refuses.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl EngineError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

fn missing(engine: &str, looked_in: &[PathBuf]) -> String {
    let mut text = format!("the component of the engine `{engine}` is not installed; looked in");
    for folder in looked_in {
        // Writing to a string does not fail.
        let _ = write!(text, "\n  {}", folder.display());
    }
    let _ = write!(
        text,
        "\nrun `make engines` in the source of this program, or name a folder that has it with {VARIABLE}"
    );
    text
}

/// The beginning of a digest, enough to tell two apart.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
