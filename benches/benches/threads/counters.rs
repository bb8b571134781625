//! Counters of the kernel: of a thread, by `/proc`; of a process, by `perf stat` where that is installed and allowed.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::work::Measured;

/// The use of the machine by one thread, or by several.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Thread {
    /// Time on a processor.
    pub(crate) nanoseconds: f64,
    /// The part of it that the kernel took, in ticks of a hundredth of a second.
    kernel_ticks: f64,
    user_ticks: f64,
    /// Switches to another thread because this one waited.
    pub(crate) waits: f64,
    /// Switches to another thread because its turn was over.
    pub(crate) preemptions: f64,
    pub(crate) page_faults: f64,
}

impl Thread {
    /// The calling thread's use so far.
    pub(crate) fn now() -> Self {
        let read = |file: &str| {
            fs::read_to_string(format!("/proc/thread-self/{file}")).expect("Linux' /proc")
        };
        let number =
            |text: Option<&str>| text.and_then(|text| text.parse().ok()).expect("a number");
        let status = read("status");
        let switches = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            number(line.map(str::trim))
        };
        let stat = read("stat");
        // The name before the last bracket may hold anything. After it: state, parent and so on.
        let (_, fields) = stat.rsplit_once(") ").expect("a name");
        let field = |place: usize| number(fields.split(' ').nth(place));
        Self {
            nanoseconds: number(read("schedstat").split(' ').next()),
            kernel_ticks: field(12),
            user_ticks: field(11),
            waits: switches("voluntary_ctxt_switches:"),
            preemptions: switches("nonvoluntary_ctxt_switches:"),
            page_faults: field(7) + field(9),
        }
    }

    /// The kernel's part of the time, as far as the ticks tell it.
    pub(crate) fn kernel_share(self) -> f64 {
        self.kernel_ticks / (self.kernel_ticks + self.user_ticks)
    }

    pub(crate) fn since(self, before: Self) -> Self {
        self.combine(before, |now, before| now - before)
    }

    pub(crate) fn and(self, other: Self) -> Self {
        self.combine(other, |one, other| one + other)
    }

    fn combine(self, other: Self, by: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            nanoseconds: by(self.nanoseconds, other.nanoseconds),
            kernel_ticks: by(self.kernel_ticks, other.kernel_ticks),
            user_ticks: by(self.user_ticks, other.user_ticks),
            waits: by(self.waits, other.waits),
            preemptions: by(self.preemptions, other.preemptions),
            page_faults: by(self.page_faults, other.page_faults),
        }
    }

    pub(crate) fn to_json(self) -> Value {
        let Self { nanoseconds, kernel_ticks, user_ticks, waits, preemptions, page_faults } = self;
        json!([nanoseconds, kernel_ticks, user_ticks, waits, preemptions, page_faults])
    }

    pub(crate) fn from_json(value: &Value) -> Self {
        let read: Vec<f64> = serde_json::from_value(value.clone()).expect("numbers");
        let [nanoseconds, kernel_ticks, user_ticks, waits, preemptions, page_faults] = read[..]
        else {
            panic!("as many as were written: {value}");
        };
        Self { nanoseconds, kernel_ticks, user_ticks, waits, preemptions, page_faults }
    }
}

/// Events that `perf` is asked for. The hardware's are missing on most virtual machines.
pub(crate) const EVENTS: [&str; 4] =
    ["raw_syscalls:sys_enter", "instructions", "cycles", "cache-misses"];

/// `perf stat`, attached to processes.
pub(crate) struct Perf(Child);

/// The counts of `perf` by event, without those that it cannot count here.
#[derive(Debug)]
pub(crate) struct Counts(pub(crate) BTreeMap<String, f64>);

impl Perf {
    /// Attaches to processes and their threads, where `perf` can be run.
    pub(crate) fn start(processes: &[String]) -> Option<Self> {
        let perf = Command::new("perf")
            .args(["stat", "--field-separator", ";", "--event", &EVENTS.join(","), "--pid"])
            .arg(processes.join(","))
            .stderr(Stdio::piped())
            .spawn()
            .ok()?;
        // It does not say when it has attached.
        std::thread::sleep(Duration::from_millis(500));
        Some(Self(perf))
    }

    /// Waits until the processes have ended.
    pub(crate) fn stop(self) -> Counts {
        let output = self.0.wait_with_output().expect("the end of `perf`");
        Counts::read(&String::from_utf8_lossy(&output.stderr))
    }
}

impl Counts {
    /// Lines of a count, a unit, and an event.
    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let mut fields = line.split(';');
            let count = fields.next()?.parse().ok()?;
            Some((fields.nth(1)?.to_owned(), count))
        });
        Self(lines.collect())
    }

    /// The counts of one decision. Those of the warm-up are counted as well.
    pub(crate) fn each(self, measured: &Measured) -> Self {
        let decisions = measured.warm + measured.decisions;
        Self(self.0.into_iter().map(|(event, count)| (event, count / decisions)).collect())
    }
}
