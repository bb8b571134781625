//! The claims that a policy may read: making the others is a part of what a decision costs.

/// Of each claim, whether a policy may read it, in the order of the names below.
#[derive(Clone, Copy)]
pub struct Claims {
    /// Of [`RUN`].
    pub run: [bool; RUN.len()],
    /// Of [`BUILDING_BLOCK`].
    pub building_block: [bool; BUILDING_BLOCK.len()],
    /// Of [`DEFINITION`].
    pub definition: [bool; DEFINITION.len()],
    /// Of [`TOKEN`].
    pub token: [bool; TOKEN.len()],
}

/// The members of a run.
pub const RUN: [&str; 8] =
    ["id", "number", "behavior", "building_block", "definition", "trigger", "runner", "facts"];

/// The members of a building block.
pub const BUILDING_BLOCK: [&str; 5] = ["id", "workspace", "project", "platform", "parents"];

/// The members of a definition.
pub const DEFINITION: [&str; 4] = ["id", "workspace", "version", "implementation"];

/// The members of a token, and its time, which some have in a form of their own.
pub const TOKEN: [&str; 5] = ["subject", "audiences", "ttl_seconds", "issued_at", "time"];

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
        Claims {
            run: RUN.map(|name| self.read(&["run", name])),
            building_block: BUILDING_BLOCK.map(|name| self.read(&["run", "building_block", name])),
            definition: DEFINITION.map(|name| self.read(&["run", "definition", name])),
            token: TOKEN.map(|name| self.read(&["token", name])),
        }
    }
}
