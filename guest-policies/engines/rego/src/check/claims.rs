//! The claims that `input` has, and the values that each can have.

use super::index::Step;
use crate::kinds::Kinds;

/// A part of `input`.
pub enum Claim {
    /// An object of these members.
    Object(&'static [(&'static str, Claim)]),
    /// An array.
    List(&'static Claim),
    /// An object of names that are not known, of texts.
    Facts,
    /// One of the words of the contract, by the path of `engine_shared::words`.
    Word(&'static str),
    /// A UUID in lower case.
    Uuid,
    /// An identifier: lower-case letters, digits and dashes, and a dot in that of a platform.
    Identifier,
    /// Any other text.
    Text,
    /// A whole number.
    Number,
}

use Claim::{Facts, Identifier, List, Number, Object, Text, Uuid, Word};

const PARENT: Claim = Object(&[("building_block", Uuid), ("definition", Uuid)]);

const RUN: Claim = Object(&[
    ("behavior", Word("run.behavior")),
    (
        "building_block",
        Object(&[
            ("id", Uuid),
            ("parents", List(&PARENT)),
            ("platform", Identifier),
            ("project", Identifier),
            ("workspace", Identifier),
        ]),
    ),
    (
        "definition",
        Object(&[
            ("id", Uuid),
            ("implementation", Word("run.definition.implementation")),
            ("version", Number),
            ("workspace", Identifier),
        ]),
    ),
    ("facts", Facts),
    ("id", Uuid),
    ("number", Number),
    ("runner", Uuid),
    (
        "trigger",
        Object(&[
            ("author", Text),
            ("author_kind", Word("run.trigger.author_kind")),
            ("reason", Text),
        ]),
    ),
]);

const TOKEN: Claim = Object(&[
    ("audiences", List(&Text)),
    ("issued_at", Number),
    ("subject", Text),
    ("ttl_seconds", Number),
]);

static INPUT: Claim = Object(&[("run", RUN), ("token", TOKEN)]);

/// A step that leads nowhere.
pub struct Unknown {
    /// The number of the step.
    pub at: usize,
    /// The path before it, as the text has it.
    pub before: String,
    /// The members that are there; none where the claim is no object.
    pub members: Vec<&'static str>,
}

impl Claim {
    /// The claim at a path below `input`; `None` where the path does not say which.
    ///
    /// # Errors
    /// The first step for which no run has a value.
    pub fn at(path: &[Step]) -> Result<Option<&'static Self>, Unknown> {
        let mut claim = &INPUT;
        let mut before = "input".to_owned();
        for (at, step) in path.iter().enumerate() {
            let unknown = |members| Unknown { at, before: before.clone(), members };
            claim = match (claim, step) {
                (Object(members), Step::Key(key)) => {
                    let names = || members.iter().map(|(name, _)| *name).collect();
                    let found = members.iter().find(|(name, _)| name == key);
                    found.map(|(_, claim)| claim).ok_or_else(|| unknown(names()))?
                }
                (Object(_), Step::Any) => return Ok(None),
                (List(item), Step::Any) => item,
                (Facts, _) => &Text,
                (List(_) | Word(_) | Uuid | Identifier | Text | Number, _) => {
                    return Err(unknown(Vec::new()));
                }
            };
            if let Step::Key(key) = step {
                before.push('.');
                before.push_str(key);
            } else {
                before.push_str("[_]");
            }
        }
        Ok(Some(claim))
    }

    /// The kinds of its values.
    pub fn kinds(&self) -> Kinds {
        match self {
            Object(_) | Facts => Kinds::OBJECT,
            List(_) => Kinds::ARRAY,
            Word(_) | Uuid | Identifier | Text => Kinds::TEXT,
            Number => Kinds::NUMBER,
        }
    }

    /// The reason for which the claim never has this text, with what it can have.
    pub fn never(&self, text: &str) -> Option<String> {
        match self {
            Word(path) => {
                let words = engine_shared::words(path)?;
                if words.contains(&text) {
                    return None;
                }
                let meant = super::nearest::proposal(text, words.iter().copied());
                Some(format!("one of `{}`{meant}", words.join("`, `")))
            }
            Uuid => (!is_uuid(text)).then(|| "a UUID in lower case".to_owned()),
            Identifier => {
                let is_one = !text.is_empty() && text.bytes().all(is_of_identifier);
                (!is_one).then(|| "lower-case letters, digits and dashes".to_owned())
            }
            Object(_) | List(_) | Facts | Text | Number => None,
        }
    }

    /// The reason for which no value of the claim begins with, ends with or contains this text.
    pub fn never_part(&self, text: &str) -> Option<String> {
        match self {
            Word(path) => {
                let words = engine_shared::words(path)?;
                let is_part = words.iter().any(|word| word.contains(text));
                (!is_part).then(|| format!("one of `{}`", words.join("`, `")))
            }
            Uuid | Identifier => (!text.bytes().all(is_of_identifier))
                .then(|| "lower-case letters, digits and dashes".to_owned()),
            Object(_) | List(_) | Facts | Text | Number => None,
        }
    }
}

fn is_of_identifier(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')
}

fn is_uuid(text: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => is_digit(byte),
        })
}
