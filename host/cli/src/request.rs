//! The arguments that say who asks for what: shared by `evaluate` and `sign`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use countersign::{
    Audience, Decision, Facts, MeshstackId, Optimization, PolicySet, RunnerId, SubjectError,
    SubjectFormat, SubjectTemplate, TokenRequest,
};
use countersign_authoring::Asked;
use countersign_deployment::files::Loaded;
use countersign_deployment::{engine, files, prepare_policies};

use crate::output;
use crate::cache::CacheArguments;
use crate::{clock, progress};

/// Who asks for what, and what decides.
#[derive(Args)]
pub struct RequestArguments {
    /// The manifest of the policy set, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// The run object (`meshBuildingBlockRun`, JSON); `-` reads stdin
    #[arg(long, short, value_name = "FILE")]
    run: PathBuf,

    /// An audience of the token (`aud`); give it once for each, at most 10
    #[arg(long = "audience", short, value_name = "AUDIENCE", required = true)]
    audiences: Vec<Audience>,

    /// The life asked for, in seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: u32,

    /// The time of issue, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,

    /// The runner that executes the run
    #[arg(long, value_name = "UUID")]
    runner: Option<RunnerId>,

    /// A fact of the run, as the control plane would register it; give it once for each, at most 64
    #[arg(long = "fact", value_name = "NAME=VALUE", value_parser = fact)]
    facts: Vec<(String, String)>,

    /// The installation that stands in the subject [default: the manifest's]
    #[arg(long, value_name = "ID")]
    meshstack_id: Option<MeshstackId>,

    /// The form of the subject [default: the manifest's, or by-definition]
    #[arg(long, value_name = "PROFILE")]
    subject_profile: Option<ProfileWord>,

    #[command(flatten)]
    cache: CacheArguments,
}

/// A [`SubjectFormat`], as it is written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileWord {
    /// system:serviceaccount:<meshstack-id>:<runner-id>
    ByRunner,
    /// system:serviceaccount:<meshstack-id>:workspace.<workspace>.buildingblockdefinition.<uuid>
    ByDefinition,
}

impl RequestArguments {
    /// Reads the manifest and the files that it names, and says where it is.
    pub fn load(&self) -> Result<(Loaded, &Path)> {
        Ok((files::read_manifest(&self.policies)?, &self.policies))
    }

    /// Prepares the policies and decides.
    pub fn decide(&self, loaded: &Loaded) -> Result<Decision> {
        let claims = self.asked(loaded)?.claims().map_err(no_runner)?;
        // Each policy decides once here, so optimising it would cost more than it gives.
        Ok(self.prepare(loaded, Optimization::None)?.evaluate(claims))
    }

    /// Prepares the policies.
    pub fn prepare(&self, loaded: &Loaded, optimization: Optimization) -> Result<PolicySet> {
        let (entry, cache) = (loaded.manifest.preparation, self.cache.open()?);
        let engine = engine::engine_with(optimization, entry, cache, output::warn_or_log)?;
        progress::during("preparing the policies", || {
            prepare_policies(&engine, &loaded.manifest, &loaded.files)
        })
        .with_context(|| self.policies.display().to_string())
    }

    /// What is asked.
    pub fn asked(&self, loaded: &Loaded) -> Result<Asked> {
        let run = files::read_run(&self.run)?;
        let subjects = loaded.subjects().with_context(|| self.policies.display().to_string())?;
        let meshstack_id =
            self.meshstack_id.as_ref().or(subjects.as_ref().map(|s| &s.meshstack_id));
        let meshstack_id = meshstack_id.with_context(|| {
            format!(
                "the subject needs a meshStack id: add `meshstack-id` under `[issuer]` in {}, or \
                 give --meshstack-id",
                self.policies.display()
            )
        })?;
        let profile = match self.subject_profile {
            Some(ProfileWord::ByRunner) => SubjectFormat::ByRunner,
            Some(ProfileWord::ByDefinition) => SubjectFormat::ByDefinition,
            None => subjects.as_ref().map_or(SubjectFormat::ByDefinition, |s| s.of(&run).profile),
        };
        let subject = SubjectTemplate { profile, meshstack_id: meshstack_id.clone() };
        let now = clock::now(self.now)?;
        let token = TokenRequest::new(self.audiences.clone(), self.ttl, now)?;
        let facts = self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let facts = Facts::new(facts).map_err(|error| anyhow!("--fact: {error}"))?;
        let asked = Asked { run, runner: self.runner.clone(), facts, subject, token };
        asked.claims().map_err(no_runner)?;
        Ok(asked)
    }
}

/// Splits at the first `=`: names have none, values may.
fn fact(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn no_runner(error: SubjectError) -> anyhow::Error {
    anyhow!("{error}; give it with --runner, or choose --subject-profile by-definition")
}
