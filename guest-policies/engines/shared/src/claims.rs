//! The claims: of what kind they are, and which a policy may read; making the others is a part of what a decision costs.

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

/// Paths that a policy reads. Each stands for all that is below it.
#[derive(Default)]
pub struct Paths(Vec<Vec<String>>);

impl Paths {
    /// Adds a path; an empty one reads everything.
    pub fn add(&mut self, path: Vec<String>) {
        self.0.push(path);
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
