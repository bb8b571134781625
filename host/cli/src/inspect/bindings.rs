//! The bindings of a manifest.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use countersign::{Binding, Digest, Optimization, Scope, visible};
use countersign_deployment::{ManifestBundle, PreparationTiming, engine};
use serde::Serialize;

use crate::bounds::TotalPrepareTime;
use crate::can_permit::{CanPermit, PermitArguments, scope_text};
use crate::limits_text::LimitsJson;
use crate::output::{self, DIM, Exit, Format, SUCCESS, Styled};

/// The JSON of `--policies`.
#[derive(Serialize)]
struct BindingsJson<'a> {
    bindings: Vec<BindingJson<'a>>,
    #[serde(flatten)]
    can_permit: CanPermit,
}

/// The JSON of one binding.
#[derive(Serialize)]
struct BindingJson<'a> {
    binding: &'a str,
    mode: &'static str,
    may_permit: bool,
    scope: &'a Scope,
    file: &'a str,
    digest: Digest,
    policy: PolicyJson<'a>,
    snapshot: bool,
    no_snapshot: Option<&'a str>,
    limits: LimitsJson,
}

#[derive(Serialize)]
struct PolicyJson<'a> {
    name: &'a str,
    version: &'a str,
}

pub(super) fn inspect(
    manifest: &Path,
    permits: &PermitArguments,
    time: TotalPrepareTime,
    format: Format,
) -> Result<Exit> {
    let mut bundle = ManifestBundle::read(manifest)?;
    // Prepared as by a service, but all of them now.
    Arc::make_mut(&mut bundle.manifest).preparation.bindings = PreparationTiming::AtStart;
    let engine = engine::engine(Optimization::Speed, None, output::warn_or_log)?;
    let set = time.prepare(&bundle, manifest, &engine)?;
    let entries = bundle.manifest.bindings.iter();
    let paths: BTreeMap<&str, &str> =
        entries.map(|entry| (entry.name.as_str(), entry.policy.as_str())).collect();
    let bindings: Vec<_> = set
        .bindings()
        .iter()
        .map(|binding| {
            let file = paths.get(binding.identity().name.as_str()).copied();
            BindingJson::new(binding, file.unwrap_or_default())
        })
        .collect();
    let can_permit = CanPermit::of(&set, &permits.definitions);
    let fine = !(permits.strict && can_permit.leaves_some_out());
    match format {
        Format::Json => output::print_json(&BindingsJson { bindings, can_permit })?,
        Format::Human => {
            let place = engine.preparation().name();
            let mut texts: Vec<_> = bindings.iter().map(|binding| binding.text(place)).collect();
            texts.push(can_permit.text());
            output::print(&texts.join("\n"))?;
        }
    }
    Ok(if fine { Exit::Success } else { Exit::Failed })
}

impl<'a> BindingJson<'a> {
    fn new(binding: &'a Binding, file: &'a str) -> Self {
        let identity = binding.identity();
        let no_snapshot = binding.prepared().and_then(|prepared| prepared.no_snapshot.as_deref());
        Self {
            binding: identity.name.as_str(),
            mode: identity.mode.as_str(),
            may_permit: identity.may_permit,
            scope: &identity.scope,
            file,
            digest: identity.policy,
            policy: PolicyJson { name: &identity.policy_name, version: &identity.policy_version },
            snapshot: no_snapshot.is_none(),
            no_snapshot,
            limits: LimitsJson::new(
                &identity.limits,
                binding.policy(),
                binding.prepared().map(|prepared| prepared.usage),
            ),
        }
    }

    fn text(&self, place: &str) -> String {
        let mut text = format!("{}  {}\n", Styled(SUCCESS, "active"), self.binding);
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {} {value}", Styled(DIM, format!("{name:<9}")));
        };
        let may_not = if self.may_permit { "" } else { ", may not permit" };
        line("mode", &format!("{}{may_not}", self.mode));
        line("scope", &scope_text(self.scope));
        line("policy", &format!("{} {}", self.policy.name, self.policy.version));
        line("file", &visible(self.file));
        line("digest", &self.digest);
        line("compiled", &format!("in {place}"));
        match self.no_snapshot {
            None => {
                line("settings", &"applied once, in the snapshot that each evaluation begins with")
            }
            Some(reason) => line("settings", &format!("applied in each evaluation: {reason}")),
        }
        line("limits", &self.limits.lines().join("\n            "));
        text
    }
}
