//! The outcome of one evaluation.

use super::fairness::{Attempt, AttemptCost};
use crate::contract::Verdict;
use crate::decision::fault::Fault;
use crate::limits::EvaluationUsage;

/// The outcome of one evaluation.
pub(crate) struct EvaluationOutcome {
    pub(crate) result: Result<Verdict, Fault>,
    pub(crate) usage: EvaluationUsage,
    /// Fuel that `configure` used beside, after a verdict.
    pub(crate) configure_fuel: Option<u64>,
}

impl EvaluationOutcome {
    /// A fault after which no reading can be trusted.
    pub(crate) fn fault(fault: Fault) -> Self {
        Self { result: Err(fault), usage: EvaluationUsage::default(), configure_fuel: None }
    }
}

impl Attempt for EvaluationOutcome {
    fn hit_limit(&self) -> bool {
        matches!(
            self.result,
            Err(Fault::OutOfFuel { .. } | Fault::Memory { .. } | Fault::Deadline { .. })
        )
    }

    fn failed(&self) -> bool {
        self.result.is_err()
    }

    fn cost(&self) -> AttemptCost {
        AttemptCost {
            fuel: self.usage.fuel,
            configure_fuel: self.configure_fuel,
            memory_bytes: self.usage.memory_bytes,
        }
    }
}
