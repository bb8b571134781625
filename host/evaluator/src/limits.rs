//! Limits of what one binding may use, and readings of what it used.
//!
//! The limits are one table that everything else follows from. A new limit is one row here plus its enforcement. The
//! structure, its presets, records, the manifest and its JSON Schema, `inspect` and the reference in the documentation
//! are made from the rows.

mod field;
mod record;
mod usage;

pub use self::field::{LimitError, LimitField, LimitRule, LimitUnit};
pub use self::record::LimitsRecordError;
pub use self::usage::{ConfigureUsage, EvaluationUsage};

/// The maximum of elements of all tables of one instance, summed.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// Makes [`Limits`], its presets and [`Limits::FIELDS`] from one row a limit. The order of the rows is that of records
/// and of the digest of a policy set. Docs of rows link to nothing above this file: links in a macro are code.
macro_rules! limits {
    ($(
        $(#[doc = $doc:literal])+
        $field:ident: $type:ty {
            key: $key:literal,
            unit: $unit:ident,
            min: $min:expr,
            rule: $rule:ident,
            default: $default:expr,
            interpreter: $interpreter:expr,
            ceiling: $ceiling:expr,
            summary: $summary:literal,
            excludes: $excludes:literal,
        }
    )+) => {
        /// The limits of one binding.
        ///
        /// Fuel, memory and output are deterministic: the same policy, settings and claims always end the
        /// same way. The stack is counted in native bytes, which differ between processors. The wall-clock
        /// limit is a backstop behind them all, and what it cuts off is a fault of its own. Their order is
        /// that of a key, and says nothing.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Limits {
            /// The limits of a binding whose manifest says nothing: ample for a compiled policy.
            pub const DEFAULT: Self = Self { $($field: $default,)+ };

            /// The limits of a binding whose manifest says `profile = "interpreter"`: ample for a policy with an
            /// engine or an interpreter in it (Rego, Cedar, CEL, JavaScript, Python).
            pub const INTERPRETER: Self = Self { $($field: $interpreter,)+ };

            /// The maximum for any binding. An operator's own ceilings, `[ceilings]` in the manifest,
            /// are at or below these.
            pub const CEILING: Self = Self { $($field: $ceiling,)+ };

            /// Every limit, in the order of records.
            pub const FIELDS: &'static [LimitField] = &[$(LimitField {
                key: $key,
                member: stringify!($field),
                unit: LimitUnit::$unit,
                min: $min,
                rule: LimitRule::$rule,
                summary: $summary,
                excludes: $excludes,
                get: |limits| limits.$field.into(),
                set: |limits, value| match value.try_into() {
                    Ok(value) => {
                        limits.$field = value;
                        true
                    }
                    Err(_) => false,
                },
            },)+];

            /// The smaller one of each limit.
            #[must_use]
            pub fn at_most(&self, other: &Self) -> Self {
                Self { $($field: self.$field.min(other.$field),)+ }
            }
        }
    };
}

limits! {
    /// Largest component, in bytes.
    component_bytes: u64 {
        key: "component-bytes",
        unit: Bytes,
        min: 1,
        rule: Range,
        default: 1 << 20,
        interpreter: 32 << 20,
        ceiling: 64 << 20,
        summary: "Size of the component.",
        excludes: "the compiled code, which `[preparation]` bounds for all bindings together",
    }
    /// Fuel of one evaluation: about one unit an instruction, one a byte for bulk memory
    /// instructions.
    fuel: u64 {
        key: "fuel",
        unit: Fuel,
        min: 1,
        rule: Range,
        default: 10_000_000,
        interpreter: 200_000_000,
        ceiling: 10_000_000_000,
        summary: "Fuel of one evaluation: about one unit an instruction.",
        excludes: "`configure`, which has its own, and what the host does to read the verdict",
    }
    /// Fuel of `configure`, which is run apart from an evaluation's own fuel, and of making the instance: 10 units for
    /// what it links or initialises, 40 for an item of a table.
    configure_fuel: u64 {
        key: "configure-fuel",
        unit: Fuel,
        min: 1,
        rule: Range,
        default: 100_000_000,
        interpreter: 10_000_000_000,
        ceiling: 100_000_000_000,
        summary: "Fuel of `configure`, which takes the settings.",
        excludes: "evaluations",
    }
    /// Linear memory in bytes, summed over all memories of the instance.
    memory_bytes: u64 {
        key: "memory-bytes",
        unit: Bytes,
        min: 1,
        rule: Range,
        default: 16 << 20,
        interpreter: 128 << 20,
        ceiling: 256 << 20,
        summary: "Linear memory, summed over all memories of the instance.",
        excludes: "the native stack, and compiled code",
    }
    /// Native stack of the guest in bytes: a power of two from [`Limits::MIN_STACK_BYTES`] to
    /// [`Limits::CEILING`]'s. Any other value is taken as the nearest power of two below it, within
    /// these bounds; a manifest refuses it. The thread that evaluates must have 1 MiB more.
    stack_bytes: u32 {
        key: "stack-bytes",
        unit: Bytes,
        min: Limits::MIN_STACK_BYTES as u64,
        rule: PowerOfTwo,
        default: 256 << 10,
        interpreter: 512 << 10,
        ceiling: 1 << 20,
        summary: "Native stack of the guest: a power of two.",
        excludes: "a stack that the guest keeps in its linear memory",
    }
    /// Size of a verdict in bytes, as the host holds it.
    output_bytes: u32 {
        key: "output-bytes",
        unit: Bytes,
        min: 1,
        rule: Range,
        default: 64 << 10,
        interpreter: 64 << 10,
        ceiling: 1 << 20,
        summary: "Size of a verdict, as the host holds it.",
        excludes: "what `describe` and `configure` return, which have fixed bounds",
    }
    /// Time of one run of the guest in milliseconds, `configure` included; it ends at most two
    /// ticks (`Engine::TICK`) later. An evaluation takes up to two runs: a fast one
    /// first (see `Engine`, Neighbours), and the whole one. Waiting for a worker slot
    /// does not count.
    wall_clock_ms: u32 {
        key: "wall-clock-ms",
        unit: Milliseconds,
        min: 1,
        rule: Range,
        default: 200,
        interpreter: 2_000,
        ceiling: 10_000,
        summary: "Time of one run of the guest: a backstop behind fuel.",
        excludes: "waiting for a worker slot, and compiling",
    }
    /// Time that checking and compiling the component may take, in milliseconds. Only a child
    /// process is held to it: see `Preparation`.
    prepare_ms: u32 {
        key: "prepare-ms",
        unit: Milliseconds,
        min: 1,
        rule: Range,
        default: 5_000,
        interpreter: 120_000,
        ceiling: 120_000,
        summary: "Time to check and compile the component, in a child process.",
        excludes: "`configure`, and compiling inside the host's own process",
    }
    /// Memory that checking and compiling the component may take, in bytes, at least
    /// [`Limits::MIN_PREPARE_MEMORY_BYTES`]: a compiler needs some to start. Only a child process is
    /// held to it: see `Preparation`. A policy with more linear memory than a
    /// 64th of it, once it has its settings, is not made a snapshot of
    /// (`Prepared::no_snapshot`), wherever it is compiled.
    prepare_memory_bytes: u64 {
        key: "prepare-memory-bytes",
        unit: Bytes,
        min: Limits::MIN_PREPARE_MEMORY_BYTES,
        rule: Range,
        default: 512 << 20,
        interpreter: 4 << 30,
        ceiling: 4 << 30,
        summary: "Memory to check and compile the component, in a child process.",
        excludes: "compiling inside the host's own process",
    }
}

impl Limits {
    /// The smallest stack in bytes.
    pub const MIN_STACK_BYTES: u32 = 64 << 10;

    /// The minimum of memory that a component can be compiled in, in bytes.
    pub const MIN_PREPARE_MEMORY_BYTES: u64 = 32 << 20;

    /// Limits of given values, each from 1 to its ceiling and by its own rule. `value` is called for every limit.
    ///
    /// # Errors
    /// At the first value that its limit cannot have.
    pub fn bounded(value: impl Fn(&LimitField) -> u64, ceiling: &Self) -> Result<Self, LimitError> {
        let mut limits = *ceiling;
        for field in Self::FIELDS {
            let (found, ceiling) = (value(field), field.get(ceiling));
            // A value that its type cannot hold is above any ceiling.
            if !(1..=ceiling).contains(&found) || !(field.set)(&mut limits, found) {
                return Err(LimitError::Range { limit: field.key, found, ceiling });
            }
        }
        // Bounds before rules, so that a typing error of a zero too many is told as such.
        Self::FIELDS.iter().try_for_each(|field| field.check_rule(field.get(&limits)))?;
        Ok(limits)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_within_the_bounds_of_the_table() {
        for preset in [Limits::DEFAULT, Limits::INTERPRETER, Limits::CEILING] {
            assert_eq!(Limits::bounded(|field| field.get(&preset), &Limits::CEILING), Ok(preset));
        }
    }

    #[test]
    fn keys_are_the_members_of_records_with_dashes() {
        for field in Limits::FIELDS {
            assert_eq!(field.key, field.member.replace('_', "-"));
            assert!(
                field.summary.ends_with('.') && !field.excludes.ends_with('.'),
                "{}",
                field.key
            );
        }
    }

    #[test]
    fn each_limit_is_bounded_by_itself() {
        for field in Limits::FIELDS {
            let with = |value| {
                let value = |of: &LimitField| match of.key == field.key {
                    true => value,
                    false => of.get(&Limits::DEFAULT),
                };
                Limits::bounded(value, &Limits::CEILING)
            };
            let ceiling = field.get(&Limits::CEILING);
            assert_eq!(with(ceiling).map(|limits| field.get(&limits)), Ok(ceiling));
            assert_eq!(with(field.min).map(|limits| field.get(&limits)), Ok(field.min));
            for found in [0, ceiling + 1, u64::MAX] {
                assert_eq!(
                    with(found),
                    Err(LimitError::Range { limit: field.key, found, ceiling })
                );
            }
            if field.min > 1 {
                assert!(with(field.min - 1).is_err(), "{}", field.key);
            }
            for choice in field.choices().into_iter().flatten() {
                assert_eq!(with(choice).map(|limits| field.get(&limits)), Ok(choice));
                assert!(with(choice + 1).is_err() && with(choice - 1).is_err(), "{}", field.key);
            }
        }
    }
}
