//! Restricts tokens to windows of the week and to times outside of freezes; none outlives its window.

mod time;

use std::collections::BTreeSet;

use countersign_policy::serde::de::{Deserialize, Deserializer, Error};
use countersign_policy::{Behavior, Grant, Run, Token, Verdict, policy, settings};
pub use time::{ClockTime, Instant};

const DAY: u64 = 86_400;
const WEEK: u64 = 7 * DAY;

/// Windows and freezes. All times are UTC; the token's time of issue is compared.
#[settings]
pub struct Settings {
    /// The windows of the week. Without any, every time outside of a freeze is open.
    #[serde(default)]
    windows: Vec<Window>,
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
            format!("no change window is open at {}", Instant(now)),
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
    let longest = |at| settings.windows.iter().filter_map(|window| window.remaining(at)).max();
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
    fn remaining(&self, at: u64) -> Option<u64> {
        // 1970-01-01 was a Thursday; weeks are counted from Monday.
        let time_of_week = (at + 3 * DAY) % WEEK;
        let (from, to) = (self.from.seconds(), self.to.seconds());
        let length = if to > from { to - from } else { to + DAY - from };
        self.days
            .iter()
            .filter_map(|day| {
                let opens = *day as u64 * DAY + from;
                let open_since = (time_of_week + WEEK - opens) % WEEK;
                length.checked_sub(open_since).filter(|left| *left > 0)
            })
            .max()
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
