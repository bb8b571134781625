//! The arguments that say who asks for what: shared by `evaluate` and `sign`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};
use countersign::{
    Audience, Decision, MeshstackId, Optimization, PolicySet, RunnerId, SubjectError, SubjectForm,
    SubjectProfile, TokenRequest,
};
use countersign_authoring::DecisionInput;

use crate::cache::CacheArguments;
use crate::files::{self, Loaded};
use crate::{clock, preparation, progress};

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

    /// The installation that stands in the subject [default: the manifest's]
    #[arg(long, value_name = "ID")]
    meshstack_id: Option<MeshstackId>,

    /// The form of the subject [default: the manifest's, or by-definition]
    #[arg(long, value_name = "PROFILE")]
    subject_profile: Option<ProfileWord>,

    #[command(flatten)]
    cache: CacheArguments,
}

/// A [`SubjectProfile`], as it is written.
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
        let claims = self.input(loaded)?.claims().map_err(no_runner)?;
        // Each policy decides once here, so optimising it would cost more than it gives.
        Ok(self.prepare(loaded, Optimization::None)?.evaluate(claims))
    }

    /// Prepares the policies.
    pub fn prepare(&self, loaded: &Loaded, optimization: Optimization) -> Result<PolicySet> {
        let (entry, cache) = (loaded.manifest.preparation, self.cache.open()?);
        let engine = preparation::engine_with(optimization, entry, cache)?;
        progress::during("preparing the policies", || {
            PolicySet::prepare(&engine, &loaded.manifest, &loaded.files)
        })
        .with_context(|| self.policies.display().to_string())
    }

    /// Makes the input of the decision.
    pub fn input(&self, loaded: &Loaded) -> Result<DecisionInput> {
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
            Some(ProfileWord::ByRunner) => SubjectProfile::ByRunner,
            Some(ProfileWord::ByDefinition) => SubjectProfile::ByDefinition,
            None => subjects.as_ref().map_or(SubjectProfile::ByDefinition, |s| s.of(&run).profile),
        };
        let subject = SubjectForm { profile, meshstack_id: meshstack_id.clone() };
        let now = clock::now(self.now)?;
        let token = TokenRequest::new(self.audiences.clone(), self.ttl, now)?;
        let input = DecisionInput { run, runner: self.runner.clone(), subject, token };
        input.claims().map_err(no_runner)?;
        Ok(input)
    }
}

fn no_runner(error: SubjectError) -> anyhow::Error {
    anyhow!("{error}; give it with --runner, or choose --subject-profile by-definition")
}
