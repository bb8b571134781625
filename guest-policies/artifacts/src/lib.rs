//! Every policy of this repository as a component, built from its source beside this crate.

macro_rules! artifacts {
    ($($(#[$doc:meta])* $constant:ident = $name:literal,)*) => {
        $(
            $(#[$doc])*
            pub const $constant: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm"));
        )*

        /// The policies that people would deploy and the scripted one, by name.
        pub const ALL: &[(&str, &[u8])] = &[$(($name, $constant)),*];
    };
}

artifacts! {
    /// Permits a list of up to 10,000 workspaces.
    ALLOWED_CONSUMERS = "allowed-consumers",
    /// Keeps the audiences that a definition's implementation uses.
    AUDIENCE_PER_IMPLEMENTATION = "audience-per-implementation",
    /// Permits within windows of time.
    CHANGE_WINDOW = "change-window",
    /// Permits the definition workspace itself and the workspaces on its list.
    SAME_WORKSPACE = "same-workspace",
    /// Answers what its settings say: for tests.
    SCRIPTED = "scripted",
    /// Permits behaviors by the kind of author.
    TRIGGER_GATE = "trigger-gate",
    /// Lowers the life of a token by behavior.
    TTL_CEILING = "ttl-ceiling",
}
