//! The bindings that can permit, shown by `check` and `inspect --policies`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::Args;
use countersign::reach::{self, Permitters, Runs};
use countersign::{BindingIdentity, DefinitionId, PolicySet, Scope, Workspace};
use countersign_deployment::DefinitionArgument;
use serde::{Serialize, Serializer};

use crate::output::{FAILURE, SUCCESS, Styled};

#[derive(Args)]
pub struct PermitArguments {
    /// A definition, with the workspace that owns it; give it once for each
    #[arg(long = "definition", short, value_name = "WORKSPACE/UUID")]
    pub definitions: Vec<DefinitionArgument>,

    /// Fail where no binding can permit the runs of a definition given, or of a scope in the manifest
    #[arg(long)]
    pub strict: bool,
}

/// The bindings that can permit, by definition and by scope, and those that add nothing.
#[derive(Serialize)]
pub struct CanPermit {
    can_permit: Vec<Entry>,
    redundant: Vec<RedundantEntry>,
}

#[derive(Serialize)]
struct Entry {
    #[serde(serialize_with = "serialize_runs")]
    runs: Runs,
    all_runs: Vec<String>,
    some_runs: Vec<String>,
}

#[derive(Serialize)]
struct RedundantEntry {
    binding: String,
    beside: String,
}

impl CanPermit {
    /// Checks the bindings of a policy set, for each definition first, then for each of their scopes.
    pub fn of(policies: &PolicySet, definitions: &[DefinitionArgument]) -> Self {
        let bindings = || policies.bindings().iter().map(|binding| binding.identity());
        let definitions: BTreeSet<_> = definitions.iter().cloned().collect();
        let definitions =
            definitions.into_iter().map(|DefinitionArgument { workspace, definition }| {
                Runs::OfDefinition { workspace, definition }
            });
        let scopes = reach::scopes(bindings()).into_iter().map(Runs::InScope);
        let entries = definitions.chain(scopes).map(|runs| Entry::new(bindings(), runs));
        let redundant = reach::redundant(bindings()).into_iter().map(|one| RedundantEntry {
            binding: one.binding.to_string(),
            beside: one.beside.to_string(),
        });
        Self { can_permit: entries.collect(), redundant: redundant.collect() }
    }

    /// Tells whether some of the runs cannot be permitted by any binding.
    pub fn leaves_some_out(&self) -> bool {
        self.can_permit.iter().any(Entry::is_none)
    }

    pub fn text(&self) -> String {
        let mut text = String::from("bindings that can permit\n");
        // Writing to a string does not fail.
        for entry in &self.can_permit {
            let runs = runs_text(&entry.runs);
            let (all, some) = (entry.all_runs.join(", "), entry.some_runs.join(", "));
            let _ = match (all.is_empty(), some.is_empty()) {
                (true, true) => {
                    let none = Styled(FAILURE, "none, so each of these runs is refused");
                    writeln!(text, "  {runs}: {none}")
                }
                (true, false) => writeln!(text, "  {runs}: for some of these runs {some}"),
                (false, true) => writeln!(text, "  {runs}: {}", Styled(SUCCESS, all)),
                (false, false) => {
                    let all = Styled(SUCCESS, all);
                    writeln!(text, "  {runs}: {all}, and for some of these runs {some}")
                }
            };
        }
        for RedundantEntry { binding, beside } in &self.redundant {
            let _ = writeln!(
                text,
                "binding `{binding}` is redundant: `{beside}` has the same policy, settings, scope, limits and claims"
            );
        }
        text
    }
}

impl Entry {
    fn new<'b>(bindings: impl Iterator<Item = &'b BindingIdentity>, runs: Runs) -> Self {
        let names = |names: Vec<countersign::BindingName>| {
            names.into_iter().map(|name| name.to_string()).collect()
        };
        let Permitters { all_runs, some_runs } = reach::permitters(bindings, &runs);
        Self { runs, all_runs: names(all_runs), some_runs: names(some_runs) }
    }

    fn is_none(&self) -> bool {
        self.all_runs.is_empty() && self.some_runs.is_empty()
    }
}

/// A scope in words.
pub fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::All => "all".to_owned(),
        Scope::DefinitionWorkspace(workspace) => format!("definition workspace {workspace}"),
        Scope::Definition(definition) => format!("definition {definition}"),
        Scope::OwningWorkspace(workspace) => format!("owning workspace {workspace}"),
    }
}

fn runs_text(runs: &Runs) -> String {
    match runs {
        Runs::InScope(scope) => format!("scope {}", scope_text(scope)),
        Runs::OfDefinition { workspace, definition } => {
            format!("definition {workspace}/{definition}")
        }
    }
}

/// Writes a scope as records have it, and a definition as an object with both of its identifiers.
fn serialize_runs<S: Serializer>(runs: &Runs, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Definition<'r> {
        definition_workspace: &'r str,
        definition: &'r str,
    }
    match runs {
        Runs::InScope(scope) => scope.serialize(serializer),
        Runs::OfDefinition { workspace, definition } => {
            let (workspace, definition): (&Workspace, &DefinitionId) = (workspace, definition);
            Definition { definition_workspace: workspace.as_str(), definition: definition.as_str() }
                .serialize(serializer)
        }
    }
}
