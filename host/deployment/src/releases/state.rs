//! The state of releases: it follows from the steps, so there is always exactly one.

use countersign::Digest;
use countersign_issuer::{ReleaseAction, ReleaseStep};

/// The state after the last step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseState {
    /// The number of the last step; 0 before the first.
    pub step: u64,
    /// The release that decides. Without one, the manifest of the configuration does.
    pub active: Option<Digest>,
    /// The time since when it decides, in seconds since 1970.
    pub active_since: u64,
    /// The step that made it decide.
    pub active_step: u64,
    /// True if it was promoted, and not adopted or rolled back to.
    pub is_promoted: bool,
    /// The releases that decided before it, the last one last: those that rollbacks go back to.
    pub before: Vec<Digest>,
    /// The release that is tried beside it.
    pub candidate: Option<Digest>,
}

impl ReleaseState {
    /// The release that a rollback makes active.
    pub fn previous(&self) -> Option<Digest> {
        self.before.last().copied()
    }

    /// Adds a step.
    ///
    /// # Errors
    /// When the step cannot follow this state, in words.
    pub fn add(&mut self, step: &ReleaseStep) -> Result<(), String> {
        if step.step != self.step + 1 {
            return Err(format!("step {}, expected {}", step.step, self.step + 1));
        }
        let follows = |expected: bool| match expected {
            true => Ok(()),
            false => Err(format!("step {} does not follow the steps before it", step.step)),
        };
        match step.action {
            ReleaseAction::Staged => {
                self.candidate = Some(step.release).filter(|staged| Some(*staged) != self.active);
                self.step = step.step;
                return Ok(());
            }
            ReleaseAction::Adopted => follows(self.active.is_none() && step.from.is_none())?,
            ReleaseAction::Promoted => {
                let from = self.active.filter(|from| *from != step.release);
                follows(from.is_some() && from == step.from)?;
                self.before.extend(from);
            }
            ReleaseAction::RolledBack => {
                follows(self.active.is_some() && self.active == step.from)?;
                follows(self.before.pop() == Some(step.release))?;
            }
        }
        self.active = Some(step.release);
        (self.active_since, self.active_step) = (step.at, step.step);
        self.is_promoted = step.action == ReleaseAction::Promoted;
        // The one that decides has nothing to be compared with.
        self.candidate = self.candidate.filter(|candidate| *candidate != step.release);
        self.step = step.step;
        Ok(())
    }
}
