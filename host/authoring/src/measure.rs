//! Measures what evaluations use of their limits.

use countersign::Limits;

use crate::budget::EvaluationBudget;
use crate::case_runner::{CaseRunner, CaseRunnerError};

/// The usage of limits by the cases of a policy.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// The limits of the evaluations.
    pub limits: Limits,
    /// The component's size in bytes.
    pub component_bytes: usize,
    /// Each case, in the order of the file.
    pub cases: Vec<Measured>,
}

/// The usage of limits by one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The case.
    pub name: String,
    /// Fuel of an evaluation; `None` after a fault that leaves none to read. The same on every machine.
    pub fuel: Option<u64>,
    /// Linear memory at its peak in bytes. The same on every machine.
    pub memory_bytes: Option<u64>,
    /// Size of the verdict in bytes. The same on every machine.
    pub output_bytes: Option<u64>,
    /// Time of an evaluation in nanoseconds: the median of those that were timed.
    pub nanoseconds: u64,
    /// The number of evaluations that were timed.
    pub evaluations: usize,
}

/// The maximum time of a case in nanoseconds, after which no other evaluation of it begins.
const CASE_NANOSECONDS: u64 = 1_000_000_000;

/// Evaluates each case `times` times, or for a second if that ends sooner. `time` gives nanoseconds since any moment; it is
/// the caller's, since nothing here reads a clock.
///
/// # Errors
/// When a case makes no valid request.
pub fn measure(
    runner: &CaseRunner<'_>,
    times: usize,
    mut time: impl FnMut() -> u64,
) -> Result<Measurement, CaseRunnerError> {
    let (limits, component_bytes) = (*runner.limits(), runner.policy().component_bytes());
    let mut cases = Vec::new();
    // Each case has its time.
    let mut unbounded = EvaluationBudget::new(u64::MAX);
    for prepared in runner.prepare_cases(&mut unbounded)? {
        let (set, name) = (&prepared.set, prepared.case.name.clone());
        let claims =
            || prepared.input.claims().map_err(|error| prepared.problem(error.to_string()));
        // Once before it is timed: the first evaluation makes what later ones reuse.
        let used =
            set.evaluate(claims()?).trace().first().map(|entry| entry.used).unwrap_or_default();
        let mut taken = Vec::with_capacity(times);
        let first = time();
        for number in 0..times.max(1) {
            if number > 0 && time().saturating_sub(first) >= CASE_NANOSECONDS {
                break;
            }
            let claims = claims()?;
            let begin = time();
            let decision = set.evaluate(claims);
            taken.push(time().saturating_sub(begin));
            drop(decision);
        }
        taken.sort_unstable();
        let nanoseconds = taken.get(taken.len() / 2).copied().unwrap_or_default();
        let (fuel, memory_bytes, output_bytes) = (used.fuel, used.memory_bytes, used.output_bytes);
        let evaluations = taken.len();
        let measured =
            Measured { name, fuel, memory_bytes, output_bytes, nanoseconds, evaluations };
        cases.push(measured);
    }
    Ok(Measurement { limits, component_bytes, cases })
}
