//! Local times of IANA time zones, by the database that is part of each engine, so that its digest names it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};

use crate::did_you_mean;

/// The last second that is in the year 9999 in every zone: 9999-12-30, 22:00 UTC.
const LAST_SECOND: i64 = 253_402_207_200;

/// The zones that were asked for. A policy decides on samples when it is configured, so that those which it names are part
/// of the memory that an evaluation begins with, and are not read from the database again.
static KNOWN: Mutex<BTreeMap<String, TimeZone>> = Mutex::new(BTreeMap::new());

/// A date and a time of day by the clocks of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The year.
    pub year: i64,
    /// The month: 1 to 12.
    pub month: i64,
    /// The day of the month: 1 to 31.
    pub day: i64,
    /// The day of the year: 1 to 366.
    pub day_of_year: i64,
    /// The day of the week: 1, a Monday, to 7.
    pub weekday: i64,
    /// The hour: 0 to 23.
    pub hour: i64,
    /// The minute: 0 to 59.
    pub minute: i64,
    /// The second: 0 to 59.
    pub second: i64,
    /// The seconds by which the clocks are ahead of UTC.
    pub offset: i64,
}

/// The local time in a zone at a time in seconds since 1970.
///
/// # Errors
/// When there is no such zone, or the time is before 1970 or in the last day of the year 9999.
pub fn local_time(zone: &str, seconds: i64) -> Result<LocalTime, String> {
    let zone = find(zone)?;
    let time = Timestamp::from_second(seconds)
        .ok()
        .filter(|_| (0..=LAST_SECOND).contains(&seconds))
        .ok_or_else(|| {
            format!("expected a time from 1970 to 9999, in seconds since 1970, found {seconds}")
        })?;
    let local = time.to_zoned_datetime(zone);
    Ok(LocalTime {
        year: local.year().into(),
        month: local.month().into(),
        day: local.day().into(),
        day_of_year: local.day_of_year().into(),
        weekday: local.weekday().to_monday_one_offset().into(),
        hour: local.hour().into(),
        minute: local.minute().into(),
        second: local.second().into(),
        offset: local.offset().seconds().into(),
    })
}

/// The seconds since 1970 of a time with its offset from UTC, such as `2026-12-24T18:00:00+01:00`.
///
/// # Errors
/// When it is no such time.
pub fn rfc3339(text: &str) -> Result<i64, String> {
    let time: Result<Timestamp, _> = text.parse();
    time.map(Timestamp::as_second)
        .map_err(|_| format!("expected a time like `2026-12-24T18:00:00Z`, found `{text}`"))
}

/// Finds a zone by its name, in the spelling of the database.
///
/// # Errors
/// When there is none of the name, with a message that has the nearest one.
pub fn find(name: &str) -> Result<TimeZone, String> {
    if let Ok(known) = KNOWN.lock()
        && let Some(zone) = known.get(name)
    {
        return Ok(zone.clone());
    }
    // The database would take `europe/berlin` too: one name, one spelling, as in the other languages.
    let found = TimeZone::get(name).ok().filter(|zone| zone.iana_name() == Some(name));
    let zone = found.ok_or_else(|| unknown(name))?;
    if let Ok(mut known) = KNOWN.lock() {
        known.insert(name.to_owned(), zone.clone());
    }
    Ok(zone)
}

fn unknown(name: &str) -> String {
    let city = |name: &str| name.rsplit('/').next().unwrap_or(name).replace([' ', '-'], "_");
    let names: Vec<String> = tz::db().available().map(|name| name.to_string()).collect();
    let same_city = names
        .iter()
        .find(|known| !name.is_empty() && city(known).eq_ignore_ascii_case(&city(name)));
    let hint = match same_city {
        Some(known) => format!("; did you mean `{known}`?"),
        None => did_you_mean(name, names.iter().map(String::as_str)),
    };
    format!("there is no time zone `{name}`, expected one like `Europe/Berlin`{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(zone: &str, seconds: i64) -> String {
        let LocalTime { year, month, day, weekday, hour, minute, second, offset, .. } =
            local_time(zone, seconds).expect(zone);
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {weekday} {offset}")
    }

    /// The two nights of a year.
    #[test]
    fn clocks_are_changed_in_two_nights() {
        for (zone, seconds, expected) in [
            ("Europe/Berlin", 1_806_195_599, "2027-03-28 01:59:59 7 3600"),
            ("Europe/Berlin", 1_806_195_600, "2027-03-28 03:00:00 7 7200"),
            ("Europe/Berlin", 1_824_944_399, "2027-10-31 02:59:59 7 7200"),
            ("Europe/Berlin", 1_824_944_400, "2027-10-31 02:00:00 7 3600"),
            ("America/New_York", 1_805_007_599, "2027-03-14 01:59:59 7 -18000"),
            ("America/New_York", 1_805_007_600, "2027-03-14 03:00:00 7 -14400"),
            ("Asia/Kolkata", 1_790_000_000, "2026-09-21 19:43:20 1 19800"),
            ("UTC", 0, "1970-01-01 00:00:00 4 0"),
            ("UTC", LAST_SECOND, "9999-12-30 22:00:00 4 0"),
        ] {
            assert_eq!(shown(zone, seconds), expected, "{zone} at {seconds}");
        }
        assert_eq!(local_time("UTC", 1_735_603_200).map(|local| local.day_of_year), Ok(366));
    }

    #[test]
    fn what_is_no_zone_or_no_time_is_said() {
        for (zone, hint) in [
            ("europe/berlin", "; did you mean `Europe/Berlin`?"),
            ("Berlin", "; did you mean `Europe/Berlin`?"),
            ("America/New York", "; did you mean `America/New_York`?"),
            ("Europe/Berlim", "; did you mean `Europe/Berlin`?"),
            ("Local", ""),
            ("", ""),
        ] {
            let expected =
                format!("there is no time zone `{zone}`, expected one like `Europe/Berlin`");
            let found = find(zone).err().unwrap_or_default();
            assert!(found.starts_with(&expected) && found.ends_with(hint), "{found}");
        }
        for seconds in [-1, LAST_SECOND + 1, i64::MAX] {
            let found = local_time("UTC", seconds).err().unwrap_or_default();
            assert!(found.ends_with(&format!("found {seconds}")), "{found}");
        }
    }
}
