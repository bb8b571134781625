//! The process, as Prometheus' clients show it.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts};

/// The gauges of the process, read for each scrape. One that the system does not tell is left out, since a number would be
/// wrong.
pub(super) struct ProcessCollector {
    start_time: IntGauge,
    open_fds: IntGauge,
    max_fds: IntGauge,
    resident_memory: IntGauge,
}

impl ProcessCollector {
    /// Of a process whose service started at a time, in seconds since 1970.
    pub(super) fn new(started_at: u64) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| IntGauge::with_opts(Opts::new(name, help));
        let start_time = gauge(
            "process_start_time_seconds",
            "Time at which the service started, in seconds since 1970.",
        )?;
        start_time.set(i64::try_from(started_at).unwrap_or(i64::MAX));
        Ok(Self {
            start_time,
            open_fds: gauge("process_open_fds", "Open file descriptors.")?,
            max_fds: gauge("process_max_fds", "The limit of open file descriptors.")?,
            resident_memory: gauge("process_resident_memory_bytes", "Memory that is resident.")?,
        })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        [&self.start_time, &self.open_fds, &self.max_fds, &self.resident_memory]
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let read = [
            (&self.open_fds, open_fds()),
            (&self.max_fds, max_fds()),
            (&self.resident_memory, resident_memory()),
        ];
        let mut families = self.start_time.collect();
        for (gauge, value) in read {
            if let Some(value) = value {
                gauge.set(value);
                families.extend(gauge.collect());
            }
        }
        families
    }
}

/// The number of open file descriptors, without that of the folder that tells it.
fn open_fds() -> Option<i64> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(open.saturating_sub(1)).ok()
}

/// The soft limit; none where it is unlimited.
fn max_fds() -> Option<i64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn resident_memory() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
