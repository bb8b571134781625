//! Parts that engines have in common: settings that are JSON of any shape, runs to warm up with, what is said of that, the
//! claims that a policy reads, and the words of claims.

pub mod claims;
mod json;
mod nearest;
mod samples;
pub mod stage;
mod words;

pub use json::{Json, JsonObject};
pub use nearest::{did_you_mean, nearest};
pub use samples::{complete, samples};
pub use words::{PATHS_OF_WORDS, words};
