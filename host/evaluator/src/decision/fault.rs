//! Faults: evaluations that produced no valid verdict.

use crate::limits::MAX_TABLE_ELEMENTS;

/// A policy gave no valid verdict. Under an enforcing binding every fault refuses.
///
/// The list is exhaustive: [`Fault::code`] is stable, and matching on it needs no default arm.
/// All but [`Fault::Deadline`], [`Fault::Stack`] and [`Fault::Host`] are the same on every machine.
/// Texts that come from the guest are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The fuel limit was reached.
    #[error("used more than {limit} units of fuel")]
    OutOfFuel {
        /// The limit.
        limit: u64,
    },
    /// The wall-clock limit was reached. Another machine may not reproduce it.
    #[error("ran longer than {limit_ms} ms")]
    Deadline {
        /// The limit in milliseconds.
        limit_ms: u32,
    },
    /// The native stack limit was reached. It counts native bytes, so a processor of another kind
    /// may not reproduce it.
    #[error("used more than {limit} bytes of stack")]
    Stack {
        /// The limit in bytes.
        limit: u32,
    },
    /// The memory limit was reached, or that of table elements (20,000 in all).
    #[error("requested more than {limit} bytes of memory or {MAX_TABLE_ELEMENTS} table elements")]
    Memory {
        /// The limit in bytes.
        limit: u64,
    },
    /// The policy panicked, by the SDK's report.
    #[error("panicked: {message}")]
    Panic {
        /// The panic's message and place: escaped, and cut to 1,024 bytes.
        message: String,
    },
    /// The policy trapped, or its allocator gave an invalid address, for which the component ABI has
    /// the host trap.
    #[error("trapped: {reason}")]
    Trap {
        /// WebAssembly's name of the trap.
        reason: String,
    },
    /// The verdict is larger than the limit.
    #[error("returned more than {limit} bytes")]
    OutputTooLarge {
        /// The limit in bytes.
        limit: u32,
    },
    /// The component ABI was broken: the result is not a value of the contract's types (or, of
    /// `describe` and `configure`, is larger than 256 KiB).
    #[error("returned a value that is not one of the contract's, or is too large")]
    BadOutput,
    /// The host could not give what the limits allow. Not the policy's doing, and another machine
    /// may not reproduce it.
    #[error("could not be run: {problem}")]
    Host {
        /// The host's problem, escaped and cut.
        problem: String,
    },
    /// The policy rejects the settings of a binding that is prepared lazily.
    #[error("rejected its settings")]
    Configure,
    /// The verdict is a permit whose grant does not only narrow.
    #[error(transparent)]
    Grant(#[from] GrantFault),
}

impl Fault {
    /// The codes of those that another machine, or a busier one, need not reproduce.
    pub const MACHINE_CODES: [&'static str; 3] = ["deadline", "stack", "host"];

    /// The codes of all faults, as [`Fault::code`] has them.
    pub const CODES: [&'static str; 15] = [
        "out-of-fuel",
        "deadline",
        "stack",
        "memory",
        "panic",
        "trap",
        "output-too-large",
        "bad-output",
        "host",
        "configure",
        "grant-widens-ttl",
        "grant-widens-audiences",
        "grant-reserved-claim",
        "grant-unlisted-claim",
        "grant-bad-claim",
    ];

    /// The guest's allocator gave an address for an argument that is out of bounds or misaligned.
    pub(crate) fn allocator() -> Self {
        Self::Trap { reason: "its allocator returned an invalid address".to_owned() }
    }

    /// The stable code: lower-case words joined by dashes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfFuel { .. } => "out-of-fuel",
            Self::Deadline { .. } => "deadline",
            Self::Stack { .. } => "stack",
            Self::Memory { .. } => "memory",
            Self::Panic { .. } => "panic",
            Self::Trap { .. } => "trap",
            Self::OutputTooLarge { .. } => "output-too-large",
            Self::BadOutput => "bad-output",
            Self::Host { .. } => "host",
            Self::Configure => "configure",
            Self::Grant(fault) => fault.code(),
        }
    }
}

/// A grant that would widen the request, or that touches what is not the policy's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantFault {
    /// A lifetime of zero seconds, or one longer than requested.
    #[error("granted {granted} seconds; expected 1 to the requested {requested}")]
    Ttl {
        /// The lifetime granted.
        granted: u32,
        /// The lifetime requested, at most [`MAX_TTL_SECONDS`](crate::MAX_TTL_SECONDS).
        requested: u32,
    },
    /// An audience that was not requested.
    #[error("granted the audience `{audience}`, which was not requested")]
    Audience {
        /// The audience: escaped, and cut to 256 bytes.
        audience: String,
    },
    /// A claim that only the host sets.
    #[error("added the claim `{name}`, which only the host sets")]
    ReservedClaim {
        /// The name.
        name: String,
    },
    /// A claim that the operator did not allow for this binding.
    #[error("added the claim `{name}`, which the binding's `claims` do not list")]
    UnlistedClaim {
        /// The name.
        name: String,
    },
    /// A claim whose name or value does not have the contract's form, or one claim twice, or more
    /// than 32 of them.
    #[error("added a claim that is out of form: {problem}")]
    BadClaim {
        /// The problem.
        problem: String,
    },
}

impl GrantFault {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Ttl { .. } => "grant-widens-ttl",
            Self::Audience { .. } => "grant-widens-audiences",
            Self::ReservedClaim { .. } => "grant-reserved-claim",
            Self::UnlistedClaim { .. } => "grant-unlisted-claim",
            Self::BadClaim { .. } => "grant-bad-claim",
        }
    }
}
