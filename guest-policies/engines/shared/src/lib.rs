//! Parts that engines have in common: settings that are JSON of any shape, runs to warm up with, what is said of that, the
//! claims that a policy reads, the words of claims, and time zones.

pub mod claims;
mod json;
mod nearest;
mod samples;
pub mod stage;
mod words;
mod zones;

pub use json::{Json, JsonObject};
pub use nearest::{did_you_mean, nearest};
pub use samples::{complete, samples};
pub use words::{PATHS_OF_WORDS, words};
pub use zones::{LocalTime, find as find_zone, local_time, rfc3339};
