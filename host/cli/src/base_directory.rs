//! The base directories of a user's files (XDG Base Directory Specification).

use std::env;
use std::path::PathBuf;

/// The directory that a variable names, else the one in the home folder; `None` without a home folder.
pub(crate) fn path(variable: &str, in_home: &str) -> Option<PathBuf> {
    // A relative path could select a secret that somebody else put into the working directory.
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))
}
