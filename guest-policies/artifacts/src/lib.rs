//! The policies that people would deploy, as components, built from their sources beside this crate.

macro_rules! artifacts {
    ($(#[$of_list:meta])* $list:ident: $($(#[$doc:meta])* $constant:ident = $name:literal,)*) => {
        $(
            $(#[$doc])*
            pub const $constant: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".wasm"));
        )*

        $(#[$of_list])*
        pub const $list: &[(&str, &[u8])] = &[$(($name, $constant)),*];
    };
}

artifacts! {
    /// The policies that people would deploy, by name.
    POLICIES:
    /// Permits a list of up to 10,000 workspaces.
    ALLOWED_CONSUMERS = "allowed-consumers",
    /// Keeps the audiences that a definition's implementation uses.
    AUDIENCE_PER_IMPLEMENTATION = "audience-per-implementation",
    /// Restricts tokens to windows of time.
    CHANGE_WINDOW = "change-window",
    /// Permits the definition workspace itself and the workspaces on its list.
    SAME_WORKSPACE = "same-workspace",
    /// Restricts behaviors by the kind of author.
    TRIGGER_GATE = "trigger-gate",
    /// Lowers the TTL of a token by behavior.
    TTL_CEILING = "ttl-ceiling",
}
