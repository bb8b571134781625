//! The health of a custody outside of this process: what it did wrong, and if tokens may be signed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGaugeVec, Opts};

/// The reason for which a custody gave no signature that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustodyFailure {
    /// There is no connection, or it was lost: the device or its helper is gone.
    Unreachable,
    /// It did not answer in time.
    Slow,
    /// It answers with an error: it wants other credentials, lacks the key, or has it disabled.
    Refused,
    /// Its answer is out of form.
    Malformed,
    /// Its signature is not one of the key over what was to be signed.
    WrongSignature,
    /// It has another key under the name of one, or one that can be read.
    WrongKey,
    /// As many signatures are being made as may be at once. It says nothing of the device.
    Busy,
}

impl CustodyFailure {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Slow,
        Self::Refused,
        Self::Malformed,
        Self::WrongSignature,
        Self::WrongKey,
        Self::Busy,
    ];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "custody-unreachable",
            Self::Slow => "custody-slow",
            Self::Refused => "custody-refused",
            Self::Malformed => "custody-malformed",
            Self::WrongSignature => "custody-wrong-signature",
            Self::WrongKey => "custody-wrong-key",
            Self::Busy => "custody-busy",
        }
    }
}

/// The health of a custody outside of this process, with its metrics.
pub struct CustodyHealth {
    problem: Mutex<Option<(CustodyFailure, String)>>,
    failures: IntCounterVec,
    problems: IntGaugeVec,
    seconds: Histogram,
}

impl CustodyHealth {
    /// Of a custody that nothing is known of yet.
    ///
    /// # Errors
    /// When the metrics cannot be made.
    pub fn new() -> Result<Self, prometheus::Error> {
        let failures = Opts::new(
            "countersign_custody_failures_total",
            "Signatures that the custody of keys did not give, by the reason's code.",
        );
        let problems = Opts::new(
            "countersign_custody_problem",
            "1 while no token is signed since the custody of keys failed, by the reason's code.",
        );
        let seconds = HistogramOpts::new(
            "countersign_custody_sign_seconds",
            "Time of a signature in a custody outside of the process, until it was verified.",
        );
        let buckets = vec![0.0001, 0.00025, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0];
        let health = Self {
            problem: Mutex::new(None),
            failures: IntCounterVec::new(failures, &["code"])?,
            problems: IntGaugeVec::new(problems, &["code"])?,
            seconds: Histogram::with_opts(seconds.buckets(buckets))?,
        };
        for failure in CustodyFailure::ALL {
            health.failures.with_label_values(&[failure.as_str()]);
            health.problems.with_label_values(&[failure.as_str()]).set(0);
        }
        Ok(health)
    }

    /// The reason for which no token is signed now, with a text for the operator.
    pub fn problem(&self) -> Option<(CustodyFailure, String)> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a failure, and has no token signed until [`CustodyHealth::recovered`]: unless it is
    /// [`CustodyFailure::Busy`], which passes by itself. True if it was well before.
    pub fn failed(&self, failure: CustodyFailure, said: &str) -> bool {
        self.failures.with_label_values(&[failure.as_str()]).inc();
        if failure == CustodyFailure::Busy {
            return false;
        }
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((before, _)) = problem.as_ref() {
            self.problems.with_label_values(&[before.as_str()]).set(0);
        }
        self.problems.with_label_values(&[failure.as_str()]).set(1);
        problem.replace((failure, said.to_owned())).is_none()
    }

    /// Has tokens signed again. True if none was before.
    pub fn recovered(&self) -> bool {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        for failure in CustodyFailure::ALL {
            self.problems.with_label_values(&[failure.as_str()]).set(0);
        }
        problem.take().is_some()
    }

    /// Counts a signature that was verified.
    pub fn signed(&self, elapsed: Duration) {
        self.seconds.observe(elapsed.as_secs_f64());
    }

    /// The metrics, for a registry.
    pub(crate) fn collectors(&self) -> [Box<dyn Collector>; 3] {
        [
            Box::new(self.failures.clone()),
            Box::new(self.problems.clone()),
            Box::new(self.seconds.clone()),
        ]
    }
}
