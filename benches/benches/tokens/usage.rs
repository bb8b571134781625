//! The use of the processors by one process, of all its threads.

use std::fs;

/// A second has so many of the units in `/proc/PID/stat`: `USER_HZ`, which Linux fixes for all programs.
const TICKS: f64 = 100.0;

/// The use of the processors since a process began, or between two times.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Usage {
    /// In the program and in the kernel on its behalf, in seconds.
    pub(crate) cpu_seconds: f64,
    /// Switches to another thread, of the threads that are still there.
    pub(crate) switches: f64,
}

impl Usage {
    /// The use so far of the process `pid`, or of `self`.
    pub(crate) fn of(pid: &str) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("Linux' /proc");
        // The name before the last bracket may hold anything; the fourteenth field and the next are the times.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let times = fields.split(' ').skip(11).take(2);
        let ticks: f64 = times.map(|time| time.parse::<f64>().expect("a time")).sum();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("its threads");
        let switches = threads.flatten().filter_map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).ok()?;
            let counts = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            Some(counts.filter_map(|(_, count)| count.trim().parse::<f64>().ok()).sum::<f64>())
        });
        Self { cpu_seconds: ticks / TICKS, switches: switches.sum() }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            switches: self.switches - before.switches,
        }
    }
}
