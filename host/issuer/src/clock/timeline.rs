//! The course of the system's clock beside the monotonic one.

use super::{ClockError, SystemClock};

/// The readings of a clock. All times are in seconds: those of the clock since 1970, `elapsed` on the monotonic clock since
/// the process started.
#[derive(Debug)]
pub(super) struct Timeline {
    /// The latest time that was given.
    latest: u64,
    /// The line that the clock is believed to run on; `None` before the first reading.
    believed: Option<Line>,
    /// The line that no jump leaves any more.
    settled: Line,
    /// The time at which the clock was last found to be on another line than the settled one.
    left_at: Option<u64>,
    /// A line that the clock has jumped to, and is not believed yet.
    jump: Option<Jump>,
}

/// A clock that runs as the monotonic one does.
#[derive(Debug, Clone, Copy)]
struct Line {
    time: u64,
    elapsed: u64,
}

#[derive(Debug, Clone, Copy)]
struct Jump {
    to: Line,
    since: u64,
}

impl Line {
    fn at(self, elapsed: u64) -> u64 {
        self.time.saturating_add(elapsed.saturating_sub(self.elapsed))
    }

    /// True when a reading is where the line leads, within the tolerance.
    fn has(self, read: u64, elapsed: u64) -> bool {
        self.at(elapsed).abs_diff(read) <= SystemClock::TOLERANCE
    }
}

impl Timeline {
    /// Begins at a floor, which the time is never before.
    pub(super) fn from(floor: u64) -> Self {
        let settled = Line { time: floor, elapsed: 0 };
        Self { latest: floor, believed: None, settled, left_at: None, jump: None }
    }

    /// Takes a reading, and gives the time.
    pub(super) fn observe(&mut self, read: u64, elapsed: u64) -> Result<u64, ClockError> {
        let time = self.placed(read, elapsed)?;
        self.settle(elapsed);
        Ok(time)
    }

    /// The time that no jump of the last day has a part in.
    pub(super) fn settled(&self, elapsed: u64) -> u64 {
        self.settled.at(elapsed).min(self.latest)
    }

    /// The seconds by which the believed time is ahead of the settled one.
    pub(super) fn unsettled(&self, elapsed: u64) -> u64 {
        self.latest.saturating_sub(self.settled.at(elapsed))
    }

    fn placed(&mut self, read: u64, elapsed: u64) -> Result<u64, ClockError> {
        let Some(believed) = self.believed else {
            if self.latest == 0 {
                self.settled = Line { time: read, elapsed };
            }
            // The first reading has nothing to be compared with but the floor.
            let seconds = self.latest.saturating_sub(read);
            if seconds > SystemClock::TOLERANCE {
                return Err(ClockError::WentBack { seconds });
            }
            return Ok(self.run_on(read, elapsed));
        };
        if believed.has(read, elapsed) {
            self.jump = None;
            let seconds = self.latest.saturating_sub(read);
            if seconds > SystemClock::TOLERANCE {
                return Err(ClockError::WentBack { seconds });
            }
            // Slow drift and small steps are followed.
            return Ok(self.run_on(read, elapsed));
        }
        let jump = match self.jump {
            Some(jump) if jump.to.has(read, elapsed) => jump,
            _ => Jump { to: Line { time: read, elapsed }, since: elapsed },
        };
        self.jump = Some(jump);
        let confirmed = elapsed.saturating_sub(jump.since) >= SystemClock::CONFIRMED_AFTER;
        if read > self.latest {
            if confirmed {
                return Ok(self.run_on(read, elapsed));
            }
            let seconds = read.saturating_sub(believed.at(elapsed));
            return Err(ClockError::JumpedAhead { seconds });
        }
        // Back to where it came from: a jump ahead that is not settled is taken back.
        if confirmed && read.saturating_add(SystemClock::TOLERANCE) >= self.settled.at(elapsed) {
            self.latest = read;
            return Ok(self.run_on(read, elapsed));
        }
        Err(ClockError::WentBack { seconds: self.latest - read })
    }

    /// Believes a reading.
    fn run_on(&mut self, read: u64, elapsed: u64) -> u64 {
        self.believed = Some(Line { time: read, elapsed });
        self.jump = None;
        self.latest = self.latest.max(read);
        self.latest
    }

    /// Settles on the believed line: at once where it is the settled one, and otherwise when it has been another one for
    /// long enough.
    fn settle(&mut self, elapsed: u64) {
        let Some(believed) = self.believed else { return };
        let left = self.settled.at(elapsed).saturating_add(SystemClock::TOLERANCE) < self.latest;
        let since = match (left, self.left_at) {
            (false, _) => {
                self.left_at = None;
                elapsed.saturating_sub(SystemClock::SETTLED_AFTER)
            }
            (true, Some(since)) => since,
            (true, None) => {
                self.left_at = Some(elapsed);
                elapsed
            }
        };
        if !left || elapsed.saturating_sub(since) >= SystemClock::SETTLED_AFTER {
            let time = believed.at(elapsed).max(self.settled.at(elapsed)).min(self.latest);
            self.settled = Line { time, elapsed };
            self.left_at = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_800_000_000;

    fn running() -> Timeline {
        let mut timeline = Timeline::from(START);
        assert_eq!(timeline.observe(START, 0), Ok(START));
        timeline
    }

    #[test]
    fn a_clock_never_goes_back_by_itself() {
        let mut timeline = running();
        assert_eq!(timeline.observe(START + 10, 10), Ok(START + 10));
        assert_eq!(timeline.observe(START + 9, 10), Ok(START + 10));
        assert_eq!(timeline.observe(START - 50, 10), Ok(START + 10));
        let back = timeline.observe(START - 51, 10);
        assert_eq!(back, Err(ClockError::WentBack { seconds: 61 }));
        assert_eq!(timeline.observe(START + 11, 11), Ok(START + 11));
    }

    #[test]
    fn a_clock_that_is_ahead_for_a_moment_leaves_no_trace() {
        for (ahead, moment) in [(7_200, 1), (172_800, 17), (34_560_000, 59)] {
            let mut timeline = running();
            let (at, error) = (100, ClockError::JumpedAhead { seconds: ahead });
            assert_eq!(timeline.observe(START + at + ahead, at), Err(error));
            let still = timeline.observe(START + at + moment + ahead, at + moment);
            assert_eq!(still, Err(error), "{moment}");
            assert_eq!(timeline.settled(at + moment), START);
            assert_eq!(timeline.observe(START + 200, 200), Ok(START + 200), "as before");
            assert_eq!(timeline.settled(200), START + 200);
        }
    }

    #[test]
    fn a_jump_that_lasts_is_believed_and_settled_a_day_later() {
        let mut timeline = running();
        let ahead = 400 * 86_400;
        assert!(timeline.observe(START + 5 + ahead, 5).is_err());
        assert_eq!(timeline.observe(START + 65 + ahead, 65), Ok(START + 65 + ahead));
        assert_eq!(timeline.settled(65), START + 65, "nothing is forgotten by it");
        assert_eq!(timeline.unsettled(65), ahead);
        let day = 65 + SystemClock::SETTLED_AFTER;
        assert_eq!(timeline.observe(START + day - 1 + ahead, day - 1), Ok(START + day - 1 + ahead));
        assert_eq!(timeline.settled(day - 1), START + day - 1);
        assert_eq!(timeline.observe(START + day + ahead, day), Ok(START + day + ahead));
        assert_eq!(timeline.settled(day), START + day + ahead);
        assert_eq!(timeline.unsettled(day), 0);
    }

    #[test]
    fn a_jump_that_was_believed_is_taken_back_until_it_is_settled() {
        let mut timeline = running();
        assert!(timeline.observe(START + 5 + 7_200, 5).is_err());
        assert!(timeline.observe(START + 65 + 7_200, 65).is_ok());
        let back = timeline.observe(START + 100, 100);
        assert_eq!(back, Err(ClockError::WentBack { seconds: 7_165 }));
        assert_eq!(timeline.observe(START + 160, 160), Ok(START + 160), "without a person");
        assert_eq!(timeline.unsettled(160), 0);
        // To before the jump, never to before what is settled.
        assert!(timeline.observe(START, 200).is_err());
        assert!(timeline.observe(START + 100, 300).is_err());
    }

    #[test]
    fn a_clock_that_runs_slower_or_faster_is_followed() {
        for (of, per) in [(1001, 1000), (999, 1000)] {
            let mut timeline = running();
            let mut last = START;
            for elapsed in (0..2_000_000).step_by(1_000) {
                let read = START + elapsed * of / per;
                last = timeline.observe(read, elapsed).unwrap_or_default();
                assert_eq!(last, read);
            }
            let settled = timeline.settled(1_999_000);
            assert!(last.abs_diff(settled) <= SystemClock::TOLERANCE, "{}", last.abs_diff(settled));
        }
    }

    #[test]
    fn a_clock_behind_its_floor_is_right_when_it_has_caught_up() {
        let mut timeline = Timeline::from(START);
        assert!(timeline.observe(START - 61, 0).is_err());
        assert_eq!(timeline.observe(START - 60, 1), Ok(START));
        assert_eq!(timeline.observe(START + 5, 66), Ok(START + 5));
    }
}
