//! The figures of several runs, and the ratios of what was timed together.

use countersign_benches::spread::{Spread, median};
use serde_json::Value;

/// The subject of a group that the others are compared with.
pub(crate) const US: &str = "Countersign";

/// The group without other engines.
pub(crate) const ALONE: &str = "Countersign alone";

/// The figures of one run.
pub(crate) struct Run {
    /// Of [`measure`](crate::measure::measure).
    pub(crate) decisions: Value,
    /// Of [`cold::measure`](crate::cold::measure).
    pub(crate) cold: Value,
}

pub(crate) struct Runs(pub(crate) Vec<Run>);

impl Run {
    /// Nanoseconds of each round.
    fn rounds(&self, group: &str, subject: &str) -> Vec<f64> {
        let rounds = self.decisions.get(group).and_then(|group| group.get(subject));
        let rounds = rounds.and_then(Value::as_array);
        let rounds = rounds.unwrap_or_else(|| panic!("no figures of `{group}`, `{subject}`"));
        rounds.iter().map(|round| round.as_f64().expect("a number")).collect()
    }

    /// The ratio of two subjects' times, which each round has one of.
    fn ratio(&self, group: &str, dividend: &str, divisor: &str) -> f64 {
        let (dividend, divisor) = (self.rounds(group, dividend), self.rounds(group, divisor));
        median(dividend.iter().zip(divisor).map(|(dividend, divisor)| dividend / divisor).collect())
    }
}

impl Runs {
    /// Nanoseconds of an iteration.
    pub(crate) fn time(&self, group: &str, subject: &str) -> Spread {
        Spread::of(self.0.iter().map(|run| median(run.rounds(group, subject))))
    }

    /// The ratio of two subjects' times.
    pub(crate) fn ratio(&self, group: &str, dividend: &str, divisor: &str) -> Spread {
        Spread::of(self.0.iter().map(|run| run.ratio(group, dividend, divisor)))
    }

    /// The highest of several ratios of one subject's time, of each run.
    pub(crate) fn ratio_to_best(&self, group: &str, subject: &str, others: &[&str]) -> Spread {
        let highest = |run: &Run| {
            let ratios = others.iter().map(|other| run.ratio(group, subject, other));
            ratios.fold(f64::NEG_INFINITY, f64::max)
        };
        Spread::of(self.0.iter().map(highest))
    }

    /// A figure of the start from the cache.
    pub(crate) fn cold(&self, name: &str) -> Spread {
        Spread::of(self.0.iter().map(|run| run.cold[name].as_f64().expect("a number")))
    }
}
