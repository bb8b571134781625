//! The metrics, for Prometheus.

mod cluster_signer;
mod process;
mod series;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

pub(crate) use self::cluster_signer::ClusterSignerMetrics;
use self::process::ProcessCollector;
pub(crate) use self::series::{ALGORITHMS, RateLimit};
use crate::keys::CustodyHealth;

/// The counters of a service. Since its start, as Prometheus has it.
pub(crate) struct Metrics {
    registry: Registry,
    /// By route and status.
    pub(crate) requests: IntCounterVec,
    /// By route.
    pub(crate) request_seconds: HistogramVec,
    pub(crate) in_flight: IntGauge,
    /// By kind and outcome.
    pub(crate) decisions: IntCounterVec,
    /// By the fault's code.
    pub(crate) faults: IntCounterVec,
    /// By the host's code, or `policy`.
    refusals: IntCounterVec,
    /// By limit.
    rate_limited: IntCounterVec,
    /// By subject profile and algorithm.
    pub(crate) tokens: IntCounterVec,
    /// By stage: `decide`, `durable`.
    pub(crate) stage_seconds: HistogramVec,
    /// By result.
    pub(crate) reloads: IntCounterVec,
    /// By digest: 1 for the one that decides.
    pub(crate) policy_set: IntGaugeVec,
    pub(crate) bindings: IntGauge,
    /// 1 while one is tried.
    pub(crate) candidate: IntGauge,
    /// By class of difference.
    pub(crate) candidate_decisions: IntCounterVec,
    pub(crate) candidate_faults: IntCounter,
    pub(crate) candidate_skipped: IntCounter,
    /// By algorithm and phase.
    pub(crate) keys: IntGaugeVec,
    /// 1 once the log has failed.
    pub(crate) log_failed: IntGauge,
    /// The sequence of the last durable record.
    pub(crate) log_records: IntGauge,
    pub(crate) log_room_bytes: IntGauge,
    /// 1 while the clock fails.
    pub(crate) clock_failed: IntGauge,
    pub(crate) clock_unsettled_seconds: IntGauge,
    pub(crate) connection_errors: IntCounter,
    pub(crate) connections_evicted: IntCounter,
    pub(crate) requests_paced: IntCounter,
    pub(crate) log_lines_dropped: IntCounter,
    pub(crate) spans_dropped: IntCounter,
    /// Seconds since 1970; 0 where it has none.
    pub(crate) certificate_not_after: IntGauge,
    /// By code.
    pub(crate) store_failures: IntCounterVec,
    /// By code: 1 while tokens do not leave for this reason.
    pub(crate) replica_problem: IntGaugeVec,
    pub(crate) replicas: IntGauge,
    pub(crate) replica_logs_cut: IntGauge,
    /// By result: `ok`, or the code of the error.
    pub(crate) registry_polls: IntCounterVec,
    /// Seconds since 1970; 0 before the first.
    pub(crate) registry_last_success: IntGauge,
    pub(crate) registry_staged: IntCounter,
    pub(crate) trusted_issuers: TrustedIssuerMetrics,
}

/// The keys of trusted issuers, by issuer.
pub(crate) struct TrustedIssuerMetrics {
    /// By result also.
    pub(crate) fetches: IntCounterVec,
    pub(crate) keys: IntGaugeVec,
    pub(crate) key_age: IntGaugeVec,
    pub(crate) last_failure: IntGaugeVec,
}

impl TrustedIssuerMetrics {
    /// Forgets all issuers, of which some may be trusted no longer.
    pub(crate) fn reset(&self) {
        self.fetches.reset();
        self.keys.reset();
        self.key_age.reset();
        self.last_failure.reset();
    }
}

impl Metrics {
    /// Of a service that started at a time, in seconds since 1970.
    pub(crate) fn new(started_at: u64) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::new(started_at)?))?;
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let seconds = |name: &str, help: &str, label: &str| {
            let buckets = vec![
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
                1.0, 5.0,
            ];
            let options = HistogramOpts::new(name, help).buckets(buckets);
            let histogram = HistogramVec::new(options, &[label])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let trusted_issuers = TrustedIssuerMetrics {
            fetches: counters(
                "countersign_trusted_issuer_fetches_total",
                "Fetches of a trusted issuer's keys, by result: `success`, or the kind of error.",
                &["issuer", "result"],
            )?,
            keys: gauges(
                "countersign_trusted_issuer_keys",
                "Keys of a trusted issuer that can be used.",
                &["issuer"],
            )?,
            key_age: gauges(
                "countersign_trusted_issuer_key_age_seconds",
                "Time since a trusted issuer's keys were fetched, or since the start.",
                &["issuer"],
            )?,
            last_failure: gauges(
                "countersign_trusted_issuer_last_failure_timestamp_seconds",
                "Time of the last fetch of a trusted issuer's keys that failed; 0 before the first.",
                &["issuer"],
            )?,
        };
        let reloads = counters(
            "countersign_reloads_total",
            "Times that policies and access were read again, by result.",
            &["result"],
        )?;
        gauges(
            "countersign_build_info",
            "1, with the version of Countersign and of wasmtime.",
            &["version", "wasmtime"],
        )?
        .with_label_values(&[env!("CARGO_PKG_VERSION"), countersign::WASMTIME_VERSION])
        .set(1);
        let metrics = Self {
            requests: counters(
                "countersign_http_requests_total",
                "Requests answered, by route and status.",
                &["route", "status"],
            )?,
            request_seconds: seconds(
                "countersign_http_request_seconds",
                "Time from a request's headers to its answer.",
                "route",
            )?,
            in_flight: gauge("countersign_http_requests_in_flight", "Requests being answered.")?,
            decisions: counters(
                "countersign_decisions_total",
                "Decisions, by kind and outcome.",
                &["kind", "outcome"],
            )?,
            faults: counters(
                "countersign_faults_total",
                "Policies that gave no valid verdict, by the fault's code.",
                &["code"],
            )?,
            refusals: counters(
                "countersign_refusals_total",
                "Reasons of refusals, by the host's code, and all of policies as `policy`.",
                &["code"],
            )?,
            rate_limited: counters(
                "countersign_rate_limited_total",
                "Requests that exceeded a rate and were answered with 429, by limit.",
                &["limit"],
            )?,
            tokens: counters(
                "countersign_tokens_issued_total",
                "Tokens issued, by subject profile and algorithm.",
                &["profile", "algorithm"],
            )?,
            stage_seconds: seconds(
                "countersign_stage_seconds",
                "Time to decide and sign, and until the record was durable.",
                "stage",
            )?,
            reloads,
            policy_set: gauges(
                "countersign_policy_set",
                "The policy set that decides, by its digest.",
                &["digest"],
            )?,
            candidate: gauge(
                "countersign_candidate",
                "1 while a candidate is tried beside the policy set that decides.",
            )?,
            candidate_decisions: counters(
                "countersign_candidate_decisions_total",
                "Decisions that a candidate was compared with, by class of difference.",
                &["class"],
            )?,
            candidate_faults: counter(
                "countersign_candidate_faults_total",
                "Decisions in which a binding of a candidate faults that does not fault now.",
            )?,
            candidate_skipped: counter(
                "countersign_candidate_skipped_total",
                "Decisions that a candidate had no processor time for.",
            )?,
            bindings: gauge("countersign_bindings", "Bindings of the policy set that decides.")?,
            keys: gauges(
                "countersign_keys",
                "Keys, by algorithm and phase.",
                &["algorithm", "phase"],
            )?,
            log_failed: gauge(
                "countersign_log_failed",
                "1 once the decision log has failed: no token until a restart.",
            )?,
            log_records: gauge(
                "countersign_log_records",
                "The sequence of the last durable record of the decision log.",
            )?,
            log_room_bytes: gauge(
                "countersign_log_room_bytes",
                "Bytes that can still be written to the disk of the decision log.",
            )?,
            clock_failed: gauge(
                "countersign_clock_failed",
                "1 while the clock is behind an earlier reading or has just jumped: no token meanwhile.",
            )?,
            clock_unsettled_seconds: gauge(
                "countersign_clock_unsettled_seconds",
                "Seconds by which the clock was set ahead within a day, also while the service was stopped.",
            )?,
            store_failures: counters(
                "countersign_store_failures_total",
                "Failures of the database, by code.",
                &["code"],
            )?,
            replica_problem: gauges(
                "countersign_replica_problem",
                "1 while no token leaves this replica, by the reason's code.",
                &["code"],
            )?,
            replicas: gauge(
                "countersign_replicas",
                "Replicas that this one sees, with itself; 0 in a service that is alone.",
            )?,
            replica_logs_cut: gauge(
                "countersign_replica_logs_cut",
                "Other replicas whose decision logs have lost what is anchored in this one.",
            )?,
            trusted_issuers,
            connection_errors: counter(
                "countersign_connection_errors_total",
                "Connections that ended before or within a request.",
            )?,
            connections_evicted: counter(
                "countersign_connections_evicted_total",
                "Connections that were closed to make room for others, or were too many of one address.",
            )?,

            requests_paced: counter(
                "countersign_requests_paced_total",
                "Requests that waited since too many before them on their connection proved nothing.",
            )?,
            certificate_not_after: gauge(
                "countersign_certificate_not_after_timestamp_seconds",
                "The time at which the service's certificate expires; 0 without one.",
            )?,
            registry_polls: counters(
                "countersign_registry_polls_total",
                "Times that registries were asked for the policies of the manifest, by result.",
                &["result"],
            )?,
            registry_last_success: gauge(
                "countersign_registry_last_success_timestamp_seconds",
                "The time at which registries last had everything, trusted; 0 before the first.",
            )?,
            registry_staged: counter(
                "countersign_registry_releases_staged_total",
                "Releases that were staged since a policy of a registry has moved.",
            )?,
            log_lines_dropped: counter(
                "countersign_log_lines_dropped_total",
                "Lines of the service's own log that could not be written.",
            )?,
            spans_dropped: counter(
                "countersign_spans_dropped_total",
                "Spans of traces that there was no room for, or that the collector did not take.",
            )?,
            registry,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// Adds the metrics of the custody of keys.
    pub(crate) fn register_custody(
        &self,
        custody: &CustodyHealth,
    ) -> Result<(), prometheus::Error> {
        custody.collectors().into_iter().try_for_each(|collector| self.registry.register(collector))
    }

    /// All of it, in Prometheus' text format.
    pub(crate) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}
