//! Time zones: local times of a place, with a database that is part of the component.

mod calendar;
mod rule;
mod zones;

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error};

use self::calendar::{civil_from_days, days_from_civil};
use self::rule::Rule;
use self::zones::ZONES;
use crate::settings::cut;

const DAY: i64 = 86_400;

/// A time zone by its IANA name, such as `Europe/Berlin`.
///
/// The database is that of tzdata 2026f and part of the component, so that the same time is the same local time on every host:
/// a change of the law needs another component. It has the rules from December 2026 on, and no history. `Africa/Casablanca`, `Africa/El_Aaiun`,
/// `America/Havana`, `Asia/Gaza` and `Asia/Hebron`, whose clocks follow no rule yet, are not in it.
///
/// ```
/// # use countersign_policy::{LocalTime, TimeZone};
/// let berlin = TimeZone::parse("Europe/Berlin").unwrap();
/// let local = berlin.local(1_790_000_000);
/// assert_eq!(local, LocalTime { year: 2026, month: 9, day: 21, weekday: 1, seconds: 58_400 });
/// assert_eq!((local.hour(), local.minute()), (16, 13));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZone {
    name: Box<str>,
    rule: Rule,
}

/// A local date and time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime {
    /// The year.
    pub year: i64,
    /// The month: 1 to 12.
    pub month: u8,
    /// The day of the month: 1 to 31.
    pub day: u8,
    /// The day of the week: 1, a Monday, to 7.
    pub weekday: u8,
    /// The seconds since midnight by the clock, 0 to 86,399. Nights in which the clock is changed have more or fewer.
    pub seconds: u32,
}

impl TimeZone {
    /// The version of the database, as its maintainers name it.
    pub const DATABASE: &str = "2026f";

    /// Coordinated Universal Time.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC".into(), rule: rule::fixed(0) }
    }

    /// Finds a time zone by its name, in the spelling of the database.
    ///
    /// # Errors
    /// When there is none of the name, with a message that has the nearest one.
    pub fn parse(name: &str) -> Result<Self, String> {
        let mut near = None;
        for (rule, names) in &ZONES {
            // By hand: searching for single characters by the library takes kilobytes of a component.
            let (mut group, mut region_end, mut start) = (0, 0, 0);
            for at in 0..=names.len() {
                let byte = names.as_bytes().get(at);
                if byte == Some(&b'/') {
                    (region_end, start) = (at, at + 1);
                } else if matches!(byte, None | Some(b',' | b' ')) {
                    let region = names.get(group..region_end).unwrap_or_default();
                    let city = names.get(start..at).unwrap_or_default();
                    if is_name(name, region, city) {
                        return Ok(Self { name: name.into(), rule: *rule });
                    }
                    if is_like(name, city) {
                        near = Some((region, city));
                    }
                    start = at + 1;
                    if byte == Some(&b' ') {
                        (group, region_end) = (at + 1, at + 1);
                    }
                }
            }
        }
        let mut message = "expected a time zone like `Europe/Berlin`, found `".to_owned();
        message.push_str(cut(name));
        message.push('`');
        if let Some((region, city)) = near {
            message.push_str("; did you mean `");
            message.push_str(region);
            message.push_str(if region.is_empty() { "" } else { "/" });
            message.push_str(city);
            message.push_str("`?");
        }
        Err(message)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The seconds that local time is ahead of UTC at a time in seconds since 1970.
    fn offset_at(&self, at: u64) -> i64 {
        self.rule.offset_at(signed(at))
    }

    /// The local time at a time in seconds since 1970.
    #[must_use]
    pub fn local(&self, at: u64) -> LocalTime {
        let local = signed(at) + self.offset_at(at);
        let (days, seconds) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = civil_from_days(days);
        // 1970-01-01 was a Thursday.
        let weekday = (days + 3).rem_euclid(7) + 1;
        LocalTime {
            year,
            month: small(month),
            day: small(day),
            weekday: small(weekday),
            seconds: u32::try_from(seconds).unwrap_or_default(),
        }
    }

    /// The time in seconds since 1970 at which clocks show so many seconds after midnight, so many days after a date; 0 for a
    /// time before 1970.
    ///
    /// Where clocks show it twice, it is the first time. Where they skip it, it is as much later as they skip: half past two
    /// is half past three. So is it in RFC 5545.
    #[must_use]
    pub fn instant(&self, date: LocalTime, days: i64, seconds: u32) -> u64 {
        let days = days_from_civil(date.year, date.month.into(), date.day.into()) + days;
        let local = days * DAY + i64::from(seconds);
        let (before, after) = (self.rule.offset_at(local - DAY), self.rule.offset_at(local + DAY));
        let (first, second) = (local - before, local - after);
        let at = if self.rule.offset_at(first) == before || self.rule.offset_at(second) != after {
            first
        } else {
            second
        };
        u64::try_from(at).unwrap_or_default()
    }
}

impl LocalTime {
    /// The hour by the clock: 0 to 23.
    #[must_use]
    pub fn hour(self) -> u32 {
        self.seconds / 3_600
    }

    /// The minute by the clock: 0 to 59.
    #[must_use]
    pub fn minute(self) -> u32 {
        self.seconds / 60 % 60
    }
}

impl Default for TimeZone {
    fn default() -> Self {
        Self::utc()
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for TimeZone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(D::Error::custom)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for TimeZone {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TimeZone".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "examples": ["Europe/Berlin", "UTC"]})
    }
}

/// Tells whether a name is that of a city in a region, or of a zone without one.
fn is_name(name: &str, region: &str, city: &str) -> bool {
    match name.strip_suffix(city) {
        Some("") => region.is_empty(),
        Some(before) => before.strip_suffix('/') == Some(region) && !region.is_empty(),
        None => false,
    }
}

/// Tells whether a name ends in a city but for its case and spaces for underscores.
fn is_like(name: &str, city: &str) -> bool {
    let plain = |byte: &u8| if *byte == b' ' { b'_' } else { byte.to_ascii_lowercase() };
    let bytes = name.as_bytes();
    let Some((before, end)) = bytes.len().checked_sub(city.len()).map(|at| bytes.split_at(at))
    else {
        return false;
    };
    let is_whole = before.is_empty() || before.ends_with(b"/");
    is_whole && end.iter().map(plain).eq(city.as_bytes().iter().map(plain))
}

fn signed(at: u64) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX / 2)
}

fn small(number: i64) -> u8 {
    u8::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        TimeZone::parse(name).unwrap()
    }

    fn shown(local: LocalTime) -> String {
        let LocalTime { year, month, day, weekday, seconds } = local;
        let (hour, minute, second) = (local.hour(), local.minute(), seconds % 60);
        format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} {weekday}")
    }

    #[test]
    fn every_zone_of_the_database_is_found() {
        let mut count = 0;
        for (rule, names) in &ZONES {
            for group in names.split(' ') {
                let (region, cities) = group.rsplit_once('/').unwrap_or(("", group));
                for city in cities.split(',') {
                    let name = if region.is_empty() {
                        city.to_owned()
                    } else {
                        format!("{region}/{city}")
                    };
                    assert_eq!(zone(&name).rule, *rule, "{name}");
                    count += 1;
                }
            }
        }
        assert!(count > 400, "{count}");
        assert_eq!(zone("UTC"), TimeZone::utc());
        let source = include_str!("time_zone/zones.rs");
        assert!(source.contains(&format!("tzdata {}", TimeZone::DATABASE)));
    }

    /// The two nights of a year, in zones whose clocks change in ways of their own.
    #[test]
    fn clocks_are_changed_in_two_nights() {
        for (name, at, expected) in [
            // 2027-03-28, 01:00 UTC.
            ("Europe/Berlin", 1_806_195_599, "2027-03-28 01:59:59 7"),
            ("Europe/Berlin", 1_806_195_600, "2027-03-28 03:00:00 7"),
            // 2027-10-31, 01:00 UTC.
            ("Europe/Berlin", 1_824_944_399, "2027-10-31 02:59:59 7"),
            ("Europe/Berlin", 1_824_944_400, "2027-10-31 02:00:00 7"),
            ("Europe/London", 1_806_195_600, "2027-03-28 02:00:00 7"),
            ("Europe/Dublin", 1_806_195_599, "2027-03-28 00:59:59 7"),
            ("Europe/Dublin", 1_806_195_600, "2027-03-28 02:00:00 7"),
            ("Europe/Dublin", 1_824_944_400, "2027-10-31 01:00:00 7"),
            // 2027-03-14, 07:00 UTC and 2027-11-07, 06:00 UTC.
            ("America/New_York", 1_805_007_599, "2027-03-14 01:59:59 7"),
            ("America/New_York", 1_805_007_600, "2027-03-14 03:00:00 7"),
            ("America/New_York", 1_825_567_199, "2027-11-07 01:59:59 7"),
            ("America/New_York", 1_825_567_200, "2027-11-07 01:00:00 7"),
            // South of the equator: summer over the turn of the year.
            ("Australia/Sydney", 1_798_761_600, "2027-01-01 11:00:00 5"),
            ("Australia/Sydney", 1_806_768_000, "2027-04-04 02:00:00 7"),
            ("Asia/Kolkata", 1_790_000_000, "2026-09-21 19:43:20 1"),
            ("Asia/Tehran", 1_790_000_000, "2026-09-21 17:43:20 1"),
            ("America/St_Johns", 1_790_000_000, "2026-09-21 11:43:20 1"),
            ("Pacific/Kiritimati", 1_790_000_000, "2026-09-22 04:13:20 2"),
            ("UTC", 1_790_000_000, "2026-09-21 14:13:20 1"),
        ] {
            assert_eq!(shown(zone(name).local(at)), expected, "{name} at {at}");
        }
    }

    #[test]
    fn a_local_time_is_one_instant() {
        let berlin = zone("Europe/Berlin");
        let check = |noon: u64, days, seconds, expected: u64| {
            assert_eq!(berlin.instant(berlin.local(noon), days, seconds), expected, "{seconds}");
        };
        let (spring, autumn) = (1_806_195_600, 1_824_944_400);
        // 02:30 is skipped, and is 03:30; 03:00 is the moment of the change.
        check(spring + 36_000, 0, 9_000, spring + 1_800);
        check(spring + 36_000, 0, 10_800, spring);
        check(spring + 36_000, 0, 7_199, spring - 1);
        // 02:30 comes twice, and is the first.
        check(autumn + 36_000, 0, 9_000, autumn - 1_800);
        check(autumn + 36_000, 0, 10_800, autumn + 3_600);
        // The day has 25 hours.
        let midnight = |days| berlin.instant(berlin.local(autumn + 36_000), days, 0);
        assert_eq!(midnight(1) - midnight(0), 25 * 3_600);
    }

    #[test]
    fn what_is_no_zone_is_said_with_the_nearest() {
        for (name, expected) in [
            (
                "europe/berlin",
                "expected a time zone like `Europe/Berlin`, found `europe/berlin`; did you mean `Europe/Berlin`?",
            ),
            (
                "Berlin",
                "expected a time zone like `Europe/Berlin`, found `Berlin`; did you mean `Europe/Berlin`?",
            ),
            (
                "America/New York",
                "expected a time zone like `Europe/Berlin`, found `America/New York`; did you mean `America/New_York`?",
            ),
            ("gmt", "expected a time zone like `Europe/Berlin`, found `gmt`; did you mean `GMT`?"),
            ("CEST", "expected a time zone like `Europe/Berlin`, found `CEST`"),
            ("", "expected a time zone like `Europe/Berlin`, found ``"),
        ] {
            assert_eq!(TimeZone::parse(name), Err(expected.to_owned()));
        }
    }
}
