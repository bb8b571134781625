//! The rule of a time zone: an offset, or two with the changes of clocks between them.

use super::DAY;
use super::calendar::{civil_from_days, days_from_civil};

/// The rule of a time zone. Offsets are in minutes ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    standard: i16,
    /// The other time of the year, where there is one.
    other: Option<Other>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Other {
    offset: i16,
    begins: Change,
    ends: Change,
}

/// A change of clocks: on a day of the week of a month, at a time by the clock before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    month: u8,
    /// The first to fourth, or the last: 5.
    week: u8,
    /// The day of the week, from Sunday: 0.
    weekday: u8,
    /// Minutes after midnight; negative before it, and beyond a day after it.
    minutes: i16,
}

/// The rule of a zone whose clocks are never changed.
pub(super) const fn fixed(standard: i16) -> Rule {
    Rule { standard, other: None }
}

/// The rule of a zone whose clocks are changed twice a year.
pub(super) const fn changing(standard: i16, offset: i16, begins: Change, ends: Change) -> Rule {
    Rule { standard, other: Some(Other { offset, begins, ends }) }
}

/// A change of clocks.
pub(super) const fn at(month: u8, week: u8, weekday: u8, minutes: i16) -> Change {
    Change { month, week, weekday, minutes }
}

impl Rule {
    /// The offset in seconds at a time in seconds since 1970.
    pub(super) fn offset_at(&self, at: i64) -> i64 {
        let standard = i64::from(self.standard) * 60;
        let Some(Other { offset, begins, ends }) = self.other else { return standard };
        let offset = i64::from(offset) * 60;
        let (year, _, _) = civil_from_days((at + standard).div_euclid(DAY));
        let (begins, ends) = (begins.of_year(year) - standard, ends.of_year(year) - offset);
        let is_other = match begins < ends {
            true => begins <= at && at < ends,
            // Over the turn of the year.
            false => at < ends || begins <= at,
        };
        if is_other { offset } else { standard }
    }
}

impl Change {
    /// The change of a year, in seconds since 1970 by the clock before it.
    fn of_year(self, year: i64) -> i64 {
        let month = i64::from(self.month);
        let first = days_from_civil(year, month, 1);
        // 1970-01-01 was a Thursday: 4.
        let weekday = (first + 4).rem_euclid(7);
        let after = (i64::from(self.weekday) - weekday).rem_euclid(7);
        let mut day = first + after + 7 * (i64::from(self.week) - 1);
        // No rule changes clocks in December.
        if day >= days_from_civil(year, month + 1, 1) {
            day -= 7;
        }
        day * DAY + i64::from(self.minutes) * 60
    }
}
