//! The arguments of a token request, shared by `evaluate`, `explain`, `sign` and `impact`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use countersign::{
    Audience, Decision, Engine, Facts, MAX_RUN_TEXT_BYTES, MeshstackId, Optimization, PolicySet,
    Run, RunnerId, SubjectError, SubjectFormat, SubjectFormats, SubjectTemplate, TokenRequest,
};
use countersign_authoring::DecisionInput;
use countersign_deployment::{ManifestBundle, engine, files};

use crate::cache::CacheArguments;
use crate::output;
use crate::{bounds, clock};

/// The token request, and the policies that decide on it.
#[derive(Args)]
pub(crate) struct RequestArguments {
    /// The manifest of the policy set, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// The run object (`meshBuildingBlockRun`, JSON); `-` reads stdin
    #[arg(long, short, value_name = "FILE")]
    run: PathBuf,

    /// An audience of the token (`aud`); repeat it for several, at most 10
    #[arg(long = "audience", short, value_name = "AUDIENCE", required = true)]
    audiences: Vec<Audience>,

    /// The requested TTL, in seconds
    #[arg(long, value_name = "SECONDS")]
    ttl: u32,

    #[command(flatten)]
    about: RunArguments,

    #[command(flatten)]
    cache: CacheArguments,
}

/// Everything about a run that its run object does not say, and the time.
#[derive(Args, Clone)]
pub(crate) struct RunArguments {
    /// The time of issue, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,

    /// The runner that executes the run
    #[arg(long, value_name = "UUID")]
    runner: Option<RunnerId>,

    /// A fact of the run, as the control plane would register it; repeat it for several, at most 64
    #[arg(long = "fact", value_name = "NAME=VALUE", value_parser = fact)]
    facts: Vec<(String, String)>,

    /// The installation in the subject [default: the manifest's]
    #[arg(long, value_name = "ID")]
    meshstack_id: Option<MeshstackId>,

    /// The form of the subject [default: the manifest's, or by-definition]
    #[arg(long, value_name = "PROFILE", value_parser = subject_format())]
    subject_profile: Option<SubjectFormat>,
}

/// Parses a format of subjects, and shows in the help what each is.
fn subject_format() -> impl TypedValueParser<Value = SubjectFormat> {
    let shapes = SubjectFormat::ALL.map(|format| {
        PossibleValue::new(format.as_str()).help(match format {
            SubjectFormat::ByRunner => "system:serviceaccount:<meshstack-id>:<runner-id>",
            SubjectFormat::ByDefinition => {
                "system:serviceaccount:<meshstack-id>:workspace.<workspace>.buildingblockdefinition.<uuid>"
            }
        })
    });
    PossibleValuesParser::new(shapes).try_map(|word| word.parse::<SubjectFormat>())
}

impl RequestArguments {
    /// Reads the manifest and the files that it names; with its path.
    pub(crate) fn load(&self) -> Result<(ManifestBundle, &Path)> {
        Ok((ManifestBundle::read(&self.policies)?, &self.policies))
    }

    /// Prepares the policies and decides.
    pub(crate) fn decide(&self, bundle: &ManifestBundle) -> Result<Decision> {
        let claims = self.input(bundle)?.claims().map_err(no_runner)?;
        Ok(self.prepare(bundle)?.evaluate(claims))
    }

    /// Prepares the policies, for a single decision.
    pub(crate) fn prepare(&self, bundle: &ManifestBundle) -> Result<PolicySet> {
        // Optimising the policies costs more than it saves.
        let engine = self.engine(bundle, Optimization::None)?;
        bounds::prepare(bundle, &engine, || true)
            .with_context(|| self.policies.display().to_string())
    }

    /// Makes the engine that prepares the policies.
    pub(crate) fn engine(
        &self,
        bundle: &ManifestBundle,
        optimization: Optimization,
    ) -> Result<Engine> {
        let (entry, cache) = (bundle.manifest.preparation, self.cache.open()?);
        Ok(engine::engine_with(optimization, entry, cache, output::warn_or_log)?)
    }

    /// Builds the input of the decision.
    pub(crate) fn input(&self, bundle: &ManifestBundle) -> Result<DecisionInput> {
        let run = read_run(&self.run)?;
        let subjects = bundle.subjects().with_context(|| self.policies.display().to_string())?;
        let token = (self.audiences.clone(), self.ttl);
        self.about.input(run, token, subjects.as_ref(), &self.policies)
    }
}

impl RunArguments {
    /// Tells whether any of them was given.
    pub(crate) fn are_given(&self) -> bool {
        let Self { now, runner, facts, meshstack_id, subject_profile } = self;
        now.is_some()
            || runner.is_some()
            || !facts.is_empty()
            || meshstack_id.is_some()
            || subject_profile.is_some()
    }

    /// The same with the time read now, if none was given: for several runs.
    pub(crate) fn at_one_time(&self) -> Result<Self> {
        Ok(Self { now: Some(clock::now(self.now)?), ..self.clone() })
    }

    /// Builds the input of a decision on a run with the facts that it has, for a token of these audiences and this TTL in seconds. `subjects` are those
    /// of the manifest, which is at this path.
    pub(crate) fn input(
        &self,
        (run, own_facts): (Run, Facts),
        (audiences, ttl): (Vec<Audience>, u32),
        subjects: Option<&SubjectFormats>,
        manifest: &Path,
    ) -> Result<DecisionInput> {
        let meshstack_id = self.meshstack_id.as_ref().or(subjects.map(|s| &s.meshstack_id));
        let meshstack_id = meshstack_id.with_context(|| {
            format!(
                "the subject needs a meshStack id: add `meshstack-id` under `[issuer]` in {}, or \
                 give --meshstack-id",
                manifest.display()
            )
        })?;
        let profile = self.subject_profile.unwrap_or_else(|| {
            subjects.map_or(SubjectFormat::ByDefinition, |s| s.of(&run).profile)
        });
        let subject = SubjectTemplate { profile, meshstack_id: meshstack_id.clone() };
        let now = clock::now(self.now)?;
        let token = TokenRequest::new(audiences, ttl, now)?;
        let facts = self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let facts = Facts::new(facts).and_then(|facts| facts.with_others(&own_facts));
        let facts = facts.map_err(|error| anyhow!("--fact: {error}"))?;
        let input = DecisionInput { run, runner: self.runner.clone(), facts, subject, token };
        input.claims().map_err(no_runner)?;
        Ok(input)
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

/// Reads and parses a run object, with the facts that it has; `-` is stdin.
pub(crate) fn read_run(path: &Path) -> Result<(Run, Facts)> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin()
            .take(MAX_RUN_TEXT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .context("standard input")?;
        if bytes.len() > MAX_RUN_TEXT_BYTES {
            bail!("standard input: more than the {MAX_RUN_TEXT_BYTES} bytes that are allowed");
        }
        ("standard input".to_owned(), bytes)
    } else {
        (path.display().to_string(), files::read(path, MAX_RUN_TEXT_BYTES as u64)?)
    };
    Run::parse_with_facts(&bytes).context(name)
}
