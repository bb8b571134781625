//! What one binding may use.

/// The limits of one binding.
///
/// Fuel, memory and output are deterministic: the same policy, settings and claims always end the
/// same way. The wall-clock limit is a backstop behind them, and what it cuts off is a fault of its
/// own. The stack is limited for the whole process: see [`Engine::STACK_BYTES`](crate::Engine).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Size of a verdict in bytes, as the host holds it.
    pub output_bytes: u32,
    /// Time of one evaluation in milliseconds, `configure` included. Checked every
    /// [`TICK`](crate::Engine::TICK): an evaluation ends at most two ticks later. A verdict that
    /// cannot be lifted is evaluated a second time to find out why, which can double this.
    pub wall_clock_ms: u32,
}

impl Limits {
    /// What a binding gets when its manifest says nothing: ample for a compiled policy.
    pub const DEFAULT: Self = Self {
        component_bytes: 1 << 20,
        fuel: 10_000_000,
        configure_fuel: 1_000_000_000,
        memory_bytes: 16 << 20,
        output_bytes: 64 << 10,
        wall_clock_ms: 250,
    };

    /// The most that a manifest can ask for.
    pub const CEILING: Self = Self {
        component_bytes: 64 << 20,
        fuel: 10_000_000_000,
        configure_fuel: 100_000_000_000,
        memory_bytes: 256 << 20,
        output_bytes: 1 << 20,
        wall_clock_ms: 10_000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
