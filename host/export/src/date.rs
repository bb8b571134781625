//! Days of times.

/// The day of a time in UTC, `YYYY-MM-DD`; `None` beyond the year 9999.
pub(crate) fn day(seconds: u64) -> Option<String> {
    // Howard Hinnant's `civil_from_days`, for days since 1970 alone.
    let days = seconds / 86_400 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year <= 9999).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

#[cfg(test)]
mod tests {
    use super::day;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, Some("1970-01-01")),
            (86_399, Some("1970-01-01")),
            (951_782_400, Some("2000-02-29")),
            (951_868_800, Some("2000-03-01")),
            (4_107_542_399, Some("2100-02-28")),
            (4_107_542_400, Some("2100-03-01")),
            (1_796_005_316, Some("2026-11-30")),
            (253_402_300_799, Some("9999-12-31")),
            (253_402_300_800, None),
            (u64::MAX, None),
        ] {
            assert_eq!(day(seconds).as_deref(), expected, "{seconds}");
        }
    }
}
