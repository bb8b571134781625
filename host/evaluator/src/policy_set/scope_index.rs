//! Which bindings a run is about, without looking at the others.

use std::collections::HashMap;
use std::hash::Hash;

use super::scope::Scope;
use crate::request::identifier::{DefinitionId, Workspace};
use crate::request::run::Run;

/// Bindings by their scopes: a run is in one scope of each kind.
#[derive(Debug, Default)]
pub(super) struct ScopeIndex {
    all: Vec<usize>,
    definition_workspaces: Places<Workspace>,
    definitions: Places<DefinitionId>,
    owning_workspaces: Places<Workspace>,
}

/// The places of bindings in their set, in order.
#[derive(Debug)]
struct Places<K>(HashMap<K, Vec<usize>>);

impl ScopeIndex {
    /// The index of scopes, in the order of their bindings.
    pub(super) fn new<'s>(scopes: impl Iterator<Item = &'s Scope>) -> Self {
        let mut index = Self::default();
        for (place, scope) in scopes.enumerate() {
            match scope {
                Scope::All => index.all.push(place),
                Scope::DefinitionWorkspace(workspace) => {
                    index.definition_workspaces.add(workspace, place);
                }
                Scope::Definition(definition) => index.definitions.add(definition, place),
                Scope::OwningWorkspace(workspace) => {
                    index.owning_workspaces.add(workspace, place);
                }
            }
        }
        index
    }

    /// The places of the bindings whose scope contains a run, in order.
    pub(super) fn about(&self, run: &Run) -> Vec<usize> {
        let mut places = [
            self.all.as_slice(),
            self.definition_workspaces.get(&run.definition.workspace),
            self.definitions.get(&run.definition.id),
            self.owning_workspaces.get(&run.building_block.workspace),
        ]
        .concat();
        places.sort_unstable();
        places
    }
}

impl<K: Eq + Hash + Clone> Places<K> {
    fn add(&mut self, key: &K, place: usize) {
        self.0.entry(key.clone()).or_default().push(place);
    }

    fn get(&self, key: &K) -> &[usize] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn workspace() -> impl Strategy<Value = Workspace> {
        "[ab]{1,2}".prop_map(|text| text.parse().unwrap())
    }

    fn definition() -> impl Strategy<Value = DefinitionId> {
        "[0-2]".prop_map(|n| format!("00000000-0000-4000-8000-00000000000{n}").parse().unwrap())
    }

    fn scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            Just(Scope::All),
            workspace().prop_map(Scope::DefinitionWorkspace),
            definition().prop_map(Scope::Definition),
            workspace().prop_map(Scope::OwningWorkspace),
        ]
    }

    proptest! {
        #[test]
        fn the_index_finds_what_looking_at_each_finds(
            scopes in prop::collection::vec(scope(), 0..40),
            owner in workspace(),
            workspace in workspace(),
            definition in definition(),
        ) {
            const RUN: &str = include_str!("../../tests/data/published-get.json");
            let mut run = Run::parse(RUN.as_bytes()).unwrap();
            run.building_block.workspace = owner;
            run.definition.workspace = workspace;
            run.definition.id = definition;
            let each: Vec<usize> =
                (0..scopes.len()).filter(|place| scopes[*place].contains(&run)).collect();
            prop_assert_eq!(ScopeIndex::new(scopes.iter()).about(&run), each);
        }
    }
}
