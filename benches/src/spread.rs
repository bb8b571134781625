//! Figures of several runs: their median, and how far they lie apart.

use std::fmt;

use serde_json::{Value, json};

/// The median of a figure over several runs, and its extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Spread {
    /// The spread of the figures of several runs.
    ///
    /// # Panics
    /// Without a figure, or with one that is no number: nothing was measured.
    #[must_use]
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let figures: Vec<f64> = figures.into_iter().collect();
        assert!(figures.iter().all(|figure| figure.is_finite()), "no number: {figures:?}");
        let median = median(figures.clone());
        let min = figures.iter().copied().fold(f64::INFINITY, f64::min);
        let max = figures.into_iter().fold(f64::NEG_INFINITY, f64::max);
        Self { min, median, max }
    }

    /// The form in a file of figures.
    pub(crate) fn to_json(self) -> Value {
        // Rounded, so that a file of them can be read: the fifth digit means nothing.
        let digits = |figure: f64| {
            let scale = 10_f64.powi(4 - figure.abs().max(1e-9).log10().floor() as i32);
            (figure * scale).round() / scale
        };
        json!({"min": digits(self.min), "median": digits(self.median), "max": digits(self.max)})
    }

    /// Reads [`Self::to_json`]; `None` for anything else.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let figure = |name| value.get(name).and_then(Value::as_f64);
        let read = Self { min: figure("min")?, median: figure("median")?, max: figure("max")? };
        (read.min <= read.median && read.median <= read.max).then_some(read)
    }
}

/// The median and, in brackets, the extremes.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median, self.min, self.max)
    }
}

/// The figure in the middle, or the mean of the two in the middle.
///
/// # Panics
/// Without a figure.
#[must_use]
pub fn median(mut figures: Vec<f64>) -> f64 {
    assert!(!figures.is_empty(), "nothing was measured");
    figures.sort_by(f64::total_cmp);
    let (lower, upper) = ((figures.len() - 1) / 2, figures.len() / 2);
    figures.get(lower..=upper).unwrap_or_default().iter().sum::<f64>() / (upper - lower + 1) as f64
}

/// A duration in the unit that suits it.
#[must_use]
pub fn time(nanoseconds: f64) -> String {
    if nanoseconds < 1e3 {
        format!("{nanoseconds:.0} ns")
    } else if nanoseconds < 1e6 {
        format!("{:.2} µs", nanoseconds / 1e3)
    } else {
        format!("{:.2} ms", nanoseconds / 1e6)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp, reason = "tests")]

    use super::*;

    #[test]
    fn median_is_in_the_middle_whatever_the_order() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[test]
    fn spread_has_the_extremes() {
        let spread = Spread::of([0.5, 0.4, 0.46, 0.45, 0.44]);
        assert_eq!(spread, Spread { min: 0.4, median: 0.45, max: 0.5 });
        assert_eq!(spread.to_string(), "0.45 (0.40–0.50)");
    }

    #[test]
    fn json_keeps_five_digits() {
        let spread = Spread { min: 0.012_345_678, median: 1.234_567_8, max: 12_345.678 };
        let kept = Spread::from_json(&spread.to_json()).unwrap();
        assert_eq!(kept, Spread { min: 0.012_346, median: 1.2346, max: 12_346.0 });
        assert_eq!(Spread::from_json(&json!({"min": 1, "median": 2})), None);
        assert_eq!(Spread::from_json(&json!({"min": 3, "median": 2, "max": 4})), None);
    }
}
