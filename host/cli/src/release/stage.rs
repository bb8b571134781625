//! `countersign release stage`

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::{Digest, visible};
use countersign_deployment::{NewRelease, manifest_of};
use serde::Serialize;

use super::{ServiceArgument, cases, count, prepare};
use crate::cache::CacheArguments;
use crate::output::{self, Exit, Format};
use crate::{clock, progress};

/// Prepare a changed manifest as the candidate, beside the policies that decide
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign release stage --config issuer.toml --policies next/countersign.toml
  countersign release stage --config issuer.toml --policies next/countersign.toml --format json

Everything is prepared before anything is kept: components are loaded and compiled, settings are checked and taken by
their policies, and the cases that are shipped with the policies are run: those in `NAME.cases.toml` beside
`NAME.wasm`, or in `cases.toml` beside `policy.wasm`. Manifest, components and settings are then kept by their digests in
the state of the service. If anything fails, also for want of room, the candidate before stays, and so does what decides.

A service that runs evaluates the candidate beside the active policies on live runs, as far as
`releases.candidate-percent` of a processor goes, and records each decision that differs. Use the same `--cache` as for
`serve`, so that the service finds the code compiled. `[issuer]` of the manifest is no part of a release.

The JSON has `release`, `step`, `bindings` (a number), `cases` (passed, by component) and `active`.

Exit status: 0 staged, 1 anything else.")]
pub(super) struct Stage {
    #[command(flatten)]
    service: ServiceArgument,

    /// The manifest to stage [default: the one that the configuration names]
    #[arg(long, short, value_name = "FILE")]
    policies: Option<PathBuf>,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Staged<'s> {
    release: Digest,
    step: u64,
    bindings: usize,
    cases: &'s BTreeMap<String, u64>,
    active: Option<Digest>,
}

impl Stage {
    pub(super) fn run(&self) -> Result<Exit> {
        let store = self.service.store()?;
        // Before anything that takes long.
        store.state()?;
        let manifest = match &self.policies {
            Some(path) => path.clone(),
            None => manifest_of(&self.service.config)?,
        };
        let prepared = progress::with_spinner("preparing", || {
            let (bundle, policies) = prepare::prepare(&manifest, &self.cache)?;
            let cases = cases::run(&bundle, &manifest, &self.cache, None)?;
            anyhow::Ok((bundle, policies, cases))
        });
        let (bundle, policies, cases) = prepared.context("nothing was staged")?;
        let new = NewRelease { bundle: &bundle, policies: &policies, cases: cases.clone() };
        let step = store.stage(&new, clock::now(None)?).context("nothing was staged")?;
        let active = store.state()?.active;
        let (release, bindings) = (step.release, policies.bindings().len());
        if self.format == Format::Json {
            output::print_json(&Staged {
                release,
                step: step.step,
                bindings,
                cases: &cases,
                active,
            })?;
            return Ok(Exit::Success);
        }
        let passed: u64 = cases.values().sum();
        let (bindings, passed) = (count(bindings as u64, "binding"), count(passed, "case"));
        let text = format!("staged {release}: {bindings}, {passed} passed\n");
        output::print(&visible(&text))?;
        if active == Some(release) {
            output::status("It is the active release: there is no candidate now.");
        }
        Ok(Exit::Success)
    }
}
