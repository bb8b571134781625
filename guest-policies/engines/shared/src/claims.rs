//! The claims: of what kind they are, and which a policy may read; making the others is a part of what a decision costs.

use std::collections::BTreeSet;

/// Of each claim, whether a policy may read it, in the order of the names below.
#[derive(Clone, Copy)]
pub struct Claims {
    /// Of [`RUN`].
    pub run: [bool; RUN.len()],
    /// Of [`BUILDING_BLOCK`].
    pub building_block: [bool; BUILDING_BLOCK.len()],
    /// Of [`DEFINITION`].
    pub definition: [bool; DEFINITION.len()],
    /// Of [`TOKEN`], and of its time, which some have in a form of their own.
    pub token: [bool; TOKEN.len() + 1],
}

/// The kind of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Members by their names, [`FIELDS`] of its path.
    Object,
    /// A text, perhaps of a closed list of words.
    Text,
    /// A whole number of 32 bits.
    Number,
    /// A whole number below 2^53.
    Long,
    /// Values without names.
    List,
    /// Texts by names that whoever registered them chose.
    Facts,
}

/// The members of a run.
pub const RUN: [(&str, Kind); 8] = [
    ("id", Kind::Text),
    ("number", Kind::Long),
    ("behavior", Kind::Text),
    ("building_block", Kind::Object),
    ("definition", Kind::Object),
    ("trigger", Kind::Object),
    ("runner", Kind::Text),
    ("facts", Kind::Facts),
];

/// The members of a building block.
pub const BUILDING_BLOCK: [(&str, Kind); 5] = [
    ("id", Kind::Text),
    ("workspace", Kind::Text),
    ("project", Kind::Text),
    ("platform", Kind::Text),
    ("parents", Kind::List),
];

/// The members of a definition.
pub const DEFINITION: [(&str, Kind); 4] = [
    ("id", Kind::Text),
    ("workspace", Kind::Text),
    ("version", Kind::Long),
    ("implementation", Kind::Text),
];

/// The members of a trigger.
pub const TRIGGER: [(&str, Kind); 3] =
    [("reason", Kind::Text), ("author", Kind::Text), ("author_kind", Kind::Text)];

/// The members of a token.
pub const TOKEN: [(&str, Kind); 4] = [
    ("subject", Kind::Text),
    ("audiences", Kind::List),
    ("ttl_seconds", Kind::Number),
    ("issued_at", Kind::Long),
];

/// The members of `run`, of `token` and of the objects that they hold, by the path of the object.
pub const FIELDS: [(&str, &[(&str, Kind)]); 5] = [
    ("run", &RUN),
    ("run.building_block", &BUILDING_BLOCK),
    ("run.definition", &DEFINITION),
    ("run.trigger", &TRIGGER),
    ("token", &TOKEN),
];

/// The claims that not every run has, besides facts, of which none is in every run.
pub const OPTIONAL: [&str; 5] = [
    "run.building_block.project",
    "run.building_block.platform",
    "run.trigger",
    "run.trigger.reason",
    "run.runner",
];

/// The claim that has the facts, each by its name.
pub const FACTS: &str = "run.facts";

/// Says that a policy asks for a claim that a run may lack: for itself, for all facts, or for the object at its root.
#[must_use]
pub fn is_asked(asked: &BTreeSet<&str>, claim: &str) -> bool {
    asked.contains(claim)
        || claim.starts_with(FACTS) && asked.contains(FACTS)
        || claim.split('.').next().is_some_and(|root| asked.contains(root))
}

/// Paths that a policy reads. Each stands for all that is below it.
#[derive(Debug, Default)]
pub struct Paths(Vec<Vec<String>>);

impl Paths {
    /// All claims.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![Vec::new()])
    }

    /// Adds a path; an empty one reads everything.
    pub fn add(&mut self, path: Vec<String>) {
        self.0.push(path);
    }

    /// Adds the claim that names from `run` or `token` on lead to. Where one of them is none of the object before it, such as
    /// a method, all of that object is read.
    pub fn add_claim(&mut self, mut names: Vec<String>) {
        let is_claim = |end: &usize| {
            let (holder, name) = (names.get(..*end).unwrap_or_default().join("."), names.get(*end));
            let fields = FIELDS.iter().find(|(path, _)| *path == holder);
            fields.is_some_and(|(_, fields)| {
                fields.iter().any(|(field, _)| Some(*field) == name.map(String::as_str))
            })
        };
        let end = (1..names.len()).find(|end| !is_claim(end)).unwrap_or(names.len());
        names.truncate(end);
        self.0.push(names);
    }

    /// Says whether a claim, or anything in it, may be read.
    #[must_use]
    pub fn read(&self, claim: &[&str]) -> bool {
        self.0.iter().any(|read| read.iter().zip(claim).all(|(read, claim)| read == claim))
    }

    /// The claims that may be read.
    #[must_use]
    pub fn claims(&self) -> Claims {
        let of = |object: &[&str], name| self.read(&[object, &[name]].concat());
        let [subject, audiences, ttl_seconds, issued_at] =
            TOKEN.map(|(name, _)| of(&["token"], name));
        Claims {
            run: RUN.map(|(name, _)| of(&["run"], name)),
            building_block: BUILDING_BLOCK.map(|(name, _)| of(&["run", "building_block"], name)),
            definition: DEFINITION.map(|(name, _)| of(&["run", "definition"], name)),
            token: [subject, audiences, ttl_seconds, issued_at, of(&["token"], "time")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_read_with_all_that_names_do_not_tell_apart() {
        let path = |path: &str| path.split('.').map(str::to_owned).collect::<Vec<_>>();
        for (added, read, not_read) in [
            ("run.definition.id", "run.definition.id", Some("run.definition.workspace")),
            ("run.definition.id.length", "run.definition.id", Some("run.id")),
            ("run.definition", "run.definition.version", Some("run.id")),
            ("run.definition.has", "run.definition.version", Some("run.id")),
            ("run._asdict", "run.trigger", Some("token.subject")),
            ("run", "run.facts", Some("token.subject")),
            ("token.time", "token.subject", Some("run.id")),
        ] {
            let mut paths = Paths::default();
            paths.add_claim(path(added));
            let is_read = |claim: &str| paths.read(&claim.split('.').collect::<Vec<_>>());
            assert!(is_read(read), "{added}");
            assert!(not_read.is_none_or(|claim| !is_read(claim)), "{added}");
        }
    }
}
