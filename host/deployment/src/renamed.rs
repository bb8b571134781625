//! Keys and words that have another name now.

/// Adds to a parser's message which name has taken the place of the one that it does not know.
///
/// A key that is only missing from the list of known ones would send its reader to the documentation; one that was
/// renamed can say so.
pub(crate) fn name_the_new(message: &str, renamed: &[(&str, &str)]) -> String {
    let is_named = |old: &str| {
        ["field", "variant"].iter().any(|what| message.contains(&format!("unknown {what} `{old}`")))
    };
    match renamed.iter().find(|(old, _)| is_named(old)) {
        Some((old, new)) => format!("{message}\n`{old}` is now `{new}`"),
        None => message.to_owned(),
    }
}
