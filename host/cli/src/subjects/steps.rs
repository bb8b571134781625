//! `countersign subjects begin`, `cut-over`, `roll-back`, `finish`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Audience, DefinitionId, Digest, RunnerId, SubjectFormat};
use countersign_deployment::{
    DefinitionArgument, Installation, MigrationRecord, MigrationStep, SubjectMigrations, files,
};
use countersign_trust::TrustFiles;

use super::admission::check_admission;
use super::report::{SubjectsOfLog, of_log};
use super::unused::{Unused, would_be_cut_over};
use crate::clock;
use crate::log::verified;
use crate::output::{self, Exit};
use crate::trust::{ReadTrust, read_trust};

/// The arguments of all steps.
#[derive(Args)]
struct StepArguments {
    /// The manifest, `countersign.toml`
    #[arg(long, short, value_name = "FILE")]
    policies: PathBuf,

    /// A definition, with the workspace that owns it; repeat it for several
    #[arg(long = "definition", short, value_name = "WORKSPACE/UUID")]
    definitions: Vec<DefinitionArgument>,

    /// The operator who takes the step, for the record
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

/// The trust that a step checks before tokens change.
#[derive(Args)]
struct TrustArguments {
    /// The trust policies in effect, as for `trust lint`; repeat it for several
    #[arg(long = "trust", value_name = "PATH")]
    trust: Vec<PathBuf>,

    /// The audience of tokens that trust must admit [default: the usual one of each cloud]
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Option<Audience>,

    /// The decision log: trust must cover every audience that it has of the definition
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,

    /// Take the step without checking any trust
    #[arg(long, conflicts_with = "trust")]
    without_trust: bool,
}

/// Start migrating definitions: trust must accept both subjects
#[derive(Args)]
#[command(after_help = "\
Only definitions whose tokens have the runner's subject can be migrated. With --log, their records
must agree on workspace and runners. --create creates the file of the steps.")]
pub(super) struct Begin {
    #[command(flatten)]
    step: StepArguments,

    /// A runner whose subject the runs have; repeat it for several
    #[arg(long = "runner", value_name = "UUID", required = true)]
    runners: Vec<RunnerId>,

    /// The decision log, to compare with
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,

    /// Create the file of the steps if it is missing
    #[arg(long)]
    create: bool,
}

/// Cancel a migration: definitions keep the runner's subject
#[derive(Args)]
pub(super) struct Abandon {
    #[command(flatten)]
    step: StepArguments,
}

/// Issue tokens with the definition's subject, if trust accepts it
#[derive(Args)]
pub(super) struct CutOver {
    #[command(flatten)]
    step: StepArguments,
    #[command(flatten)]
    trust: TrustArguments,

    /// Cut over each definition that had no token for so long, as --log shows: `30d`. A migration that has not begun
    /// begins first. Trust is not compared: there is nothing that it could break
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, requires = "log",
          conflicts_with_all = ["definitions", "trust", "without_trust"])]
    unused_for: Option<Duration>,

    /// With --unused-for, print what would be cut over, and change nothing
    #[arg(long, requires = "unused_for")]
    dry_run: bool,
}

/// Issue tokens with the runner's subject again
#[derive(Args)]
pub(super) struct RollBack {
    #[command(flatten)]
    step: StepArguments,
    #[command(flatten)]
    trust: TrustArguments,
}

/// Finish migrating definitions: trust accepts the definition's subject alone
#[derive(Args)]
pub(super) struct Finish {
    #[command(flatten)]
    step: StepArguments,

    /// The decision log: no token with the runner's subject may be left
    #[arg(long, value_name = "FOLDER", required_unless_present = "without_log")]
    log: Option<PathBuf>,

    /// Finish without checking any log
    #[arg(long, conflicts_with = "log")]
    without_log: bool,
}

impl Begin {
    pub(super) fn run(&self) -> Result<Exit> {
        let of_log = self.log.as_deref().map(of_log).transpose()?;
        self.step.take(MigrationStep::Begin, self.create, |installation, migrations, of, record| {
            let definition = &of.definition;
            if installation.entry.subjects.overrides.contains_key(definition) {
                bail!(
                    "definition {definition} is under `subject-profiles` in the manifest; remove it there first"
                );
            }
            let profile = installation.subjects.profile_of(definition);
            if migrations.get(definition).is_none() && profile == SubjectFormat::ByDefinition {
                bail!(
                    "the tokens of definition {definition} have its own subject already: there is nothing to migrate. \
                     Where they do not, set `subject-profile = \"by-runner\"` in the manifest"
                );
            }
            if let Some(counts) = of_log.as_ref().and_then(|log| log.counts.get(definition)) {
                if counts.workspace.as_ref().is_some_and(|workspace| *workspace != of.workspace) {
                    bail!("definition {definition} belongs to another workspace in the log");
                }
                let named = |runner: &&String| !self.runners.iter().any(|named| named.as_str() == **runner);
                if let Some(runner) = counts.runners.iter().find(named) {
                    bail!("definition {definition}: its runs had the subject of runner {runner} too; name it");
                }
            }
            let by = (record.time, record.by.clone());
            let runners = self.runners.iter().cloned().collect();
            migrations.begin(definition.clone(), of.workspace.clone(), runners, by)?;
            Ok(())
        })
    }
}

impl Abandon {
    pub(super) fn run(&self) -> Result<Exit> {
        self.step.take(MigrationStep::Abandon, false, |_, migrations, of, record| {
            migrations.step(&of.definition, record)?;
            Ok(())
        })
    }
}

impl CutOver {
    pub(super) fn run(&self) -> Result<Exit> {
        match (self.unused_for, &self.trust.log) {
            (Some(unused_for), Some(log)) => {
                let unused =
                    Unused::of(&self.step.policies, unused_for, log, clock::now(self.step.now)?)?;
                unused.say_left();
                let Unused { definitions, to_begin, evidence, .. } = unused;
                if definitions.is_empty() || self.dry_run {
                    return would_be_cut_over(&definitions);
                }
                let step = MigrationStep::CutOver;
                self.step.take_for(&definitions, step, false, |_, migrations, of, mut record| {
                    record.evidence.clone_from(&evidence);
                    if let Some(runners) = to_begin.get(&of.definition) {
                        let (definition, workspace) = (of.definition.clone(), of.workspace.clone());
                        let by = (record.time, record.by.clone());
                        migrations.begin(definition, workspace, runners.clone(), by)?;
                    }
                    migrations.step(&of.definition, record)?;
                    Ok(())
                })
            }
            _ => self.trust.step(&self.step, MigrationStep::CutOver),
        }
    }
}

impl RollBack {
    pub(super) fn run(&self) -> Result<Exit> {
        self.trust.step(&self.step, MigrationStep::RollBack)
    }
}

impl Finish {
    pub(super) fn run(&self) -> Result<Exit> {
        let evidence = self.log.as_deref().map(Evidence::of).transpose()?;
        self.step.take(MigrationStep::Finish, false, |_, migrations, of, mut record| {
            record.evidence = match &evidence {
                None => "no log".to_owned(),
                Some(evidence) => {
                    let history =
                        migrations.get(&of.definition).map(|migration| &migration.history);
                    let cut_over =
                        history.and_then(|history| history.last()).map_or(0, |last| last.time);
                    evidence.lets_finish(&of.definition, cut_over, record.time)?
                }
            };
            migrations.step(&of.definition, record)?;
            Ok(())
        })
    }
}

/// The evidence in a log that a migration can be finished.
pub(super) struct Evidence(pub(super) SubjectsOfLog);

impl Evidence {
    /// Verifies a log, and reads it.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let name = || folder.display().to_string();
        let report = verified(folder).with_context(name)?;
        if let Some(damage) = report.damage.first() {
            bail!("{}: the log is damaged, and proves nothing: {damage}", name());
        }
        Ok(Self(of_log(folder)?))
    }

    /// Checks that no token with the runner's subject is left, and returns the evidence.
    fn lets_finish(&self, definition: &DefinitionId, cut_over: u64, now: u64) -> Result<String> {
        let adopted = self.0.forms.as_ref().filter(|(time, forms)| {
            *time >= cut_over
                && forms.get(definition.as_str()).map(String::as_str)
                    == Some(SubjectFormat::ByDefinition.as_str())
        });
        let Some((time, _)) = adopted else {
            bail!(
                "definition {definition}: the log does not say that a service took the cut-over: it has to run, and \
                 to have read the manifest since, or to be started again"
            );
        };
        let last = self.0.counts.get(definition).map_or(0, |counts| counts.old.last_expires);
        if last > now {
            bail!(
                "definition {definition}: a token with the runner's subject is valid until {}",
                output::time(last)
            );
        }
        Ok(format!(
            "the log: the definition's subject as a service had it at {}, and no token with the runner's that is still valid",
            output::time(*time)
        ))
    }
}

impl TrustArguments {
    fn step(&self, arguments: &StepArguments, step: MigrationStep) -> Result<Exit> {
        if self.trust.is_empty() && !self.without_trust {
            bail!("give the trust policies in effect with --trust, or --without-trust");
        }
        let trust = if self.without_trust { None } else { Some(self.read()?) };
        let of_log = self.log.as_deref().map(of_log).transpose()?;
        arguments.take(step, false, |installation, migrations, of, mut record| {
            record.evidence = match &trust {
                None => "no trust".to_owned(),
                Some((files, digest)) => {
                    let migration =
                        migrations.get(&of.definition).context("its migration has not begun");
                    let migration =
                        migration.with_context(|| format!("definition {}", of.definition))?;
                    let counts = of_log.as_ref().and_then(|log| log.counts.get(&of.definition));
                    let audiences = counts.iter().flat_map(|counts| &counts.audiences);
                    let audiences = audiences.map(|audience| Audience::parse(audience));
                    let audiences = audiences.collect::<Result<Vec<_>, _>>()?;
                    let checked = check_admission(
                        installation,
                        files,
                        of,
                        migration,
                        step,
                        &audiences,
                        self.audience.as_ref(),
                    )?;
                    format!("trust of {} {digest}", checked.join(", "))
                }
            };
            migrations.step(&of.definition, record)?;
            Ok(())
        })
    }

    /// Reads the trust policies, and returns them with the digest of their files.
    fn read(&self) -> Result<(TrustFiles, Digest)> {
        let ReadTrust { trust, digest, .. } = read_trust(&self.trust)?;
        // What is not read may be trust that has the one subject alone.
        if let Some(gap) = trust.gaps().first() {
            bail!(
                "nothing was changed: not all of --trust can be evaluated: {gap}. A plan (`tofu show -json`) has everything"
            );
        }
        if trust.is_empty() {
            bail!("the files of --trust admit nobody: are they the right ones?");
        }
        Ok((trust, digest))
    }
}

impl StepArguments {
    /// Takes a step for all definitions that are named, or for none.
    fn take(
        &self,
        step: MigrationStep,
        create: bool,
        one: impl FnMut(
            &Installation,
            &mut SubjectMigrations,
            &DefinitionArgument,
            MigrationRecord,
        ) -> Result<()>,
    ) -> Result<Exit> {
        if self.definitions.is_empty() {
            bail!("name a definition with --definition WORKSPACE/UUID");
        }
        self.take_for(&self.definitions, step, create, one)
    }

    /// Takes a step for all of these definitions, or for none.
    fn take_for(
        &self,
        definitions: &[DefinitionArgument],
        step: MigrationStep,
        create: bool,
        mut one: impl FnMut(
            &Installation,
            &mut SubjectMigrations,
            &DefinitionArgument,
            MigrationRecord,
        ) -> Result<()>,
    ) -> Result<Exit> {
        let read = if create { Installation::read_or_create } else { Installation::read };
        let installation = read(&self.policies)?;
        let file = installation.migrations_file.as_deref().with_context(|| {
            format!(
                "{}: name the file of the steps under `[issuer]`: subject-migrations = \"subject-migrations.json\"",
                self.policies.display()
            )
        })?;
        let lock = lock(file)?;
        // Another process may have taken a step meanwhile.
        let installation = read(&self.policies)?;
        let (time, mut migrations) = (clock::now(self.now)?, installation.migrations.clone());
        for of in definitions {
            if let Some(migration) = migrations.get(&of.definition)
                && migration.workspace != of.workspace
            {
                bail!("definition {} belongs to workspace {}", of.definition, migration.workspace);
            }
            let by = countersign::visible(&self.by);
            one(
                &installation,
                &mut migrations,
                of,
                MigrationRecord { step, time, by, evidence: String::new() },
            )?;
        }
        let text = migrations.to_json()?;
        // A file that cannot be parsed must not be written: the service would reject it and keep its old policies.
        SubjectMigrations::parse(text.as_bytes()).context("too many steps for one file")?;
        files::replace(file, text.as_bytes(), false)?;
        drop(lock);
        for of in definitions {
            let state = migrations
                .get(&of.definition)
                .map_or("not migrated", |migration| migration.state.as_str());
            output::print(&format!("{} {}: {state}\n", of.workspace, of.definition))?;
        }
        Ok(Exit::Success)
    }
}

/// Locks the file of the steps against other processes.
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
