//! The series that exist before their first event: an alert on one that is not there yet never fires.

use countersign::{Fault, Reason, ReasonSource, SubjectFormat, refusal};
use countersign_signing::{Algorithm, NotAsApproved, ServiceAccountClaimsError};

use super::Metrics;
use crate::cluster_signer::reason;
use crate::record::RecordKind;
use crate::replica::ReplicaProblem;
use crate::runners::{RUNNER_DEDICATED, RUNNER_UNKNOWN};
use crate::runs::{RUN_EXPIRED, RUN_FINISHED};
use crate::service::class_words;
use crate::store::StoreFailure;

/// The algorithms of keys and tokens.
pub(crate) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

/// The label of all reasons of policies, whose own codes are without bound.
const POLICY: &str = "policy";

/// A limit on the rate of requests.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RateLimit {
    /// `limits.runner-per-second`.
    Runner,
    /// `limits.run-per-second`.
    Run,
    /// That of a client's address.
    Client,
}

impl RateLimit {
    const ALL: [Self; 3] = [Self::Runner, Self::Run, Self::Client];

    fn as_str(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Run => "run",
            Self::Client => "client",
        }
    }
}

impl Metrics {
    /// Makes every series whose labels are known.
    pub(super) fn begin(&self) {
        self.registry_polls.with_label_values(&["ok"]);
        for result in ["replaced", "failed"] {
            self.reloads.with_label_values(&[result]);
        }
        for kind in RecordKind::ALL {
            for outcome in ["approved", "refused"] {
                self.decisions.with_label_values(&[kind.as_str(), outcome]);
            }
        }
        for failure in StoreFailure::ALL {
            self.store_failures.with_label_values(&[failure.as_str()]);
        }
        for problem in ReplicaProblem::ALL {
            self.replica_problem.with_label_values(&[problem.as_str()]);
        }
        for class in class_words() {
            self.candidate_decisions.with_label_values(&[class]);
        }
        for code in Fault::CODES {
            self.faults.with_label_values(&[code]);
        }
        for algorithm in ALGORITHMS {
            for profile in SubjectFormat::ALL {
                self.tokens.with_label_values(&[profile.as_str(), algorithm.as_str()]);
            }
        }
        let of_runs = [RUN_FINISHED, RUN_EXPIRED, RUNNER_UNKNOWN, RUNNER_DEDICATED];
        let codes = [POLICY].into_iter().chain(refusal::ALL).chain(Fault::CODES);
        let of_service_accounts = ServiceAccountClaimsError::CODES.into_iter();
        let of_service_accounts =
            of_service_accounts.chain(reason::ALL).chain(NotAsApproved::CODES);
        let of_host = countersign_clouds::CODES.iter().copied().chain(of_runs);
        for code in codes.chain(of_host).chain(of_service_accounts) {
            self.refusals.with_label_values(&[code]);
        }
        for limit in RateLimit::ALL {
            self.rate_limited.with_label_values(&[limit.as_str()]);
        }
        for stage in ["decide", "durable"] {
            self.stage_seconds.with_label_values(&[stage]);
        }
    }

    /// Counts the reasons of a refusal: the host's by their codes, and those of policies together.
    pub(crate) fn count_refusal(&self, reasons: &[Reason]) {
        for reason in reasons {
            let code = match reason.source {
                ReasonSource::Host => reason.code.as_str(),
                ReasonSource::Policy => POLICY,
            };
            self.refusals.with_label_values(&[code]).inc();
        }
    }

    /// Counts a request that exceeded a rate.
    pub(crate) fn count_rate_limited(&self, limit: RateLimit) {
        self.rate_limited.with_label_values(&[limit.as_str()]).inc();
    }
}
