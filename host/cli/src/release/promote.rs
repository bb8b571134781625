//! `countersign release promote` and `countersign release rollback`

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{ArgGroup, Args};
use countersign::{Digest, visible};
use countersign_deployment::{
    NewRelease, PromotionGround, ReleaseError, ReleaseStore, manifest_of, releases_entry,
};
use countersign_issuer::ReleaseStep;
use serde::Serialize;

use super::evidence::{self, Accepted, Expected};
use super::{ServiceArgument, cases, prepare, taken};
use crate::cache::CacheArguments;
use crate::output::{self, Exit, Format};
use crate::{clock, progress};

/// The maximum length of a reason, in bytes.
const MAX_REASON_BYTES: usize = 1024;

/// Let a staged release decide
#[derive(Args)]
#[command(group = ArgGroup::new("ground").required(true).args(["evidence", "without_evidence"]))]
#[command(after_help = "\
Examples:
  countersign impact state/log --candidate next/countersign.toml --format json > impact.json
  countersign release promote --config issuer.toml --evidence impact.json
  countersign release promote --config issuer.toml --evidence impact.json --accept lost --reason 'team-b left'
  countersign release promote --config issuer.toml 1f4a92 --without-evidence 'back to the release of May'

Evidence is the report of `countersign impact` over the log of this service, about this release, by this version of the
program, of all decisions or all since a time. It covers `releases.evidence-decisions` or `releases.evidence-days`; no binding
faults in it that did not; and every outcome that differs is accounted for by --accept. So is what the service has seen of
the candidate on live runs. Its digest, its last record and its counts are put on record.

The promotion is one step on disk: a crash leaves either the release before active, or this one. A service that runs puts
it on record first, and then decides by it; the command waits for that. Where no service runs, the next one does so when
it starts. Of replicas, the step is one row of their database: all of them take it, and the command waits for the service here.
Promote once `release status` shows that each has the candidate prepared.

Before the first promotion the manifest of the configuration decides. It is prepared and kept as a release as well, so
that a rollback can go back to it.

The JSON has `step`, `action`, `at`, `release`, `from`, `evidence` (`digest`, `last`, `hash`, `compared`, `classes`, `faults`),
`reason`, and `taken`: true once the service decides by it, false where no service runs.

Exit status: 0 promoted, 1 anything else.")]
pub(super) struct Promote {
    #[command(flatten)]
    service: ServiceArgument,

    /// The release, by its digest or the beginning of it [default: the candidate]
    #[arg(value_name = "RELEASE")]
    release: Option<String>,

    /// The evidence: a report of `countersign impact --format json`
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,

    /// Accept that outcomes differ in these ways, for a reason
    #[arg(long, value_name = "CLASS", value_enum, value_delimiter = ',')]
    #[arg(requires = "evidence", requires = "reason")]
    accept: Vec<Accepted>,

    /// The reason for what is accepted, which is put on record
    #[arg(long, value_name = "REASON", value_parser = reason, requires = "evidence")]
    reason: Option<String>,

    /// Promote without evidence; the reason is put on record
    #[arg(long, value_name = "REASON", value_parser = reason)]
    without_evidence: Option<String>,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Let the release decide that decided before
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign release rollback --config issuer.toml --reason 'team-b has no tokens'

Nothing is compiled: the service has the release before in memory, or finds it compiled. Another rollback goes one more
release back. To go forward again, promote the release.

The JSON has `step`, `action`, `at`, `release`, `from`, `reason`, and `taken`: true once the service decides by it,
false where no service runs.

Exit status: 0 rolled back, 1 anything else.")]
pub(super) struct Rollback {
    #[command(flatten)]
    service: ServiceArgument,

    /// The reason, which is put on record
    #[arg(long, value_name = "REASON", value_parser = reason)]
    reason: Option<String>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Done<'d> {
    #[serde(flatten)]
    step: &'d ReleaseStep,
    taken: bool,
}

impl Promote {
    pub(super) fn run(&self) -> Result<Exit> {
        let store = self.service.store()?;
        let state = store.state()?;
        let release = match &self.release {
            Some(text) => store.find(text)?,
            None => state.candidate.ok_or(ReleaseError::NoCandidate)?,
        };
        let ground = self.ground(&store, release)?;
        let from = match state.active {
            Some(active) => active,
            None => self.adopt(&store, release)?,
        };
        let step = store.promote(release, from, ground, clock::now(None)?)?;
        finish(&store, &step, self.format)
    }

    /// The ground of the promotion: the evidence, or the reason for none.
    fn ground(&self, store: &ReleaseStore, release: Digest) -> Result<PromotionGround> {
        let Some(file) = &self.evidence else {
            return Ok(PromotionGround { evidence: None, reason: self.without_evidence.clone() });
        };
        let evidence = evidence::read(
            file,
            &Expected {
                release,
                log: &store.log(),
                entry: &releases_entry(&self.service.config)?,
                accepted: &self.accept.iter().copied().collect(),
                trial: store.note()?.candidate.as_ref(),
            },
        );
        let evidence = evidence.context("nothing was promoted")?;
        Ok(PromotionGround { evidence: Some(evidence), reason: self.reason.clone() })
    }

    /// Keeps the policy set that decides by the manifest as the active release.
    fn adopt(&self, store: &ReleaseStore, release: Digest) -> Result<Digest> {
        let manifest = manifest_of(&self.service.config)?;
        let prepared = progress::with_spinner("preparing the manifest that decides", || {
            let (bundle, policies) = prepare::prepare(&manifest, &self.cache)?;
            let cases = cases::run(&bundle, &manifest, &self.cache, None)?;
            anyhow::Ok((bundle, policies, cases))
        });
        let (bundle, policies, cases) = prepared
            .context("nothing was promoted: a rollback could not go back to what decides now")?;
        let digest = policies.digest();
        if digest == release {
            bail!(
                "release {release}: {} has the same policies, which decide already",
                manifest.display()
            );
        }
        if let Some(deciding) = store.note()?.deciding.filter(|deciding| *deciding != digest)
            && store.is_served()?
        {
            bail!(
                "the service decides by {deciding}, and {} is {digest} now: put the manifest right, and wait until the \
                 service has reloaded it, so that a rollback can go back to what decides",
                manifest.display()
            );
        }
        store.adopt(
            &NewRelease { bundle: &bundle, policies: &policies, cases },
            clock::now(None)?,
        )?;
        Ok(digest)
    }
}

impl Rollback {
    pub(super) fn run(&self) -> Result<Exit> {
        let store = self.service.store()?;
        let step = store.rollback(self.reason.clone(), None, clock::now(None)?)?;
        finish(&store, &step, self.format)
    }
}

/// Waits for the service, and prints the step.
fn finish(store: &ReleaseStore, step: &ReleaseStep, format: Format) -> Result<Exit> {
    let taken =
        progress::with_spinner("waiting for the service", || taken::wait(store, step.step))?;
    match format {
        Format::Json => output::print_json(&Done { step, taken })?,
        Format::Human => {
            let action = step.action.as_str().replace('-', " ");
            let to = if action == "promoted" { "" } else { " to" };
            output::print(&visible(&format!("{action}{to} {}\n", step.release)))?;
            output::status(match taken {
                true => "The service decides by it.",
                false => "No service runs on this state: the next one decides by it.",
            });
            if store.replicas()?.is_some() {
                output::status(
                    "Other replicas take it by themselves: `countersign release status`.",
                );
            }
        }
    }
    Ok(Exit::Success)
}

fn reason(text: &str) -> Result<String, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() || trimmed.len() > MAX_REASON_BYTES {
        return Err(format!("expected a reason of 1 to {MAX_REASON_BYTES} bytes"));
    }
    Ok(trimmed.to_owned())
}
