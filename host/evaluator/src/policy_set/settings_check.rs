//! A look at settings before the policy takes them.

use crate::binding::SettingsProblem;
use crate::policy::Description;
use crate::settings::Settings;

/// Finds what is wrong with settings before the policy is asked, by what the policy says of itself. Every
/// binding of an engine that [has one](crate::EngineConfig::settings_check) goes through it.
///
/// The schema is the policy's, so it may be made to cost much: an implementation bounds what it spends on it,
/// and lets settings pass that it cannot judge. The policy has the last word:
/// it is given what passes, and may refuse it.
pub trait CheckSettings: Send + Sync {
    /// What is wrong, in any number; nothing where the settings fit, or cannot be judged. Of the problems the first 32
    /// are kept, escaped and cut as those of policies are.
    fn check(&self, policy: &Description, settings: &Settings) -> Vec<SettingsProblem>;
}
