//! The bound of commands that evaluate a policy many times.

use std::fmt;

use countersign::{Binding, BindingTrace, Decision, Fault, Limits, PolicySet, Prepared};

/// Fuel that an evaluation counts for beside its own: making an instance and reading its verdict takes the host a few
/// microseconds, whatever the policy does.
const EVALUATION_FUEL: u64 = 10_000;

/// Bytes of linear memory that count as one unit of fuel: the host hands out and takes back each page.
const BYTES_PER_FUEL: u64 = 16;

/// The bound of all evaluations of one command together, and what they took of it.
///
/// Fuel is the same on every machine, so the same input stops at the same evaluation on each. An evaluation counts for
/// the fuel that it used, or for its whole limit where no reading can be trusted; for that of making its instance, and of
/// `configure` where the policy takes its settings in each evaluation; for a unit for 16 bytes of its memory; and for
/// 10,000 units.
///
/// Evaluations that the wall-clock limit ended may have used little fuel. Their limits are summed as well, up to
/// [`EvaluationBudget::MAX_DEADLINE_MS`].
pub struct EvaluationBudget<'w> {
    max_fuel: u64,
    fuel: u64,
    max_deadline_ms: u64,
    deadline_ms: u64,
    made: usize,
    watch: Option<Box<dyn FnMut(usize) + 'w>>,
}

/// The number of evaluations that were made, of those that would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvaluationCount {
    /// Evaluations that were made.
    pub made: usize,
    /// Evaluations that would have been made without a bound, as far as that is known when it stops.
    pub planned: usize,
    /// The bound that ended them, if one did.
    pub stopped_by: Option<StoppedBy>,
}

/// The bound that ended evaluations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// They took as much fuel as they may together.
    Fuel {
        /// The bound, in units of fuel.
        max: u64,
    },
    /// Those that ended by `deadline` took as much of their wall-clock limits as they may together.
    Deadline {
        /// The bound, in milliseconds.
        max_ms: u64,
    },
}

impl<'w> EvaluationBudget<'w> {
    /// Units of fuel for all evaluations together, unless given: minutes of a processor. Policies of the cookbook in Cedar
    /// count for a tenth of it: in `policy test` an engine parses its texts in each evaluation.
    pub const DEFAULT_FUEL: u64 = 300_000_000_000;

    /// Milliseconds of the wall-clock limits of evaluations that these ended: a minute.
    pub const MAX_DEADLINE_MS: u64 = 60_000;

    /// A bound of `max_fuel` units of fuel. One that is reached is noticed before the next evaluation.
    pub fn new(max_fuel: u64) -> Self {
        let max_deadline_ms = Self::MAX_DEADLINE_MS;
        Self { max_fuel, fuel: 0, max_deadline_ms, deadline_ms: 0, made: 0, watch: None }
    }

    /// The same with another bound than [`EvaluationBudget::MAX_DEADLINE_MS`], in milliseconds.
    #[must_use]
    pub fn with_max_deadline_ms(self, max_deadline_ms: u64) -> Self {
        Self { max_deadline_ms, ..self }
    }

    /// Calls `watch` with the number of evaluations that were made, after each.
    #[must_use]
    pub fn watched_by(mut self, watch: impl FnMut(usize) + 'w) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// The bound that is reached, if one is.
    pub fn stopped_by(&self) -> Option<StoppedBy> {
        if self.fuel >= self.max_fuel {
            Some(StoppedBy::Fuel { max: self.max_fuel })
        } else if self.deadline_ms >= self.max_deadline_ms {
            Some(StoppedBy::Deadline { max_ms: self.max_deadline_ms })
        } else {
            None
        }
    }

    /// Counts a decision: an evaluation of each binding that applied.
    pub(crate) fn count(&mut self, policies: &PolicySet, decision: &Decision) {
        self.spend(EVALUATION_FUEL);
        for entry in decision.trace() {
            let bindings = policies.bindings();
            let name = &entry.binding.name;
            let at = bindings.binary_search_by(|binding| binding.identity().name.cmp(name));
            self.spend(fuel_of(entry, at.ok().and_then(|at| bindings.get(at))));
            if matches!(entry.result, Err(Fault::Deadline { .. })) {
                let ms = u64::from(entry.binding.limits.wall_clock_ms);
                self.deadline_ms = self.deadline_ms.saturating_add(ms);
            }
        }
        self.count_one();
    }

    /// Counts one run of a policy that used so much fuel.
    pub(crate) fn count_fuel(&mut self, fuel: u64) {
        self.spend(EVALUATION_FUEL.saturating_add(fuel));
        self.count_one();
    }

    /// Adds fuel that is no evaluation's.
    pub(crate) fn spend(&mut self, fuel: u64) {
        self.fuel = self.fuel.saturating_add(fuel);
    }

    /// The number of evaluations that were made, with `left` more if the bound is reached.
    pub fn counted(&self, left: usize) -> EvaluationCount {
        let stopped_by = self.stopped_by().filter(|_| left > 0);
        EvaluationCount { made: self.made, planned: self.made + left, stopped_by }
    }

    fn count_one(&mut self) {
        self.made += 1;
        if let Some(watch) = &mut self.watch {
            watch(self.made);
        }
    }
}

impl EvaluationCount {
    /// Tells whether all were made.
    pub fn is_complete(&self) -> bool {
        self.stopped_by.is_none()
    }
}

impl StoppedBy {
    /// The word for JSON: `fuel` or `deadline`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuel { .. } => "fuel",
            Self::Deadline { .. } => "deadline",
        }
    }
}

impl fmt::Display for EvaluationCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { made, planned, stopped_by } = self;
        let Some(by) = stopped_by else { return write!(f, "{made} evaluations") };
        write!(f, "stopped after {made} of {planned} evaluations: {by}")
    }
}

impl fmt::Display for StoppedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fuel { max } => {
                write!(f, "together they took the maximum of {max} units of fuel")
            }
            Self::Deadline { max_ms } => {
                write!(f, "those that ended by `deadline` took the maximum of {max_ms} ms together")
            }
        }
    }
}

impl fmt::Debug for EvaluationBudget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { max_fuel, fuel, max_deadline_ms, deadline_ms, made, watch: _ } = self;
        f.debug_struct("EvaluationBudget")
            .field("max_fuel", max_fuel)
            .field("fuel", fuel)
            .field("max_deadline_ms", max_deadline_ms)
            .field("deadline_ms", deadline_ms)
            .field("made", made)
            .finish()
    }
}

/// The fuel that an evaluation counts for. One that could not be prepared was not evaluated.
fn fuel_of(entry: &BindingTrace, binding: Option<&Binding>) -> u64 {
    let evaluated = binding.and_then(|binding| Some((binding, binding.prepared()?)));
    let Some((binding, Prepared { usage, no_snapshot })) = evaluated else {
        return EVALUATION_FUEL;
    };
    let Limits { fuel, memory_bytes, .. } = entry.binding.limits;
    // Either has made an instance, which every evaluation does.
    let before = match no_snapshot {
        Some(_) => usage.fuel,
        None => usage.fuel.min(binding.policy().describe_usage().fuel),
    };
    let memory = entry.used.memory_bytes.unwrap_or(memory_bytes) / BYTES_PER_FUEL;
    let own = entry.used.fuel.unwrap_or(fuel);
    [before, memory, own].into_iter().fold(EVALUATION_FUEL, u64::saturating_add)
}
