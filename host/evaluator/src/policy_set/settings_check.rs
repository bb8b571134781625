//! The validation of settings before the policy takes them.

use super::description::{Description, SettingsProblem};
use super::settings::Settings;

/// Validates settings before the policy is given them, by the policy's own description. Every binding of an
/// engine that [has one](crate::EngineConfig::settings_check) goes through it.
///
/// The schema is the policy's, so it may be made to cost much: an implementation bounds what it spends on
/// it, and lets settings pass that it cannot judge. The policy has the last word: it is given what passes,
/// and may reject it.
pub trait SettingsValidator: Send + Sync {
    /// The problems with the settings, in any number; none where they fit, or cannot be judged. The first 32
    /// are kept, escaped and cut as those of policies are.
    fn check(&self, policy: &Description, settings: &Settings) -> Vec<SettingsProblem>;
}
