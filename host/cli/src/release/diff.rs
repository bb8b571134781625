//! `countersign release diff`

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use clap::Args;
use countersign::{Digest, visible};
use countersign_deployment::{Release, ReleaseBinding, ReleaseError, ReleaseStore};
use serde::Serialize;
use serde_json::{Value, json};

use super::ServiceArgument;
use crate::output::{self, Exit, Format};

/// The maximum of changed members of settings that are listed for a binding.
const MAX_POINTERS: usize = 32;

/// Show the bindings in which two releases differ
#[derive(Args)]
#[command(after_help = "\
Examples:
  # The candidate, compared with the active release
  countersign release diff --config issuer.toml
  countersign release diff --config issuer.toml 1f4a92 77c0de --format json

The JSON has `from`, `to` and `bindings`: `name`, `change` (`added`, `removed` or `changed`), and for a changed one
`members`: by the name of the member (`component`, `settings`, `scope`, `mode`, `may_permit`, `limits`, `claims`), `from` and
`to`. For settings, `pointers` has the JSON pointers of at most 32 places that differ, as for limits.

Exit status: 0 shown, also where nothing differs, 1 anything else.")]
pub(super) struct Diff {
    #[command(flatten)]
    service: ServiceArgument,

    /// The release before [default: the active one]
    #[arg(value_name = "FROM")]
    from: Option<String>,

    /// The release after [default: the candidate]
    #[arg(value_name = "TO")]
    to: Option<String>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct DiffJson<'d> {
    from: Digest,
    to: Digest,
    bindings: Vec<Changed<'d>>,
}

#[derive(Serialize)]
struct Changed<'d> {
    name: &'d str,
    change: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<&'static str, Member>,
}

#[derive(Serialize)]
struct Member {
    from: Value,
    to: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pointers: Vec<String>,
}

impl Diff {
    pub(super) fn run(&self) -> Result<Exit> {
        let store = self.service.store()?;
        let state = store.state()?;
        let from = match &self.from {
            Some(text) => store.find(text)?,
            None => state.active.context(
                "no release is active: the manifest of the configuration decides; name two releases, or promote one",
            )?,
        };
        let to = match &self.to {
            Some(text) => store.find(text)?,
            None => state.candidate.ok_or(ReleaseError::NoCandidate)?,
        };
        let (before, after) = (store.release(from)?, store.release(to)?);
        let bindings = changes(&store, &before, &after)?;
        match self.format {
            Format::Json => output::print_json(&DiffJson { from, to, bindings })?,
            Format::Human => output::print(&visible(&text(&bindings)))?,
        }
        Ok(Exit::Success)
    }
}

fn changes<'d>(
    store: &ReleaseStore,
    before: &'d Release,
    after: &'d Release,
) -> Result<Vec<Changed<'d>>> {
    let by_name = |release: &'d Release| -> BTreeMap<&'d str, &'d ReleaseBinding> {
        release.bindings.iter().map(|binding| (binding.name.as_str(), binding)).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let mut names: Vec<_> = old.keys().chain(new.keys()).copied().collect();
    names.sort_unstable();
    names.dedup();
    let mut changed = Vec::new();
    for name in names {
        let whole = |change| Changed { name, change, members: BTreeMap::new() };
        match (old.get(name), new.get(name)) {
            (None, _) => changed.push(whole("added")),
            (_, None) => changed.push(whole("removed")),
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => {
                let mut members = members(old, new);
                if let Some(settings) = members.get_mut("settings") {
                    let (from, to) =
                        (settings_of(store, before, name)?, settings_of(store, after, name)?);
                    differing(&from, &to, String::new(), &mut settings.pointers);
                }
                changed.push(Changed { name, change: "changed", members });
            }
        }
    }
    Ok(changed)
}

fn members(old: &ReleaseBinding, new: &ReleaseBinding) -> BTreeMap<&'static str, Member> {
    let component = |of: &ReleaseBinding| json!(format!("{} {}", of.policy, of.component));
    let pairs = [
        ("component", component(old), component(new)),
        ("settings", json!(old.settings), json!(new.settings)),
        ("scope", old.scope.clone(), new.scope.clone()),
        ("mode", json!(old.mode), json!(new.mode)),
        ("may_permit", json!(old.may_permit), json!(new.may_permit)),
        ("limits", json!(old.limits), json!(new.limits)),
        ("claims", json!(old.claims), json!(new.claims)),
    ];
    let differ = pairs.into_iter().filter(|(_, from, to)| from != to);
    let members = differ.map(|(name, from, to)| {
        let mut pointers = Vec::new();
        if name == "limits" {
            differing(&from, &to, String::new(), &mut pointers);
        }
        (name, Member { from, to, pointers })
    });
    members.collect()
}

/// The settings of a binding, as JSON.
fn settings_of(store: &ReleaseStore, release: &Release, name: &str) -> Result<Value> {
    let bundle = store.bundle(release)?;
    let entry = bundle.manifest.bindings.iter().find(|entry| entry.name.as_str() == name);
    let entry = entry.with_context(|| format!("binding `{name}` is not in the kept manifest"))?;
    Ok(serde_json::from_str(bundle.settings_of(entry)?)?)
}

/// Adds the JSON pointers of places that differ.
fn differing(from: &Value, to: &Value, at: String, into: &mut Vec<String>) {
    if from == to || into.len() >= MAX_POINTERS {
        return;
    }
    let (Some(old), Some(new)) = (from.as_object(), to.as_object()) else {
        into.push(at);
        return;
    };
    let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let step = key.replace('~', "~0").replace('/', "~1");
        let member = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or_default();
        differing(&member(old), &member(new), format!("{at}/{step}"), into);
    }
}

fn text(changed: &[Changed<'_>]) -> String {
    let mut text = String::new();
    for Changed { name, change, members } in changed {
        let _ = writeln!(text, "{change} {name}");
        for (member, Member { from, to, pointers }) in members {
            if pointers.is_empty() {
                let _ = writeln!(text, "  {member}: {from} → {to}");
            } else {
                let _ = writeln!(text, "  {member}: {}", pointers.join(", "));
            }
        }
    }
    if changed.is_empty() {
        text.push_str("no difference\n");
    }
    text
}
