//! Parts that engines have in common: settings that are JSON of any shape, runs to warm up with, and the words of claims.

mod json;
mod nearest;
mod samples;
mod words;

pub use json::{Json, JsonObject};
pub use nearest::{did_you_mean, nearest};
pub use samples::{complete, samples};
pub use words::{PATHS_OF_WORDS, words};
