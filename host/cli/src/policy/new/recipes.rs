//! The recipes of the cookbook, to begin with.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::policy::language::Language;

/// A recipe of the cookbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipe {
    name: &'static str,
    /// The rule, in the words of the one who asks for it.
    rule: &'static str,
    pub language: Language,
    /// The files, by their paths in the folder.
    pub files: &'static [(&'static str, &'static str)],
}

macro_rules! recipes {
    ($($language:ident $name:literal, $rule:literal: $($file:literal)*;)*) => {
        &[$(Recipe {
            name: $name,
            rule: $rule,
            language: Language::$language,
            files: &[$((
                $file,
                include_str!(concat!("../../../../../cookbook/", $name, "/", $file)),
            )),*],
        }),*]
    };
}

/// All recipes, by name. That with a mistake is none to begin with.
const RECIPES: &[Recipe] = recipes! {
    Rust "approved-parents", "Building blocks stand on approved ones":
        "README.md" "cases.toml" "settings.schema.json" "src/lib.rs";
    Rego "audiences-of-a-definition", "A definition for one cloud gets tokens for that cloud":
        "README.md" "cases.toml" "data.json" "policy.rego";
    Rust "break-glass", "Changes only in an emergency, by named people and for hours":
        "README.md" "cases.toml" "settings.schema.json" "src/instant.rs" "src/lib.rs";
    Rego "consumers-and-dry-runs", "Workspaces on a list, and short tokens for dry runs":
        "README.md" "cases.toml" "data.json" "policy.rego";
    Rego "cost-centre", "The cost centre of the workspace as a claim":
        "README.md" "cases.toml" "data.json" "policy.rego";
    Rego "destroyed-by-people", "A pipeline may apply and never destroy":
        "README.md" "cases.toml" "policy.rego";
    Rust "emergency-stop", "No token for a definition until further notice":
        "README.md" "cases.toml" "settings.schema.json" "src/lib.rs";
    Cedar "minimum-version", "No version of a definition below a minimum":
        "README.md" "cases.toml" "entities.json" "policies.cedar";
    Cedar "production-by-people", "Only people change production":
        "README.md" "cases.toml" "entities.json" "policies.cedar";
    Cedar "runners-of-a-workspace", "A workspace runs on its own runners":
        "README.md" "cases.toml" "entities.json" "policies.cedar" "schema.cedarschema";
    Cedar "team-standard-cedar", "The standard of a platform, in Cedar":
        "README.md" "cases.toml" "policies.cedar";
    Cel "team-standard-cel", "The standard of a platform, in CEL":
        "README.md" "cases.toml" "policy.cel.yaml";
    Javascript "team-standard-javascript", "The standard of a platform, in JavaScript":
        "README.md" "cases.toml" "policy.js";
    Python "team-standard-python", "The standard of a platform, in Python":
        "README.md" "cases.toml" "policy.py";
    Rego "team-standard-rego", "The standard of a platform, in Rego":
        "README.md" "cases.toml" "policy.rego";
    Rust "team-standard-rust", "The standard of a platform, in Rust":
        "README.md" "cases.toml" "settings.schema.json" "src/lib.rs";
};

/// Files of a template that hold what its own policy reads. A recipe has its own or none.
const OF_THE_POLICY: [&str; 4] =
    ["data.json", "entities.json", "default-verdict.json", "policy-settings.json"];

impl ValueEnum for Recipe {
    fn value_variants<'a>() -> &'a [Self] {
        RECIPES
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name).help(self.rule))
    }
}

impl Recipe {
    /// Puts the files of the recipe in place of those of its language's template.
    pub(super) fn lay_over(self, files: &mut Vec<(&'static str, String)>) {
        let is_own = |name: &str| self.files.iter().any(|(own, _)| *own == name);
        files.retain(|(name, _)| !is_own(name) && !OF_THE_POLICY.contains(name));
        files.extend(self.files.iter().map(|(name, text)| (*name, (*text).to_owned())));
    }
}
