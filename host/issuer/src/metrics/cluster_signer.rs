//! The metrics of a cluster's signer, which begin before the service's do.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts};

use super::Metrics;

/// The counters of a cluster's signer.
pub(crate) struct ClusterSignerMetrics {
    /// By outcome: `signed`, `refused`, `failed`.
    pub(crate) requests: IntCounterVec,
    pub(crate) seconds: Histogram,
    pub(crate) fetches: IntCounter,
    pub(crate) unrecorded: IntCounter,
}

impl ClusterSignerMetrics {
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let requests = Opts::new(
            "countersign_service_account_requests_total",
            "Tokens of service accounts that the API server asked for, by outcome.",
        );
        let seconds = HistogramOpts::new(
            "countersign_service_account_seconds",
            "Time to sign or refuse a token of a service account.",
        )
        .buckets(vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]);
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["outcome"])?,
            seconds: Histogram::with_opts(seconds)?,
            fetches: IntCounter::new(
                "countersign_service_account_key_fetches_total",
                "Times that the API server fetched keys.",
            )?,
            unrecorded: IntCounter::new(
                "countersign_service_account_unrecorded_total",
                "Tokens of service accounts that were signed or refused without a record.",
            )?,
        };
        for outcome in ["signed", "refused", "failed"] {
            metrics.requests.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }
}

impl Metrics {
    /// Shows those of a cluster's signer as well.
    pub(crate) fn register(&self, of: &ClusterSignerMetrics) -> Result<(), prometheus::Error> {
        self.registry.register(Box::new(of.requests.clone()))?;
        self.registry.register(Box::new(of.seconds.clone()))?;
        self.registry.register(Box::new(of.fetches.clone()))?;
        self.registry.register(Box::new(of.unrecorded.clone()))
    }
}
