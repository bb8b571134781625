//! The SDK for Countersign policies in Rust. A policy is a settings struct, and one function from
//! settings, run and token to a verdict.
//!
//! ```
//! use countersign_policy::{IdentifierSet, Run, Token, Verdict, Workspace, policy, settings};
//!
//! /// Which workspaces may use the definition.
//! #[settings]
//! pub struct Settings {
//!     /// Identifiers of workspaces.
//!     workspaces: IdentifierSet<Workspace>,
//! }
//!
//! policy!(Settings, evaluate);
//!
//! fn evaluate(settings: &Settings, run: &Run, _token: &Token) -> Verdict {
//!     let consumer = &run.building_block.workspace;
//!     if settings.workspaces.contains(consumer) {
//!         Verdict::permit()
//!     } else {
//!         Verdict::deny("workspace-not-listed", format!("`{consumer}` is not on the list"))
//!     }
//! }
//! # use countersign_policy::testing;
//! # let settings = countersign_policy::parse_settings(r#"{"workspaces": ["my-workspace"]}"#).unwrap();
//! # assert_eq!(evaluate(&settings, &testing::run(), &testing::token()), Verdict::permit());
//! ```
//!
//! A policy that limits tokens and does not say who may have them answers [`Verdict::restrict`]:
//! it narrows as a permit does, and never counts as one. See also [`Grant::restrict`].
//!
//! Settings are made of [`Workspace`], [`DefinitionId`] and [`Audience`], sets and maps of them
//! ([`IdentifierSet`], [`IdentifierMap`]), the enums [`Behavior`],
//! [`AuthorKind`] and [`Implementation`] (written in kebab-case), and whatever serde and schemars
//! have implementations for; a nested type takes [`settings`] too.
//!
//! The crate is a library of `crate-type = ["cdylib", "rlib"]`; its name, version and description
//! in `Cargo.toml` are the policy's. Natively it is an ordinary library, so plain `cargo test`
//! tests `evaluate`, with [`testing`] for runs and tokens. Built for WebAssembly it exports the
//! contract, and:
//! - `describe` carries the JSON Schema of the settings struct, its doc comments included (see
//!   [`policy`]);
//! - `configure` parses the settings and reports the first error with a JSON pointer;
//! - memory comes from an arena that is never freed, since an evaluation is short;
//! - a panic is a fault whose message the host reads. It refuses: a policy that cannot answer has
//!   not permitted.

#[cfg(target_arch = "wasm32")]
mod arena;
#[doc(hidden)]
pub mod bindings;
mod export;
mod identifier;
mod identifier_set;
#[cfg(target_arch = "wasm32")]
mod panic;
pub mod sample;
mod settings;
mod sorted_texts;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod time_zone;
mod verdict;
mod words;

pub use bindings::exports::countersign::policy::policy::{
    AuthorKind, Behavior, BuildingBlock, Definition, Fact, Grant, Implementation, Parent, Problem,
    Reason, Run, Token, Trigger, Verdict,
};
#[doc(hidden)]
pub use countersign_policy_macros::NoSchema;
pub use countersign_policy_macros::settings;
pub use identifier::{Audience, DefinitionId, Identifier, Workspace};
pub use identifier_set::{IdentifierMap, IdentifierSet};
#[cfg(not(target_arch = "wasm32"))]
pub use schemars;
pub use serde;
pub use settings::{Error as SettingsError, parse as parse_settings};
pub use time_zone::{LocalTime, TimeZone};

#[doc(hidden)]
pub mod __private {
    pub use crate::export::{Configured, Meta, configure, describe, evaluate, unprepared};
}

/// Exports a policy: a type of settings, made with [`settings`], and the function that decides.
///
/// A policy that prepares its settings once (parses a text, builds an index) passes four arguments:
/// `policy!(Settings, prepare, Prepared, evaluate)`, with `prepare: fn(Settings) -> Result<Prepared,
/// Vec<Problem>>` and `evaluate: fn(&Prepared, &Run, &Token) -> Verdict`. The memory after `prepare` is the snapshot
/// that every evaluation begins with, so `prepare` should also trigger whatever is initialised lazily: decide
/// once on [`sample::run`] and [`sample::token`].
///
/// The policy's name, version and summary are those of the crate's `Cargo.toml` (`name`,
/// `version`, `description`). Call it once in a crate.
///
/// The settings' JSON Schema is the file `settings.schema.json` beside `Cargo.toml`. `cargo test`
/// writes it when it is missing, fails when it differs from the struct's, and rewrites it under
/// `UPDATE=1`: the schema that operators and editors see is reviewed like code, and costs the
/// component nothing.
#[macro_export]
macro_rules! policy {
    ($settings:ty, $evaluate:path) => {
        $crate::policy!(
            $settings,
            $crate::__private::unprepared::<$settings>,
            $settings,
            $evaluate
        );
    };
    ($settings:ty, $prepare:path, $prepared:ty, $evaluate:path) => {
        const _: fn($settings) -> Result<$prepared, Vec<$crate::Problem>> = $prepare;
        const _: fn(&$prepared, &$crate::Run, &$crate::Token) -> $crate::Verdict = $evaluate;

        #[cfg(test)]
        #[test]
        fn settings_schema_is_current() {
            $crate::testing::check_settings_schema::<$settings>(env!("CARGO_MANIFEST_DIR"));
        }

        #[cfg(target_arch = "wasm32")]
        #[allow(unsafe_code, reason = "the exported functions of the component ABI")]
        const _: () = {
            use $crate::bindings::exports::countersign::policy::policy as contract;

            struct Policy;

            static PREPARED: $crate::__private::Configured<$prepared> =
                $crate::__private::Configured::new();

            impl contract::Guest for Policy {
                fn describe() -> contract::Description {
                    $crate::__private::describe($crate::__private::Meta {
                        name: env!("CARGO_PKG_NAME"),
                        version: env!("CARGO_PKG_VERSION"),
                        summary: env!("CARGO_PKG_DESCRIPTION"),
                        settings_schema: include_str!(concat!(
                            env!("CARGO_MANIFEST_DIR"),
                            "/settings.schema.json"
                        )),
                    })
                }

                fn configure(settings: String) -> Result<(), Vec<contract::Problem>> {
                    $crate::__private::configure(&PREPARED, $prepare, &settings)
                }

                fn evaluate(run: $crate::Run, token: $crate::Token) -> $crate::Verdict {
                    $crate::__private::evaluate(&PREPARED, $evaluate, &run, &token)
                }
            }

    $crate::bindings::export!(Policy with_types_in $crate::bindings);
        };
    };
}
