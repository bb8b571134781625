//! Restricts tokens to windows of the week and to times outside of freezes; none outlives its window.

mod time;

use std::collections::BTreeSet;

use countersign_policy::serde::de::{Deserialize, Deserializer, Error};
use countersign_policy::{Behavior, Grant, Run, TimeZone, Token, Verdict, policy, settings};
pub use time::{ClockTime, Instant};

/// Windows and freezes. Freezes are in UTC, windows in a time zone; the token's time of issue is compared.
#[settings]
pub struct Settings {
    /// The windows of the week. Without any, every time outside of a freeze is open.
    #[serde(default)]
    windows: Vec<Window>,
    /// The time zone of the windows, by its IANA name: `Europe/Berlin`. Default: UTC.
    #[serde(default)]
    time_zone: TimeZone,
    /// Periods without changes. A freeze takes precedence over a window.
    #[serde(default, deserialize_with = "freezes")]
    freezes: Vec<Freeze>,
    /// The behaviors that are restricted. Default: APPLY and DESTROY. Others are not.
    #[serde(default = "changes")]
    behaviors: BTreeSet<Behavior>,
}

/// A period that recurs on days of the week.
#[settings]
pub struct Window {
    /// The days on which the window opens.
    days: BTreeSet<Weekday>,
    /// The opening time: `HH:MM`, from `00:00`.
    from: ClockTime,
    /// The closing time: `HH:MM`, to `24:00`; on the next day unless it is after `from`.
    to: ClockTime,
}

/// A period without changes.
#[settings]
pub struct Freeze {
    /// The start: `2026-12-20T00:00:00Z`.
    from: Instant,
    /// The end, exclusive.
    to: Instant,
    /// The reason, for the message of a refused run.
    #[serde(default)]
    reason: Option<String>,
}

/// A day of the week.
#[settings]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names of days are documentation enough")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    if !settings.behaviors.contains(&run.behavior) {
        return Verdict::abstain();
    }
    let now = token.issued_at;
    if let Some(freeze) = settings.freezes.iter().find(|freeze| freeze.contains(now)) {
        let reason = freeze.reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        return Verdict::deny("change-freeze", format!("no changes until {}{reason}", freeze.to));
    }
    let ttl = u64::from(token.ttl_seconds);
    let Some(open) = open_for(settings, now, ttl) else {
        return Verdict::deny(
            "outside-change-window",
            format!(
                "no change window is open at {}, in {}",
                Instant(now),
                settings.time_zone.name()
            ),
        );
    };
    let next_freeze = settings.freezes.iter().filter_map(|freeze| freeze.from.0.checked_sub(now));
    let seconds = next_freeze.fold(open, u64::min);
    // A period that does not fit is longer than any token.
    let seconds = u32::try_from(seconds).unwrap_or(token.ttl_seconds);
    Grant::new().ttl_at_most(seconds, token).restrict()
}

/// The seconds that windows stay open from `now` on, counted up to `enough`; `None` when none
/// is open. Windows that follow each other without a gap are one.
fn open_for(settings: &Settings, now: u64, enough: u64) -> Option<u64> {
    if settings.windows.is_empty() {
        return Some(enough);
    }
    let zone = &settings.time_zone;
    let longest =
        |at| settings.windows.iter().filter_map(|window| window.remaining(zone, at)).max();
    let mut open = longest(now)?;
    while open < enough
        && let Some(more) = longest(now + open)
    {
        open += more;
    }
    Some(open)
}

impl Window {
    /// Seconds until the window closes, when it is open at this time: at least 1.
    fn remaining(&self, zone: &TimeZone, at: u64) -> Option<u64> {
        let (today, from, to) = (zone.local(at), self.from.seconds(), self.to.seconds());
        // It may have opened yesterday: none is longer than a day.
        let remaining = [-1, 0].into_iter().filter_map(|day| {
            let weekday = (i64::from(today.weekday) - 1 + day).rem_euclid(7);
            if !self.days.iter().any(|open| i64::from(*open as u8) == weekday) {
                return None;
            }
            let closing_day = if to > from { day } else { day + 1 };
            let opens = zone.instant(today, day, from);
            let closes = zone.instant(today, closing_day, to);
            closes.checked_sub(at).filter(|left| *left > 0 && opens <= at)
        });
        remaining.max()
    }
}

impl Freeze {
    fn contains(&self, at: u64) -> bool {
        (self.from.0..self.to.0).contains(&at)
    }
}

/// Rejects a freeze that ends before it begins: it would freeze nothing, and nobody would notice.
fn freezes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Freeze>, D::Error> {
    let freezes = Vec::<Freeze>::deserialize(deserializer)?;
    match freezes.iter().find(|freeze| freeze.from.0 >= freeze.to.0) {
        None => Ok(freezes),
        Some(Freeze { from, to, .. }) => Err(D::Error::custom(format_args!(
            "expected freezes that end after they begin, found one from {from} to {to}"
        ))),
    }
}

fn changes() -> BTreeSet<Behavior> {
    [Behavior::Apply, Behavior::Destroy].into()
}

#[cfg(test)]
mod tests {
    use countersign_policy::{parse_settings, testing};

    use super::*;

    /// The TTL granted at a time, of 7,200 seconds requested; 0 when denied.
    #[track_caller]
    fn check(settings: &str, cases: &[(&str, u32)]) {
        let settings: Settings = parse_settings(settings).unwrap();
        for (at, expected) in cases {
            let issued_at = Instant::parse(at).unwrap().0;
            let token = Token { issued_at, ..testing::token() };
            let granted = match evaluate(&settings, &testing::run(), &token) {
                Verdict::Restrict(grant) => grant.max_ttl.unwrap_or(token.ttl_seconds),
                _ => 0,
            };
            assert_eq!(granted, *expected, "{at}");
        }
    }

    #[test]
    fn a_window_has_edges() {
        check(
            r#"{"windows": [{"days": ["monday", "friday"], "from": "08:00", "to": "18:00"}]}"#,
            &[
                // 2026-09-21 is a Monday.
                ("2026-09-21T07:59:59Z", 0),
                ("2026-09-21T08:00:00Z", 7200),
                ("2026-09-21T17:00:00Z", 3600),
                ("2026-09-21T17:59:59Z", 1),
                ("2026-09-21T18:00:00Z", 0),
                ("2026-09-22T12:00:00Z", 0),
                ("2026-09-25T12:00:00Z", 7200),
            ],
        );
    }

    #[test]
    fn a_window_goes_past_midnight_and_past_the_week() {
        check(
            r#"{"windows": [{"days": ["sunday"], "from": "22:00", "to": "02:00"}]}"#,
            &[
                ("2026-09-20T21:59:59Z", 0),
                ("2026-09-20T23:00:00Z", 7200),
                ("2026-09-21T01:30:00Z", 1800),
                ("2026-09-21T02:00:00Z", 0),
            ],
        );
        check(
            r#"{"windows": [{"days": ["sunday"], "from": "12:00", "to": "12:00"}]}"#,
            &[("2026-09-21T11:00:00Z", 3600), ("2026-09-21T12:00:00Z", 0)],
        );
    }

    #[test]
    fn a_window_is_that_of_the_clocks_of_a_place() {
        let berlin =
            |windows: &str| format!(r#"{{"time-zone": "Europe/Berlin", "windows": [{windows}]}}"#);
        let mondays = berlin(r#"{"days": ["monday"], "from": "08:00", "to": "18:00"}"#);
        // The same hours by the clock, in summer and in winter.
        check(
            &mondays,
            &[
                ("2026-09-21T05:59:59Z", 0),
                ("2026-09-21T06:00:00Z", 7200),
                ("2026-09-21T15:00:00Z", 3600),
                ("2026-09-21T16:00:00Z", 0),
                ("2026-11-30T06:59:59Z", 0),
                ("2026-11-30T07:00:00Z", 7200),
                ("2026-11-30T16:59:59Z", 1),
            ],
        );
        // The nights in which clocks are changed: of 2027-03-28 at 01:00 UTC, and of 2027-10-31.
        let nights = berlin(r#"{"days": ["saturday"], "from": "22:00", "to": "04:00"}"#);
        check(
            &nights,
            &[
                ("2027-03-27T21:00:00Z", 7200),
                ("2027-03-28T00:30:00Z", 5400),
                ("2027-03-28T02:00:00Z", 0),
                ("2027-10-30T20:00:00Z", 7200),
                ("2027-10-31T01:30:00Z", 5400),
                ("2027-10-31T02:59:59Z", 1),
                ("2027-10-31T03:00:00Z", 0),
            ],
        );
        // 02:30 is skipped in the one, and comes twice in the other.
        let sundays = berlin(r#"{"days": ["sunday"], "from": "02:30", "to": "05:00"}"#);
        check(
            &sundays,
            &[
                ("2027-03-28T01:29:59Z", 0),
                ("2027-03-28T01:30:00Z", 5400),
                ("2027-10-31T00:29:59Z", 0),
                ("2027-10-31T00:30:00Z", 7200),
                ("2027-10-31T03:59:59Z", 1),
                ("2027-10-31T04:00:00Z", 0),
            ],
        );
        // A day has 23 hours, or 25.
        let days = berlin(r#"{"days": ["sunday"], "from": "00:00", "to": "24:00"}"#);
        check(
            &days,
            &[
                ("2027-03-27T22:59:59Z", 0),
                ("2027-03-28T21:59:59Z", 1),
                ("2027-10-31T22:59:59Z", 1),
                ("2027-10-31T23:00:00Z", 0),
            ],
        );
    }

    #[test]
    fn a_time_zone_has_the_name_of_one() {
        let json = r#"{"time-zone": "europe/berlin"}"#;
        assert_eq!(
            parse_settings::<Settings>(json).err().unwrap().to_string(),
            "/time-zone: expected a time zone like `Europe/Berlin`, found `europe/berlin`; did you mean \
             `Europe/Berlin`?"
        );
    }

    #[test]
    fn windows_without_a_gap_are_one() {
        check(
            r#"{"windows": [{"days": ["monday"], "from": "22:00", "to": "24:00"},
                            {"days": ["tuesday"], "from": "00:00", "to": "00:30"}]}"#,
            &[("2026-09-21T23:00:00Z", 5400), ("2026-09-21T23:59:59Z", 1801)],
        );
    }

    #[test]
    fn a_freeze_ends_after_it_begins() {
        let json =
            r#"{"freezes": [{"from": "2026-12-20T00:00:00Z", "to": "2026-12-20T00:00:00Z"}]}"#;
        assert_eq!(
            parse_settings::<Settings>(json).err().unwrap().to_string(),
            "/freezes: expected freezes that end after they begin, found one from \
             2026-12-20T00:00:00Z to 2026-12-20T00:00:00Z"
        );
    }

    #[test]
    fn a_freeze_goes_before_a_window_and_shortens_what_comes_before_it() {
        check(
            r#"{"freezes": [{"from": "2026-12-20T00:00:00Z", "to": "2027-01-07T00:00:00Z"}]}"#,
            &[
                ("2026-12-19T12:00:00Z", 7200),
                ("2026-12-19T23:00:00Z", 3600),
                ("2026-12-19T23:59:59Z", 1),
                ("2026-12-20T00:00:00Z", 0),
                ("2027-01-06T23:59:59Z", 0),
                ("2027-01-07T00:00:00Z", 7200),
            ],
        );
    }
}
