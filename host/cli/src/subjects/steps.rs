//! `countersign subjects begin`, `cut-over`, `roll-back`, `finish`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{
    Audience, Cloud, Digest, MoveRecord, MoveStep, RunnerId, SubjectMove, SubjectMoves,
    SubjectParts,
};
use countersign_trust::{Admission, Presented, TrustFiles};

use super::report::of_log;
use crate::installation::{DefinitionArgument, Installation};
use crate::output::{self, Done};
use crate::trust::read_trust;
use crate::{clock, files};

/// What all steps are told.
#[derive(Args)]
struct StepArguments {
    /// The manifest, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// A definition, with the workspace that owns it; give it once for each
    #[arg(long = "definition", short, value_name = "WORKSPACE/UUID", required = true)]
    definitions: Vec<DefinitionArgument>,

    /// Who takes the step, for the record
    #[arg(
        long,
        value_name = "NAME",
        env = "USER",
        default_value = "unknown",
        hide_env_values = true
    )]
    by: String,

    /// The time, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
}

/// What a step looks at before it changes what tokens have.
#[derive(Args)]
struct TrustArguments {
    /// Trust as it is applied: files as for `trust lint`; give it once for each
    #[arg(long = "trust", value_name = "FILE", required_unless_present = "without_trust")]
    trust: Vec<PathBuf>,

    /// The audience of tokens that the trust is to let in [default: the usual one of each cloud]
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Option<Audience>,

    /// Take the step without looking at any trust
    #[arg(long, conflicts_with = "trust")]
    without_trust: bool,
}

/// Begin to move definitions: trust is to have both subjects
#[derive(Args)]
pub struct Begin {
    #[command(flatten)]
    step: StepArguments,

    /// A runner whose subject the runs have; give it once for each
    #[arg(long = "runner", value_name = "UUID", required = true)]
    runners: Vec<RunnerId>,
}

/// Let tokens have the definition's subject, if trust lets it in
#[derive(Args)]
pub struct CutOver {
    #[command(flatten)]
    step: StepArguments,
    #[command(flatten)]
    trust: TrustArguments,
}

/// Let tokens have the runner's subject again
#[derive(Args)]
pub struct RollBack {
    #[command(flatten)]
    step: StepArguments,
    #[command(flatten)]
    trust: TrustArguments,
}

/// End the move of definitions: trust is to have the definition's subject alone
#[derive(Args)]
pub struct Finish {
    #[command(flatten)]
    step: StepArguments,

    /// The log of decisions: no token with the runner's subject may be left
    #[arg(long, value_name = "FOLDER", required_unless_present = "without_log")]
    log: Option<PathBuf>,

    /// End it without looking at any log
    #[arg(long, conflicts_with = "log")]
    without_log: bool,
}

impl Begin {
    pub fn run(&self) -> Result<Done> {
        self.step.take(MoveStep::Begin, |installation, moves, of, record| {
            if installation.entry.subjects.of_definitions.contains_key(&of.definition) {
                bail!(
                    "definition {} is under `subject-profiles` in the manifest; take it out there, and begin then",
                    of.definition
                );
            }
            let by = (record.time, record.by.clone());
            let (definition, workspace) = (of.definition.clone(), of.workspace.clone());
            moves.begin(definition, workspace, self.runners.iter().cloned().collect(), by)?;
            Ok(())
        })
    }
}

impl CutOver {
    pub fn run(&self) -> Result<Done> {
        self.trust.step(&self.step, MoveStep::CutOver)
    }
}

impl RollBack {
    pub fn run(&self) -> Result<Done> {
        self.trust.step(&self.step, MoveStep::RollBack)
    }
}

impl Finish {
    pub fn run(&self) -> Result<Done> {
        let counts = self.log.as_deref().map(of_log).transpose()?;
        self.step.take(MoveStep::Finish, |_, moves, of, mut record| {
            record.on = match &counts {
                None => "no log".to_owned(),
                Some(counts) => {
                    let last = counts.get(&of.definition).map_or(0, |of| of.old.last_expires);
                    if last > record.time {
                        bail!(
                            "definition {}: a token with the runner's subject is good until {}",
                            of.definition,
                            output::time(last)
                        );
                    }
                    "the log: every token with the runner's subject has expired".to_owned()
                }
            };
            moves.step(&of.definition, record)?;
            Ok(())
        })
    }
}

impl TrustArguments {
    fn step(&self, arguments: &StepArguments, step: MoveStep) -> Result<Done> {
        let trust = if self.without_trust { None } else { Some(self.read()?) };
        arguments.take(step, |installation, moves, of, mut record| {
            record.on = match &trust {
                None => "no trust".to_owned(),
                Some((files, digest)) => {
                    let moved = moves.get(&of.definition).context("its move has not begun");
                    let moved = moved.with_context(|| format!("definition {}", of.definition))?;
                    self.lets_in(installation, files, of, moved, step)?;
                    format!("trust {digest}")
                }
            };
            moves.step(&of.definition, record)?;
            Ok(())
        })
    }

    /// The trust, and the digest of its files.
    fn read(&self) -> Result<(TrustFiles, Digest)> {
        let trust = read_trust(&self.trust)?;
        if trust.is_empty() {
            bail!("the files of --trust let nobody in: are they the right ones?");
        }
        let mut all = Vec::new();
        for path in &self.trust {
            all.extend_from_slice(Digest::of(&files::read(path, 4 << 20)?).as_bytes());
        }
        Ok((trust, Digest::of(&all)))
    }

    /// Checks that the trust of each cloud lets in what tokens will have.
    fn lets_in(
        &self,
        installation: &Installation,
        trust: &TrustFiles,
        of: &DefinitionArgument,
        moved: &SubjectMove,
        step: MoveStep,
    ) -> Result<()> {
        let to_be_by_definition = step == MoveStep::CutOver;
        for cloud in trust.clouds() {
            let audience = self.audience_of(installation, cloud)?;
            for parts in moved.subjects(&installation.subjects.meshstack_id, &of.definition) {
                if matches!(parts, SubjectParts::ByDefinition { .. }) != to_be_by_definition {
                    continue;
                }
                let subject = parts.subject()?;
                let issuer = installation.url.as_str();
                let token =
                    Presented { issuer, subject: subject.as_str(), audience: audience.as_str() };
                let problem = match trust.admits(cloud, token) {
                    Admission::Admitted => continue,
                    Admission::NotAdmitted => "does not let in",
                    Admission::Unknown => "may not let in, as far as its files say,",
                };
                bail!(
                    "definition {}: the trust of {cloud} {problem} `{subject}` for `{audience}`; nothing was changed. \
                     `countersign trust {cloud}` writes trust that does",
                    of.definition
                );
            }
        }
        Ok(())
    }

    fn audience_of(&self, installation: &Installation, cloud: Cloud) -> Result<Audience> {
        let audience = self.audience.clone().or_else(|| installation.audience_of(cloud));
        audience.context("name the audience by --audience")
    }
}

impl StepArguments {
    /// Takes a step for all definitions, or for none.
    fn take(
        &self,
        step: MoveStep,
        mut one: impl FnMut(
            &Installation,
            &mut SubjectMoves,
            &DefinitionArgument,
            MoveRecord,
        ) -> Result<()>,
    ) -> Result<Done> {
        let installation = Installation::read(&self.policies)?;
        let file = installation.moves_file.as_deref().with_context(|| {
            format!(
                "{}: name the file of the steps under `[issuer]`: subject-moves = \"subject-moves.json\"",
                self.policies.display()
            )
        })?;
        let lock = lock(file)?;
        // What another has done meanwhile counts.
        let installation = Installation::read(&self.policies)?;
        let (time, mut moves) = (clock::now(self.now)?, installation.moves.clone());
        for of in &self.definitions {
            if let Some(moved) = moves.get(&of.definition)
                && moved.workspace != of.workspace
            {
                bail!("definition {} is of workspace {}", of.definition, moved.workspace);
            }
            let by = countersign::visible(&self.by);
            one(&installation, &mut moves, of, MoveRecord { step, time, by, on: String::new() })?;
        }
        files::replace(file, moves.to_json()?.as_bytes(), false)?;
        drop(lock);
        for of in &self.definitions {
            let state = moves.get(&of.definition).map_or("not moved", |moved| moved.state.as_str());
            output::print(&format!("{} {}: {state}\n", of.workspace, of.definition))?;
        }
        Ok(Done::Fine)
    }
}

/// Keeps others from taking a step at the same time.
fn lock(file: &Path) -> Result<std::fs::File> {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let opened = std::fs::File::create(&path).and_then(|lock| {
        lock.lock()?;
        Ok(lock)
    });
    opened.with_context(|| path.display().to_string())
}
