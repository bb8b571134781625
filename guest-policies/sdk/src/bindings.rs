//! The bindings that `wit-bindgen` generates from the contract.
#![allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated")]
#![allow(clippy::all, clippy::restriction, reason = "generated")]

wit_bindgen::generate!({
    path: "wit",
    world: "token-policy",
    pub_export_macro: true,
    default_bindings_module: "countersign_policy::bindings",
    additional_derives: [PartialEq, Eq],
});
