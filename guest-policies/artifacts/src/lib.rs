//! Every policy of this repository as a component, built from its source beside this crate.

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

artifacts! {
    /// The policies of the cookbook that are in Rust, by name.
    COOKBOOK:
    /// Denies building blocks that are not built on approved definitions.
    APPROVED_PARENTS = "approved-parents",
    /// Denies changes, except by a person for whom the glass was broken.
    BREAK_GLASS = "break-glass",
    /// Denies every run of a stopped definition.
    EMERGENCY_STOP = "emergency-stop",
}

/// Returns the verdict in its settings. For tests only: it permits anything.
pub const SCRIPTED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/scripted.wasm"));

/// Decides by the Rego policy in its settings.
pub const REGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rego.wasm"));

/// Decides by the Cedar policies in its settings.
pub const CEDAR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cedar.wasm"));
