//! Dates of the Gregorian calendar as days since 1970-01-01: the algorithms of Howard Hinnant. Years begin in March, so that
//! the day that some of them lack is their last.

/// The days from 0000-03-01 to 1970-01-01.
const ERA_TO_EPOCH: i64 = 719_468;

/// The days of an era of 400 years.
const ERA: i64 = 146_097;

/// The days since 1970-01-01 of a date.
pub(super) fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * ERA + of_era * 365 + of_era / 4 - of_era / 100 + of_year - ERA_TO_EPOCH
}

/// The year, month and day of a date.
pub(super) fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + ERA_TO_EPOCH;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}
