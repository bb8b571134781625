//! Runs without a log: those of a folder, and those that are made up.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use countersign::{Audience, MAX_RUN_TEXT_BYTES, Run, Scope, visible};
use countersign_authoring::{Cases, DecisionInput, GeneratedInputs, SettingsLiterals};
use countersign_deployment::{ManifestBundle, files};
use countersign_replay::{Item, Place, Question};

use crate::output;
use crate::request::RunArguments;

/// The run that runs are made of unless one is given.
const RUN: &str = include_str!("../../../../examples/run.json");

/// The audiences that a generated run asks for unless some are given: one of each kind that policies tell apart.
const AUDIENCES: [&str; 2] = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];

/// The TTL that a generated run asks for unless one is given, in seconds.
const TTL_SECONDS: u32 = 7200;

/// Bytes of the largest file of cases that is read.
const MAX_CASES_BYTES: u64 = 4 << 20;

/// The runs that are decided on where there is no log.
#[derive(Args)]
pub(super) struct QuestionArguments {
    /// A folder of run objects (`*.json`) to decide on, in the place of a log
    #[arg(long, value_name = "FOLDER", conflicts_with = "folder", requires_all = ["current", "audiences", "ttl"])]
    runs: Option<PathBuf>,

    /// Decide on so many runs that are made up, in the place of a log
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["folder", "runs"], requires = "current")]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    generate: Option<u64>,

    /// The manifest of the policies that decide now, where there is no log
    #[arg(long, value_name = "FILE", conflicts_with = "folder")]
    pub(super) current: Option<PathBuf>,

    /// An audience of the tokens (`aud`) that runs ask for; repeat it for several, at most 10
    #[arg(long = "audience", short, value_name = "AUDIENCE", conflicts_with = "folder")]
    audiences: Vec<Audience>,

    /// The TTL that runs ask for, in seconds
    #[arg(long, value_name = "SECONDS", conflicts_with = "folder")]
    ttl: Option<u32>,

    /// A run object that runs are made of [default: the published example]
    #[arg(long, short, value_name = "FILE", requires = "generate")]
    run: Option<PathBuf>,

    /// A file of cases (`cases.toml`) whose requests are among the runs; repeat it for several
    #[arg(long, value_name = "FILE", requires = "generate")]
    cases: Vec<PathBuf>,

    /// The seed of the runs that are made up: the same one makes the same runs
    #[arg(long, value_name = "NUMBER", requires = "generate", default_value_t = 0)]
    seed: u64,

    #[command(flatten)]
    about: RunArguments,
}

/// The runs that were asked for.
pub(super) enum Questions {
    /// The files of a folder.
    Runs(Vec<PathBuf>),
    /// So many made up ones, of these.
    Generated { count: u64, bases: Vec<DecisionInput> },
}

impl QuestionArguments {
    /// Refuses what is said of runs where there is a log, which says it itself.
    pub(super) fn check_log(&self) -> Result<()> {
        if self.about.are_given() {
            bail!(
                "--now, --runner, --fact, --meshstack-id and --subject-profile are for --runs and --generate: a log has \
                 the claims of its own decisions"
            );
        }
        Ok(())
    }

    /// The runs that are asked for in the place of a log, if any are. `current` is the manifest of the policies that decide
    /// now, with its path.
    pub(super) fn questions(&self, current: (&ManifestBundle, &Path)) -> Result<Option<Questions>> {
        if let Some(folder) = &self.runs {
            return run_files(folder).map(|files| Some(Questions::Runs(files)));
        }
        let Some(count) = self.generate else { return Ok(None) };
        Ok(Some(Questions::Generated { count, bases: self.bases(current)? }))
    }

    /// Reads the runs of a folder one by one. `current` is as for [`QuestionArguments::questions`].
    pub(super) fn read_runs(
        &self,
        files: Vec<PathBuf>,
        (bundle, manifest): (&ManifestBundle, &Path),
    ) -> Result<impl Iterator<Item = Item> + Send> {
        let subjects = bundle.subjects().with_context(|| manifest.display().to_string())?;
        let about = self.about.at_one_time()?;
        let ttl = self.ttl.context("--ttl is missing")?;
        let (audiences, manifest) = (self.audiences.clone(), manifest.to_owned());
        Ok(files.into_iter().map(move |file| {
            let name = file.display().to_string();
            let read = || {
                let bytes = files::read(&file, MAX_RUN_TEXT_BYTES as u64)?;
                let run = Run::parse_with_facts(&bytes)?;
                let token = (audiences.clone(), ttl);
                let input = about.input(run, token, subjects.as_ref(), &manifest)?;
                Ok::<_, anyhow::Error>(input.claims()?)
            };
            match read() {
                Ok(claims) => Item::Question(Box::new(Question { name, claims })),
                Err(error) => {
                    let problem = output::error_text(&error);
                    Item::Unreadable { place: Place::Named(name), problem }
                }
            }
        }))
    }

    /// Makes runs, whose names are their numbers.
    pub(super) fn made<'l>(
        &self,
        count: u64,
        bases: Vec<DecisionInput>,
        literals: &'l SettingsLiterals,
    ) -> impl Iterator<Item = Item> + Send + use<'l> {
        let inputs = GeneratedInputs::new(bases, literals, self.seed);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        // An input whose subject cannot be made is none that a runner could send.
        let claims = inputs.filter_map(|input| input.claims().ok()).take(count);
        claims.zip(1..).map(|(claims, number): (_, u64)| {
            let name = format!("generated {number}");
            Item::Question(Box::new(Question { name, claims }))
        })
    }

    /// The requests that runs are made of: the one of the command line, and those of cases.
    fn bases(&self, (bundle, manifest): (&ManifestBundle, &Path)) -> Result<Vec<DecisionInput>> {
        let (name, bytes) = match &self.run {
            Some(path) => {
                (path.display().to_string(), files::read(path, MAX_RUN_TEXT_BYTES as u64)?)
            }
            None => ("the published example".to_owned(), RUN.as_bytes().to_vec()),
        };
        let run = Run::parse_with_facts(&bytes).with_context(|| name.clone())?;
        let object: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| anyhow!("{name}: {error}"))?;
        let subjects = bundle.subjects().with_context(|| manifest.display().to_string())?;
        let mut audiences = self.audiences.clone();
        if audiences.is_empty() {
            audiences = AUDIENCES.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        }
        let token = (audiences, self.ttl.unwrap_or(TTL_SECONDS));
        let mut bases = vec![self.about.input(run, token, subjects.as_ref(), manifest)?];
        for path in &self.cases {
            let text = files::read_whole_text(path, MAX_CASES_BYTES)?;
            let cases = Cases::parse(&text).with_context(|| path.display().to_string())?;
            for case in &cases.case {
                let input = case.input(&object).with_context(|| path.display().to_string())?;
                bases.push(input);
            }
        }
        Ok(bases)
    }
}

/// The literals of the settings and scopes of manifests.
pub(super) fn literals(bundles: &[&ManifestBundle]) -> Result<SettingsLiterals> {
    let mut literals = SettingsLiterals::default();
    for bundle in bundles {
        for entry in &bundle.manifest.bindings {
            literals.add(bundle.settings_of(entry)?);
            match &entry.scope {
                Scope::All => {}
                Scope::DefinitionWorkspace(workspace) | Scope::OwningWorkspace(workspace) => {
                    literals.workspaces.insert(workspace.clone());
                }
                Scope::Definition(definition) => {
                    literals.definitions.insert(definition.clone());
                }
            }
        }
    }
    Ok(literals)
}

/// The run objects of a folder, in the order of their names.
fn run_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let name = || folder.display().to_string();
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(name)? {
        let path = entry.with_context(name)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{}: no run object (`*.json`) here", visible(&name()));
    }
    files.sort_unstable();
    Ok(files)
}
