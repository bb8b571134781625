//! Values that settings name: those that a policy compares claims with.

use std::collections::BTreeSet;

use countersign::{Audience, DefinitionId, Workspace};
use serde_json::Value;

/// The most values of each kind that are kept.
const MOST: usize = 64;

/// Values that settings name, so that changing a claim to one of them may turn a verdict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// What could be a workspace.
    pub workspaces: BTreeSet<Workspace>,
    /// What could be a definition.
    pub definitions: BTreeSet<DefinitionId>,
    /// What could be an audience.
    pub audiences: BTreeSet<Audience>,
    /// What could be the name of an author, or of anything else.
    pub texts: BTreeSet<String>,
    /// What could be a number of seconds.
    pub seconds: BTreeSet<u32>,
}

impl Hints {
    /// Adds what settings name, wherever it stands in them. The first 64 of each kind are kept.
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
                if let Some(seconds) = seconds.filter(|_| self.seconds.len() < MOST) {
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
            if let Some(value) = value.filter(|_| kept.len() < MOST) {
                kept.insert(value);
            }
        }
        keep(&mut self.definitions, DefinitionId::parse(text).ok());
        keep(&mut self.workspaces, Workspace::parse(text).ok());
        // Of words that could be anything, those with a sign of an audience.
        let audience = Audience::parse(text).ok().filter(|_| text.contains([':', '/', '.']));
        keep(&mut self.audiences, audience);
        let is_text = !text.is_empty() && text.len() <= 255 && !text.contains(char::is_control);
        keep(&mut self.texts, is_text.then(|| text.to_owned()));
    }
}
