//! Charts as shapes of SVG, which templates write: numbers alone, with a table beside them that says the same.

use crate::text::{Number, Time};

/// The size of a chart of columns, in units of the drawing.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 160.0;

/// The maximum width of a column: of one hour, it is still one.
const MAX_COLUMN: f64 = 48.0;

/// Columns over time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Columns {
    pub(crate) columns: Vec<Column>,
    /// The value of the highest column.
    pub(crate) max: Number,
    /// The times that the axis names, with their places.
    pub(crate) labels: Vec<(String, Time)>,
}

/// A column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) width: String,
    pub(crate) height: String,
    pub(crate) start: Time,
    pub(crate) value: Number,
}

impl Columns {
    /// Columns of values by the beginning of their spans, from one time to another, `step` seconds each.
    pub(crate) fn new(values: &[(u64, u64)], (from, to): (u64, u64), step: u64) -> Self {
        let step = step.max(1);
        let spans = to.saturating_sub(from).div_ceil(step).max(1);
        let max = values.iter().map(|(_, value)| *value).max().unwrap_or(0);
        let width = WIDTH / real(spans);
        let column = |(start, value): &(u64, u64)| {
            let place = real(start.saturating_sub(from) / step);
            let height = if max == 0 { 0.0 } else { HEIGHT * real(*value) / real(max) };
            // A value that is there is seen.
            let height = if *value > 0 { height.max(1.0) } else { height };
            Column {
                x: tenths(place * width),
                y: tenths(HEIGHT - height),
                width: tenths((width * 0.85).clamp(0.5, MAX_COLUMN)),
                height: tenths(height),
                start: Time(*start),
                value: Number(*value),
            }
        };
        let label = |part: u64| {
            let span = spans.saturating_sub(1) * part / 4;
            (tenths(real(span) * width), Time(from + span * step))
        };
        let mut labels: Vec<_> = [0, 1, 2, 3, 4].map(label).into();
        labels.dedup_by_key(|(_, time)| *time);
        Self { columns: values.iter().map(column).collect(), max: Number(max), labels }
    }
}

/// The length of a bar beside the longest one, in tenths of a percent.
pub(crate) fn share(value: u64, max: u64) -> String {
    tenths(100.0 * real(value) / real(max.max(1)))
}

#[expect(clippy::cast_precision_loss, reason = "a drawing")]
fn real(number: u64) -> f64 {
    number as f64
}

fn tenths(number: f64) -> String {
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, reason = "tests")]

    use super::*;

    #[test]
    fn columns_are_in_their_places() {
        let columns = Columns::new(&[(0, 10), (7200, 1), (10_800, 0)], (0, 14_400), 3600);
        let shape = |at: usize| {
            let column = &columns.columns[at];
            [&column.x, &column.y, &column.width, &column.height].map(String::as_str).join(" ")
        };
        assert_eq!(shape(0), "0.0 0.0 48.0 160.0");
        assert_eq!(shape(1), "480.0 144.0 48.0 16.0");
        assert_eq!(shape(2), "720.0 160.0 48.0 0.0");
        assert_eq!(columns.max, Number(10));
        // Of nothing, nothing, and no division by it.
        assert_eq!(Columns::new(&[], (5, 5), 0).columns.len(), 0);
        assert_eq!(share(1, 0), "100.0");
    }
}
