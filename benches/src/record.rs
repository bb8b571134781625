//! Recorded ratios, and the regressions against them.
//!
//! Ratios differ between kinds of processors, so each kind has its own record, in one JSON file a bench.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fmt, fs};

use serde_json::{Map, Value};

use crate::spread::Spread;

/// The part of a recorded median that a ratio may be worse by beyond the spread: two builds of the same sources differ
/// by as much, by where their code happens to lie.
const MARGIN: f64 = 0.05;

/// A ratio that is recorded.
#[derive(Debug, Clone)]
pub struct Ratio {
    name: String,
    spread: Spread,
    better: Better,
}

/// The direction in which a ratio is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Better {
    Lower,
    Higher,
}

/// The ratios of one run of a bench against its record.
#[derive(Debug)]
struct Comparison {
    /// A line for each ratio that is worse than recorded by more than the spread.
    regressions: Vec<String>,
    /// Lines about everything else that is not as recorded.
    notes: Vec<String>,
}

/// The record could not be used.
#[derive(Debug)]
pub struct RecordError(String);

impl Ratio {
    /// A ratio of times, or another figure of which less is better.
    #[must_use]
    pub fn lower(name: impl Into<String>, spread: Spread) -> Self {
        Self { name: name.into(), spread, better: Better::Lower }
    }

    /// A ratio of rates, or another figure of which more is better.
    #[must_use]
    pub fn higher(name: impl Into<String>, spread: Spread) -> Self {
        Self { name: name.into(), spread, better: Better::Higher }
    }

    /// The name that it is recorded by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The figures of the runs.
    #[must_use]
    pub fn spread(&self) -> Spread {
        self.spread
    }

    /// Tells whether all runs are worse than all recorded ones, by more than [`MARGIN`].
    fn is_worse_than(&self, recorded: Spread) -> bool {
        let margin = MARGIN * recorded.median;
        match self.better {
            Better::Lower => self.spread.min > recorded.max + margin,
            Better::Higher => self.spread.max < recorded.min - margin,
        }
    }

    fn is_better_than(&self, recorded: Spread) -> bool {
        let better = match self.better {
            Better::Lower => Better::Higher,
            Better::Higher => Better::Lower,
        };
        Self { better, ..self.clone() }.is_worse_than(recorded)
    }
}

/// Compares ratios with the record of a processor in a file, prints what is not as recorded on standard error, and
/// tells whether nothing is worse. With `UPDATE=1` in the environment, records them first.
///
/// # Errors
/// When the file is not a record, or cannot be written.
#[expect(
    clippy::print_stderr,
    reason = "the report of a bench, whose table goes to standard output"
)]
pub fn holds(file: &Path, processor: &str, ratios: &[Ratio]) -> Result<bool, RecordError> {
    let error = |problem: &dyn fmt::Display| RecordError(format!("{}: {problem}", file.display()));
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
        Err(problem) => return Err(error(&problem)),
    };
    let mut records = parse(&text).map_err(|problem| error(&problem))?;
    if env::var_os("UPDATE").is_some_and(|value| value == "1") {
        let ratios = ratios.iter().map(|ratio| (ratio.name.clone(), ratio.spread));
        records.insert(processor.to_owned(), ratios.collect());
        fs::write(file, to_text(&records)).map_err(|problem| error(&problem))?;
    }
    let Some(recorded) = records.get(processor) else {
        eprintln!("no ratios of `{processor}` are recorded: `UPDATE=1` records these");
        return Ok(true);
    };
    let Comparison { regressions, notes } = compare(recorded, ratios);
    notes.iter().for_each(|line| eprintln!("{line}"));
    regressions.iter().for_each(|line| eprintln!("REGRESSION: {line}"));
    Ok(regressions.is_empty())
}

/// The recorded spreads of one processor, by the name of the ratio.
type Recorded = BTreeMap<String, Spread>;

fn compare(recorded: &Recorded, ratios: &[Ratio]) -> Comparison {
    let (mut regressions, mut notes) = (Vec::new(), Vec::new());
    for ratio in ratios {
        let Some(before) = recorded.get(&ratio.name) else {
            notes.push(format!("{}: not recorded; `UPDATE=1` records it", ratio.name));
            continue;
        };
        let line = format!("{}: {}, recorded {before}", ratio.name, ratio.spread);
        if ratio.is_worse_than(*before) {
            regressions.push(line);
        } else if ratio.is_better_than(*before) {
            notes.push(format!("{line}: better; `UPDATE=1` records it"));
        }
    }
    let measured = |name: &String| ratios.iter().any(|ratio| ratio.name == *name);
    for name in recorded.keys().filter(|name| !measured(name)) {
        // A ratio that is no longer measured could hide a regression.
        regressions.push(format!("{name}: recorded, and not measured"));
    }
    Comparison { regressions, notes }
}

fn parse(text: &str) -> Result<BTreeMap<String, Recorded>, String> {
    let file: BTreeMap<String, Map<String, Value>> =
        serde_json::from_str(text).map_err(|problem| problem.to_string())?;
    file.into_iter()
        .map(|(processor, ratios)| {
            let ratios = ratios.into_iter().map(|(name, spread)| {
                let read = Spread::from_json(&spread);
                read.map(|spread| (name.clone(), spread)).ok_or(format!("`{name}`: not a spread"))
            });
            Ok((processor, ratios.collect::<Result<_, String>>()?))
        })
        .collect()
}

/// One line a ratio, so that a change of one is a change of a line.
fn to_text(records: &BTreeMap<String, Recorded>) -> String {
    let members = |members: Vec<String>, indent: &str| {
        members.into_iter().map(|m| format!("{indent}{m}")).collect::<Vec<_>>().join(",\n")
    };
    let name = |name: &str| Value::from(name).to_string();
    let processors = records.iter().map(|(processor, ratios)| {
        let ratios =
            ratios.iter().map(|(of, spread)| format!("{}: {}", name(of), spread.to_json()));
        format!("{}: {{\n{}\n  }}", name(processor), members(ratios.collect(), "    "))
    });
    format!("{{\n{}\n}}\n", members(processors.collect(), "  "))
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecordError {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn spread(min: f64, median: f64, max: f64) -> Spread {
        Spread { min, median, max }
    }

    #[track_caller]
    fn check(ratio: Ratio, recorded: Spread, regressions: usize, notes: usize) {
        let recorded = Recorded::from([("a".to_owned(), recorded)]);
        let found = compare(&recorded, &[ratio]);
        assert_eq!((found.regressions.len(), found.notes.len()), (regressions, notes), "{found:?}");
    }

    #[test]
    fn only_more_than_both_spreads_and_the_margin_is_a_regression() {
        let recorded = spread(0.95, 1.0, 1.1);
        let lower = |min, median, max| Ratio::lower("a", spread(min, median, max));
        check(lower(0.95, 1.0, 1.1), recorded, 0, 0);
        // The median is beyond everything that is recorded, but one run is not.
        check(lower(1.1, 1.3, 1.4), recorded, 0, 0);
        check(lower(1.14, 1.3, 1.4), recorded, 0, 0);
        check(lower(1.16, 1.3, 1.4), recorded, 1, 0);
        check(lower(0.7, 0.8, 0.89), recorded, 0, 1);
        let higher = |min, median, max| Ratio::higher("a", spread(min, median, max));
        check(higher(1.16, 1.3, 1.4), recorded, 0, 1);
        check(higher(0.7, 0.8, 0.91), recorded, 0, 0);
        check(higher(0.7, 0.8, 0.89), recorded, 1, 0);
    }

    #[test]
    fn ratios_without_a_counterpart_are_named() {
        let recorded = Recorded::from([("gone".to_owned(), spread(1.0, 1.0, 1.0))]);
        let found = compare(&recorded, &[Ratio::lower("new", spread(1.0, 1.0, 1.0))]);
        assert_eq!(found.regressions, ["gone: recorded, and not measured"]);
        assert_eq!(found.notes, ["new: not recorded; `UPDATE=1` records it"]);
    }

    #[test]
    fn file_is_read_as_it_was_written() {
        let one = Recorded::from([
            ("five policies ÷ cel".to_owned(), spread(1.8, 1.9, 2.0)),
            ("two".to_owned(), spread(0.1, 0.2, 0.3)),
        ]);
        let records =
            BTreeMap::from([("2 × \"A\"".to_owned(), one.clone()), ("B".to_owned(), one)]);
        let text = to_text(&records);
        assert_eq!(parse(&text).unwrap(), records);
        assert!(
            text.starts_with("{\n  \"2 × \\\"A\\\"\": {\n    \"five policies ÷ cel\": {"),
            "{text}"
        );
        assert_eq!(parse("{}").unwrap(), BTreeMap::new());
        for malformed in ["", "[]", "{\"A\": 1}", "{\"A\": {\"a\": {\"min\": 1}}}"] {
            assert!(parse(malformed).is_err(), "{malformed}");
        }
    }
}
