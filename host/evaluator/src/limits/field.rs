//! Rows of the table of limits, and the values that each can have.

use super::Limits;

/// One limit: a row of the table.
#[derive(Debug, Clone, Copy)]
pub struct LimitField {
    /// Key in a manifest.
    pub key: &'static str,
    /// Name of the member in a record: the key with underscores.
    pub member: &'static str,
    /// Unit of its value.
    pub unit: LimitUnit,
    /// The smallest value.
    pub min: u64,
    /// Which values between the smallest and the ceiling it can have.
    pub rule: LimitRule,
    /// One sentence for operators.
    pub summary: &'static str,
    /// The costs that the limit does not cover.
    pub excludes: &'static str,
    pub(super) get: fn(&Limits) -> u64,
    pub(super) set: fn(&mut Limits, u64) -> bool,
}

/// Unit of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitUnit {
    /// Bytes.
    Bytes,
    /// Units of fuel.
    Fuel,
    /// Milliseconds.
    Milliseconds,
}

/// Values that a limit can have between its smallest and its ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitRule {
    /// All of them.
    Range,
    /// The powers of two.
    PowerOfTwo,
}

/// The reason that a number cannot be the value of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The value is 0 or above the ceiling.
    #[error("{limit}: {found} is not in 1 to {ceiling}")]
    Range {
        /// The limit's key.
        limit: &'static str,
        /// The value.
        found: u64,
        /// The maximum value.
        ceiling: u64,
    },
    /// The value is too low for any policy.
    #[error("{limit}: {found} is less than {min}, which is needed for any policy")]
    TooLow {
        /// The limit's key.
        limit: &'static str,
        /// The value.
        found: u64,
        /// The minimum value.
        min: u64,
    },
    /// The value is not one of the powers of two that the limit can have.
    #[error("{limit}: {found} is not a power of two from {min} to {ceiling}")]
    PowerOfTwo {
        /// The limit's key.
        limit: &'static str,
        /// The value.
        found: u64,
        /// The minimum value.
        min: u64,
        /// The maximum value.
        ceiling: u64,
    },
}

impl LimitField {
    /// The limit's value.
    pub fn get(&self, limits: &Limits) -> u64 {
        (self.get)(limits)
    }

    /// The values that the limit can have, where they are few: those of a power of two.
    pub fn choices(&self) -> Option<Vec<u64>> {
        let ceiling = self.get(&Limits::CEILING);
        let powers = std::iter::successors(Some(self.min), |value| value.checked_mul(2));
        (self.rule == LimitRule::PowerOfTwo)
            .then(|| powers.take_while(|value| *value <= ceiling).collect())
    }

    /// Checks a value that is within 1 and its ceiling against the limit's own rule.
    pub(super) fn check_rule(&self, found: u64) -> Result<(), LimitError> {
        let limit = self.key;
        let (min, ceiling) = (self.min, self.get(&Limits::CEILING));
        match self.rule {
            LimitRule::Range if found < min => Err(LimitError::TooLow { limit, found, min }),
            LimitRule::PowerOfTwo
                if !found.is_power_of_two() || !(min..=ceiling).contains(&found) =>
            {
                Err(LimitError::PowerOfTwo { limit, found, min, ceiling })
            }
            LimitRule::Range | LimitRule::PowerOfTwo => Ok(()),
        }
    }
}

impl LimitUnit {
    /// The unit as documentation writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Fuel => "units of fuel",
            Self::Milliseconds => "milliseconds",
        }
    }
}
