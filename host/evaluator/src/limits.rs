//! Limits of what one binding may use, and readings of what it used.

mod usage;

pub use self::usage::{ConfigureUsage, EvaluationUsage};

/// The maximum of elements of all tables of one instance, summed.
pub(crate) const MAX_TABLE_ELEMENTS: usize = 20_000;

/// The limits of one binding.
///
/// Fuel, memory and output are deterministic: the same policy, settings and claims always end the
/// same way. The stack is counted in native bytes, which differ between processors. The wall-clock
/// limit is a backstop behind them all, and what it cuts off is a fault of its own. Their order is
/// that of a key, and says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Limits {
    /// Largest component, in bytes.
    pub component_bytes: u64,
    /// Fuel of one evaluation: about one unit an instruction, one a byte for bulk memory
    /// instructions.
    pub fuel: u64,
    /// Fuel of `configure`, which is run apart from an evaluation's own fuel.
    pub configure_fuel: u64,
    /// Linear memory in bytes, summed over all memories of the instance.
    pub memory_bytes: u64,
    /// Native stack of the guest in bytes: a power of two from [`Limits::MIN_STACK_BYTES`] to
    /// [`Limits::CEILING`]'s. Any other value is taken as the nearest power of two below it, within
    /// these bounds; a manifest refuses it. The thread that evaluates must have 1 MiB more.
    pub stack_bytes: u32,
    /// Size of a verdict in bytes, as the host holds it.
    pub output_bytes: u32,
    /// Time of one run of the guest in milliseconds, `configure` included; it ends at most two
    /// ticks ([`TICK`](crate::Engine::TICK)) later. An evaluation takes up to two runs: a fast one
    /// first (see [`Engine`](crate::Engine), Neighbours), and the whole one. Waiting for a worker slot
    /// does not count.
    pub wall_clock_ms: u32,
    /// Time that checking and compiling the component may take, in milliseconds. Only a child
    /// process is held to it: see [`Preparation`](crate::Preparation).
    pub prepare_ms: u32,
    /// Memory that checking and compiling the component may take, in bytes, at least
    /// [`Limits::MIN_PREPARE_MEMORY_BYTES`]: a compiler needs some to start. Only a child process is
    /// held to it: see [`Preparation`](crate::Preparation). A policy with more linear memory than a
    /// 64th of it, once it has its settings, is not made a snapshot of
    /// ([`Prepared::no_snapshot`](crate::Prepared)), wherever it is compiled.
    pub prepare_memory_bytes: u64,
}

impl Limits {
    /// The limits of a binding whose manifest says nothing: ample for a compiled policy.
    pub const DEFAULT: Self = Self {
        component_bytes: 1 << 20,
        fuel: 10_000_000,
        configure_fuel: 100_000_000,
        memory_bytes: 16 << 20,
        stack_bytes: 256 << 10,
        output_bytes: 64 << 10,
        wall_clock_ms: 200,
        prepare_ms: 5_000,
        prepare_memory_bytes: 512 << 20,
    };

    /// The limits of a binding whose manifest says `profile = "interpreter"`: ample for a policy with an
    /// engine or an interpreter in it (Rego, Cedar, JavaScript, Python).
    pub const INTERPRETER: Self = Self {
        component_bytes: 32 << 20,
        fuel: 200_000_000,
        configure_fuel: 10_000_000_000,
        memory_bytes: 128 << 20,
        stack_bytes: 512 << 10,
        output_bytes: 64 << 10,
        wall_clock_ms: 2_000,
        prepare_ms: 120_000,
        prepare_memory_bytes: 4 << 30,
    };

    /// The maximum for any binding. An operator's own ceilings, `[ceilings]` in the manifest,
    /// are at or below these.
    pub const CEILING: Self = Self {
        component_bytes: 64 << 20,
        fuel: 10_000_000_000,
        configure_fuel: 100_000_000_000,
        memory_bytes: 256 << 20,
        stack_bytes: 1 << 20,
        output_bytes: 1 << 20,
        wall_clock_ms: 10_000,
        prepare_ms: 120_000,
        prepare_memory_bytes: 4 << 30,
    };

    /// The smallest stack in bytes.
    pub const MIN_STACK_BYTES: u32 = 64 << 10;

    /// The minimum of memory that a component can be compiled in, in bytes.
    pub const MIN_PREPARE_MEMORY_BYTES: u64 = 32 << 20;

    /// The smaller one of each limit.
    #[must_use]
    pub fn at_most(&self, other: &Self) -> Self {
        Self {
            component_bytes: self.component_bytes.min(other.component_bytes),
            fuel: self.fuel.min(other.fuel),
            configure_fuel: self.configure_fuel.min(other.configure_fuel),
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            stack_bytes: self.stack_bytes.min(other.stack_bytes),
            output_bytes: self.output_bytes.min(other.output_bytes),
            wall_clock_ms: self.wall_clock_ms.min(other.wall_clock_ms),
            prepare_ms: self.prepare_ms.min(other.prepare_ms),
            prepare_memory_bytes: self.prepare_memory_bytes.min(other.prepare_memory_bytes),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
