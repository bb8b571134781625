//! `countersign policy bench`

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;
use countersign::{Optimization, visible};
use countersign_authoring::{CaseRunner, EvaluationBudget, Measurement};
use serde::Serialize;

use super::folder::FolderArguments;
use super::language::Language;
use super::rego::measure;
use super::rego::measure::RuleFuel;
use crate::cache::CacheArguments;
use crate::output::{self, Exit, FAILURE, Format, Styled};
use crate::progress;
use countersign_deployment::engine;

/// Measure the fuel, memory, output and time of a policy's test cases
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy bench
  countersign policy bench --max-fuel 20000        # for CI: fails if a case takes more
  countersign policy bench --rules                 # the fuel of each rule, in Rego

Fuel, memory and output are the same on every machine. Time is the median of --times evaluations on this
machine, each in a fresh instance; or of those that end within a second.

With --rules, each rule of a policy in Rego is evaluated by itself on each case: its fuel is that of the case that takes most,
with the rules that it reads, and without the making of the input. Functions count for the rules that call them.

The JSON has `component_bytes`, `limits` (`fuel`, `memory_bytes`, `output_bytes`), `cases` (`name`,
`fuel`, `memory_bytes`, `output_bytes`, `nanoseconds`, `evaluations`), `over_max_fuel`, the names of cases, and `rules` (`rule`,
`fuel`), which is null without --rules.

Exit status: 0 if no case takes more than --max-fuel, 1 otherwise and on errors.")]
pub(super) struct Bench {
    #[command(flatten)]
    folder: FolderArguments,

    /// The maximum fuel of a case
    #[arg(long, value_name = "FUEL")]
    max_fuel: Option<u64>,

    /// The number of evaluations of each case, which end after a second
    #[arg(long, value_name = "TIMES", default_value_t = 1000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    times: u32,

    /// Measure each rule of a policy in Rego
    #[arg(long)]
    rules: bool,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed<'m> {
    component_bytes: usize,
    limits: PrintedLimits,
    cases: Vec<PrintedCase<'m>>,
    over_max_fuel: Vec<&'m str>,
    rules: Option<&'m [RuleFuel]>,
}

#[derive(Serialize)]
struct PrintedLimits {
    fuel: u64,
    memory_bytes: u64,
    output_bytes: u32,
}

#[derive(Serialize)]
struct PrintedCase<'m> {
    name: &'m str,
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
    nanoseconds: u64,
    evaluations: usize,
}

impl Bench {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = self.folder.read()?;
        let engine = engine::engine(Optimization::Speed, self.cache.open()?, output::warn_or_log)?;
        let (cases, run) = (&folder.cases, &folder.run);
        let begin = Instant::now();
        let time = || u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if self.rules && folder.language != Some(Language::Rego) {
            bail!("--rules: only rules of policies in Rego are measured by themselves");
        }
        let (measurement, rules) = progress::with_spinner("measuring", || {
            let (component, settings) = (&folder.component, folder.settings.clone());
            let runner = CaseRunner::new(&engine, component, folder.limits, cases, run, settings)?;
            let times = usize::try_from(self.times).unwrap_or(1);
            let measurement = countersign_authoring::measure(&runner, times, time)?;
            let mut budget = EvaluationBudget::new(EvaluationBudget::DEFAULT_FUEL);
            let count = cases.case.len();
            let rules = self
                .rules
                .then(|| measure::rules(&runner, &folder.settings, count, &mut budget))
                .transpose()?;
            anyhow::Ok((measurement, rules))
        })?;
        let rules = rules.as_deref();
        // Fuel that could not be measured is not within the limit.
        let over =
            |fuel: Option<u64>| self.max_fuel.is_some_and(|max| fuel.is_none_or(|fuel| fuel > max));
        let cases = measurement.cases.iter();
        let over: Vec<_> =
            cases.filter(|case| over(case.fuel)).map(|case| case.name.as_str()).collect();
        match self.format {
            Format::Json => output::print_json(&printed(&measurement, &over, rules))?,
            Format::Human => output::print(&text(&measurement, &over, rules))?,
        }
        Ok(if over.is_empty() { Exit::Success } else { Exit::Failed })
    }
}

fn printed<'m>(
    measurement: &'m Measurement,
    over: &[&'m str],
    rules: Option<&'m [RuleFuel]>,
) -> Printed<'m> {
    let limits = &measurement.limits;
    Printed {
        component_bytes: measurement.component_bytes,
        limits: PrintedLimits {
            fuel: limits.fuel,
            memory_bytes: limits.memory_bytes,
            output_bytes: limits.output_bytes,
        },
        cases: measurement
            .cases
            .iter()
            .map(|case| PrintedCase {
                name: &case.name,
                fuel: case.fuel,
                memory_bytes: case.memory_bytes,
                output_bytes: case.output_bytes,
                nanoseconds: case.nanoseconds,
                evaluations: case.evaluations,
            })
            .collect(),
        over_max_fuel: over.to_vec(),
        rules,
    }
}

fn text(measurement: &Measurement, over: &[&str], rules: Option<&[RuleFuel]>) -> String {
    let limits = &measurement.limits;
    let mut text = format!("{} bytes\n", measurement.component_bytes);
    let share = |used: Option<u64>, limit: u64| match used {
        Some(used) => format!("{used} ({:.2}%)", used as f64 * 100.0 / limit as f64),
        None => "unknown".to_owned(),
    };
    // Writing to a string does not fail.
    for case in &measurement.cases {
        let mark = if over.contains(&case.name.as_str()) { " over --max-fuel" } else { "" };
        let _ = writeln!(text, "{}{}", visible(&case.name), Styled(FAILURE, mark));
        let _ = writeln!(text, "  fuel    {}", share(case.fuel, limits.fuel));
        let _ = writeln!(text, "  memory  {} bytes", share(case.memory_bytes, limits.memory_bytes));
        let _ = writeln!(
            text,
            "  output  {} bytes",
            share(case.output_bytes, limits.output_bytes.into())
        );
        let _ = writeln!(text, "  time    {:.1} µs", case.nanoseconds as f64 / 1000.0);
    }
    if let Some(rules) = rules {
        let _ = writeln!(text, "fuel of each rule, in the case that takes most");
        for RuleFuel { rule, fuel } in rules {
            let _ = writeln!(text, "  {fuel:>10}  {}", visible(rule));
        }
    }
    let max = measurement.cases.iter().filter_map(|case| case.fuel).max();
    if let Some(max) = max.filter(|max| *max > 0) {
        let headroom = limits.fuel as f64 / max as f64;
        let _ = writeln!(
            text,
            "the fuel limit is {headroom:.0} times the fuel of the most expensive case"
        );
    }
    text
}
