//! The rule of a time zone, as POSIX writes it: `CET-1CEST,M3.5.0,M10.5.0/3`.

use super::DAY;
use super::calendar::{civil_from_days, days_from_civil};

/// The rule of a time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    /// The seconds that standard time is ahead of UTC.
    standard: i64,
    /// The other time of the year, where there is one.
    other: Option<Other>,
}

/// The time of the other part of a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Other {
    /// The seconds that it is ahead of UTC.
    offset: i64,
    begins: Change,
    ends: Change,
}

/// A change of clocks: on a day of the week of a month, at a time by the clock before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    month: i64,
    /// The first to fourth, or the last: 5.
    week: i64,
    /// The day of the week, from Sunday: 0.
    weekday: i64,
    /// Seconds after midnight; negative before it, and beyond a day after it.
    seconds: i64,
}

impl Rule {
    pub(super) const UTC: Self = Self { standard: 0, other: None };

    /// Parses a rule of the database.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (standard, rest) = offset(abbreviation(text)?)?;
        if rest.is_empty() {
            return Some(Self { standard, other: None });
        }
        let rest = abbreviation(rest)?;
        // An hour ahead unless it says otherwise.
        let (ahead, rest) = match rest.starts_with(',') {
            true => (standard + 3_600, rest),
            false => offset(rest)?,
        };
        let (begins, ends) = rest.strip_prefix(',')?.split_once(',')?;
        let (begins, ends) = (Change::parse(begins)?, Change::parse(ends)?);
        Some(Self { standard, other: Some(Other { offset: ahead, begins, ends }) })
    }

    /// The offset at a time in seconds since 1970.
    pub(super) fn offset_at(&self, at: i64) -> i64 {
        let Some(Other { offset, begins, ends }) = self.other else { return self.standard };
        let (year, _, _) = civil_from_days((at + self.standard).div_euclid(DAY));
        let begins = begins.of_year(year) - self.standard;
        let ends = ends.of_year(year) - offset;
        let is_other = match begins < ends {
            true => (begins..ends).contains(&at),
            // Over the turn of the year.
            false => !(ends..begins).contains(&at),
        };
        if is_other { offset } else { self.standard }
    }
}

impl Change {
    /// Parses `M10.5.0/3`. Without a time it is two o'clock.
    fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('/').unwrap_or((text, "2"));
        let mut parts = date.strip_prefix('M')?.split('.').map(|part| part.parse::<i64>().ok());
        let (month, week, weekday) = (parts.next()??, parts.next()??, parts.next()??);
        let (seconds, rest) = clock(time)?;
        rest.is_empty().then_some(Self { month, week, weekday, seconds })
    }

    /// The change of a year, in seconds since 1970 by the clock before it.
    fn of_year(self, year: i64) -> i64 {
        let first = days_from_civil(year, self.month, 1);
        // 1970-01-01 was a Thursday: 4.
        let weekday = (first + 4).rem_euclid(7);
        let mut day = first + (self.weekday - weekday).rem_euclid(7) + 7 * (self.week - 1);
        let next = match self.month {
            12 => days_from_civil(year + 1, 1, 1),
            month => days_from_civil(year, month + 1, 1),
        };
        if day >= next {
            day -= 7;
        }
        day * DAY + self.seconds
    }
}

/// The text after an abbreviation: letters, or anything between `<` and `>`.
fn abbreviation(text: &str) -> Option<&str> {
    match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>').map(|(_, rest)| rest),
        None => {
            let rest = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
            (rest.len() < text.len()).then_some(rest)
        }
    }
}

/// An offset, and the text after it. POSIX counts west of Greenwich, and this counts east.
fn offset(text: &str) -> Option<(i64, &str)> {
    clock(text).map(|(seconds, rest)| (-seconds, rest))
}

/// Hours, with minutes where there are any, in seconds; and the text after them.
fn clock(text: &str) -> Option<(i64, &str)> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(digits.len());
    let (time, rest) = digits.split_at_checked(end)?;
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok());
    let hours = parts.next()??;
    let minutes = match parts.next() {
        Some(minutes) => minutes?,
        None => 0,
    };
    Some((sign * (hours * 3_600 + minutes * 60), rest))
}
