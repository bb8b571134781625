//! The texts of the settings, and problems with their places in them.

use countersign_policy::Problem;
use engine_shared::{did_you_mean, words};
use miette::Diagnostic;

/// The policies.
pub const POLICIES: Source<'static> =
    Source { pointer: "/policies", file: "policies.cedar", text: "" };

/// The schema.
pub const SCHEMA: Source<'static> =
    Source { pointer: "/schema", file: "schema.cedarschema", text: "" };

/// A text of the settings.
#[derive(Clone, Copy)]
pub struct Source<'s> {
    /// The pointer to it in the settings.
    pointer: &'static str,
    /// The name of its file in a policy's folder.
    file: &'static str,
    text: &'s str,
}

impl Source<'_> {
    /// The same with its text.
    pub fn of<'t>(self, text: &'t str) -> Source<'t> {
        Source { pointer: self.pointer, file: self.file, text }
    }

    pub fn text(&self) -> &str {
        self.text
    }

    /// The problems of an error of Cedar and of those that come with it, each once, in the order of their places.
    pub fn problems(&self, error: &dyn Diagnostic) -> Vec<Problem> {
        let related = error.related().into_iter().flatten();
        self.all([error].into_iter().chain(related))
    }

    /// The problems of several errors. What the validator says again for another action is said once.
    pub fn all<'d>(&self, errors: impl Iterator<Item = &'d dyn Diagnostic>) -> Vec<Problem> {
        let mut found: Vec<(usize, String)> = Vec::new();
        for (offset, message) in errors.map(|error| (offset(error), message(error))) {
            let same = |known: &&mut (usize, String)| {
                known.0 == offset && without_action(&known.1) == without_action(&message)
            };
            match found.iter_mut().find(same) {
                // Of several actions, or the same again.
                Some(known) if known.1 != message => known.1 = without_action(&message),
                Some(_) => {}
                None => found.push((offset, message)),
            }
        }
        found.sort();
        found.iter().map(|(offset, message)| self.at(*offset, message)).collect()
    }

    /// A problem at an offset of the text, in bytes.
    pub fn at(&self, offset: usize, message: &str) -> Problem {
        let (line, column) = self.place(offset);
        let message = format!("{}:{line}:{column}: {message}", self.file);
        Problem { pointer: self.pointer.to_owned(), message }
    }

    /// A problem of the text as a whole.
    pub fn whole(&self, message: &str) -> Problem {
        self.at(0, message)
    }

    /// The line and the column in characters, both from 1 on. A mistake at the end of the text is where its last line ends.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let before = if before.len() == self.text.len() { before.trim_end() } else { before };
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let last = before.rsplit('\n').next().unwrap_or_default();
        (line, last.chars().count() + 1)
    }
}

/// The offset of an error's place; 0 where it has none.
fn offset(error: &dyn Diagnostic) -> usize {
    let label = error.labels().and_then(|mut labels| labels.next());
    match (label, error.diagnostic_source()) {
        (Some(label), _) => label.offset(),
        (None, Some(source)) => offset(source),
        (None, None) => 0,
    }
}

/// The text of an error: what it says, its sources, what was expected, and the help that it gives.
pub fn message(error: &dyn Diagnostic) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    let label = error.labels().and_then(|mut labels| labels.next());
    let expected = label.and_then(|label| label.label().map(str::to_owned));
    let help = hint(&message).or_else(|| error.help().map(|help| help.to_string()));
    for more in expected.into_iter().chain(help) {
        if !message.contains(&more) {
            message.push_str("; ");
            message.push_str(&more);
        }
    }
    message
}

/// The help with a mistake that Cedar does not know, because it is about runs, or that it helps with otherwise.
fn hint(message: &str) -> Option<String> {
    let between = |before: &str, after: char| {
        message.split_once(before).and_then(|(_, rest)| rest.split(after).next())
    };
    if let Some(id) = between("unrecognized action `Action::\"", '"') {
        let words = words("run.behavior")?;
        let hint = did_you_mean(id, words.iter().copied());
        return Some(format!("expected one of `{}`{hint}", words.join("`, `")));
    }
    if message.contains("attribute `run.behavior`") {
        return Some("the behavior is the action: `action == Action::\"destroy\"`".to_owned());
    }
    // Other messages name what an author has named.
    if !message.contains("is not a valid method") && !message.contains("is not a valid function") {
        return None;
    }
    match between("`", '`')?.to_lowercase().as_str() {
        "startswith" => Some("try `like \"team-*\"`".to_owned()),
        "endswith" => Some("try `like \"*-prod\"`".to_owned()),
        "matches" => {
            Some("there are no regular expressions; try `like \"team-*-prod\"`".to_owned())
        }
        "contain" | "includes" | "has" => Some("try `contains`".to_owned()),
        _ => None,
    }
}

/// A message without the action that it is about: `in context for Action::"apply"`.
fn without_action(message: &str) -> String {
    let Some((before, rest)) = message.split_once(" in context for Action::\"") else {
        return message.to_owned();
    };
    let after = rest.split_once('"').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_line_and_a_column_of_characters() {
        let source = POLICIES.of("äb\n\ncd\n\n");
        for (offset, expected) in [
            (0, (1, 1)),
            (2, (1, 2)),
            (3, (1, 3)),
            (4, (2, 1)),
            (6, (3, 2)),
            (9, (3, 3)),
            (99, (3, 3)),
        ] {
            assert_eq!(source.place(offset), expected, "{offset}");
        }
    }
}
