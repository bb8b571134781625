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

    fn walk(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Number(number) => {
                let seconds = number.as_u64().and_then(|number| u32::try_from(number).ok());
                if let Some(seconds) = seconds.filter(|_| self.seconds.len() < MAX_VALUES) {
                    self.seconds.insert(seconds);
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
