//! A look at settings before the policy takes them.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use countersign::{
    Description, Engine, EngineConfig, PolicySet, Settings, SettingsProblem, SettingsValidator,
};
use countersign_deployment::{Manifest, ManifestFiles, prepare_policies};
use countersign_policy_artifacts::SAME_WORKSPACE;

/// Remembers what it was asked about, and has something to say of the settings that have `word`.
#[derive(Default)]
struct Check {
    word: &'static str,
    asked: Mutex<Vec<String>>,
}

impl SettingsValidator for Check {
    fn check(&self, policy: &Description, settings: &Settings) -> Vec<SettingsProblem> {
        self.asked.lock().unwrap().push(format!("{} {}", policy.name, settings.as_json()));
        let count = if settings.as_json().contains(self.word) { 40 } else { 0 };
        let problem = |index| SettingsProblem {
            pointer: format!("/{index:02}\u{1b}"),
            message: "m".repeat(1000),
        };
        (0..count).map(problem).collect()
    }
}

/// Prepares a binding that only the policy can say is wrong, and one that is right.
fn prepare(word: &'static str, preparation: &str) -> (Result<PolicySet, String>, Vec<String>) {
    let check = Arc::new(Check { word, ..Check::default() });
    let settings_check = Some(Arc::clone(&check) as _);
    let engine = Engine::with(EngineConfig { settings_check, ..EngineConfig::default() }).unwrap();
    let binding = |name: &str, settings: &str| {
        format!(
            "[[binding]]\nname = \"{name}\"\npolicy = \"p.wasm\"\nscope = \"all\"\n\
             settings = {{ also = [{settings}] }}\nlimits = {{ wall-clock-ms = 10_000 }}\n"
        )
    };
    let text = format!(
        "[preparation]\nbindings = \"{preparation}\"\n{}{}",
        binding("one", "7"),
        binding("two", "\"team-a\"")
    );
    let files = ManifestFiles::from([("p.wasm".to_owned(), SAME_WORKSPACE.to_vec())]);
    let set = prepare_policies(&engine, &Manifest::parse(&text).unwrap(), &files);
    let asked = check.asked.lock().unwrap().clone();
    (set.map_err(|error| error.to_string()), asked)
}

#[test]
fn all_settings_are_looked_at_before_any_policy_takes_its_own() {
    let asked = [r#"same-workspace {"also":[7]}"#, r#"same-workspace {"also":["team-a"]}"#];
    // It would have found the first binding wrong.
    let (set, looked_at) = prepare("team-a", "at-start");
    let error = set.unwrap_err();
    assert!(
        error.starts_with("binding `two`: the settings do not fit the policy `same-workspace`:\n")
    );
    assert_eq!(looked_at, asked);
    // Where there is nothing to say, the policy has the last word.
    let (set, looked_at) = prepare("nothing", "at-start");
    let error = set.unwrap_err();
    assert!(error.starts_with("binding `one`: "), "{error}");
    assert!(error.contains("\n  /also/0: "), "{error}");
    assert_eq!(looked_at, asked);
}

#[test]
fn settings_are_looked_at_where_bindings_are_prepared_when_needed() {
    let (set, looked_at) = prepare("team-a", "on-demand");
    assert!(set.unwrap_err().starts_with("binding `two`: "));
    assert_eq!(looked_at.len(), 2);
    assert_eq!(prepare("nothing", "on-demand").0.unwrap().bindings().len(), 2);
}

#[test]
fn of_what_it_says_the_first_is_kept_escaped_and_cut() {
    let error = prepare("team-a", "at-start").0.unwrap_err();
    let lines: Vec<_> = error.lines().skip(1).collect();
    assert_eq!(lines.len(), 32);
    let line = lines.last().unwrap();
    assert!(line.starts_with("  /31\\u{1b}: mmm"), "{line}");
    assert!(line.len() < 540, "{}", line.len());
}
