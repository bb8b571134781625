//! Literals of settings: the values that a policy compares claims with.

use std::collections::BTreeSet;

use countersign::{Audience, DefinitionId, Workspace};
use serde_json::Value;

/// Values of each kind that are kept, so that a list of 10,000 does not mean as many evaluations.
const MAX_VALUES: usize = 64;

/// Literals of settings, by what they can be taken for: changing a claim to one of them may change a verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SettingsLiterals {
    /// Literals in the form of a workspace.
    pub workspaces: BTreeSet<Workspace>,
    /// Literals in the form of a definition's UUID.
    pub definitions: BTreeSet<DefinitionId>,
    /// Literals that can be an audience.
    pub audiences: BTreeSet<Audience>,
    /// Literals that can be the identifier of an author, or of anything else.
    pub texts: BTreeSet<String>,
    /// Numbers that can be seconds.
    pub seconds: BTreeSet<u32>,
}

impl SettingsLiterals {
    /// Adds the literals of a settings text, at any depth. The first 64 of each kind are kept.
    pub fn add(&mut self, settings: &str) {
        if let Ok(value) = serde_json::from_str(settings) {
            self.walk(&value);
        }
    }

    /// Adds what stands in quotation marks, and the numbers, of the texts in a settings text that have several lines: the
    /// policy of an engine is such a text. The first 64 of each kind are kept, those that are there already included.
    pub fn add_texts(&mut self, settings: &str) {
        fn walk(literals: &mut SettingsLiterals, value: &Value) {
            match value {
                Value::String(text) if text.contains('\n') => literals.source(text),
                Value::Array(values) => values.iter().for_each(|value| walk(literals, value)),
                Value::Object(members) => members.values().for_each(|value| walk(literals, value)),
                _ => {}
            }
        }
        if let Ok(value) = serde_json::from_str(settings) {
            walk(self, &value);
        }
    }

    /// Tells whether a value is one of the literals.
    pub fn contains(&self, value: &str) -> bool {
        let is = |known: &str| known == value;
        self.texts.contains(value)
            || self.workspaces.iter().any(|workspace| is(workspace.as_str()))
            || self.definitions.iter().any(|definition| is(definition.as_str()))
            || self.audiences.iter().any(|audience| is(audience.as_str()))
            || value.parse().is_ok_and(|seconds| self.seconds.contains(&seconds))
    }

    fn source(&mut self, text: &str) {
        for line in text.lines() {
            let mut rest = line;
            while let Some((_, quote, after)) = split_at_quote(rest) {
                let Some((quoted, next)) = after.split_once(quote) else { break };
                self.text(quoted);
                rest = next;
            }
            let numbers = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for number in numbers.filter_map(|word| word.parse().ok()) {
                self.number(number);
            }
        }
    }

    fn number(&mut self, seconds: u32) {
        if self.seconds.len() < MAX_VALUES {
            self.seconds.insert(seconds);
        }
    }

    fn walk(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Number(number) => {
                let seconds = number.as_u64().and_then(|number| u32::try_from(number).ok());
                if let Some(seconds) = seconds {
                    self.number(seconds);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| self.walk(value)),
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                self.text(name);
                self.walk(value);
            }),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, text: &str) {
        fn keep<T: Ord>(kept: &mut BTreeSet<T>, value: Option<T>) {
            if let Some(value) = value.filter(|_| kept.len() < MAX_VALUES) {
                kept.insert(value);
            }
        }
        keep(&mut self.definitions, DefinitionId::parse(text).ok());
        keep(&mut self.workspaces, Workspace::parse(text).ok());
        // Almost any text is a valid audience, so only those that look like one.
        let audience = Audience::parse(text).ok().filter(|_| text.contains([':', '/', '.']));
        keep(&mut self.audiences, audience);
        let is_text = !text.is_empty() && text.len() <= 255 && !text.contains(char::is_control);
        keep(&mut self.texts, is_text.then(|| text.to_owned()));
    }
}

/// Splits a line at its first quotation mark.
fn split_at_quote(line: &str) -> Option<(&str, char, &str)> {
    let at = line.find(['"', '\'', '`'])?;
    let (before, rest) = line.split_at_checked(at)?;
    let mut characters = rest.chars();
    let quote = characters.next()?;
    Some((before, quote, characters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_a_policy_are_those_of_its_text() {
        let rego = "package countersign\n\ndeny contains r if input.run.building_block.workspace == \"team-a\"\n\
                    permit := {\"max_ttl\": 900} # it's\n";
        let mut literals = SettingsLiterals::default();
        literals.add_texts(&serde_json::json!({"policy": rego, "data": "one line"}).to_string());
        for value in ["team-a", "max_ttl", "900"] {
            assert!(literals.contains(value), "{value}: {literals:?}");
        }
        for value in ["one line", "countersign", "s", "901"] {
            assert!(!literals.contains(value), "{value}: {literals:?}");
        }
    }
}
