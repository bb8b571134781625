//! The time, read once for a command.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// The given time, or the system's, in seconds since 1970.
pub(crate) fn now(given: Option<u64>) -> Result<u64> {
    if let Some(now) = given {
        return Ok(now);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Ok(since.context("the clock is before 1970; set it, or give --now")?.as_secs())
}
