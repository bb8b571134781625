//! The attribute macro of `countersign-policy`. Use it from there.

use proc_macro::{TokenStream, TokenTree};

/// Makes a struct or an enum usable as settings: see `countersign_policy::settings`.
#[proc_macro_attribute]
pub fn settings(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return "compile_error!(\"`#[settings]` takes no arguments\");".parse().unwrap_or_default();
    }
    // The schema is made natively and checked in; a component would carry 60 KB of code for it.
    // Unknown keys are refused, so that a misspelt one cannot be an absent one.
    let attributes = "
        #[derive(::countersign_policy::serde::Deserialize)]
        #[cfg_attr(
            not(target_arch = \"wasm32\"),
            derive(Debug, ::countersign_policy::schemars::JsonSchema)
        )]
        #[cfg_attr(target_arch = \"wasm32\", derive(::countersign_policy::NoSchema))]
        #[serde(crate = \"::countersign_policy::serde\", deny_unknown_fields, rename_all = \"kebab-case\")]
        #[schemars(crate = \"::countersign_policy::schemars\")]
    ";
    let is_enum = item
        .clone()
        .into_iter()
        .any(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "enum"));
    let fields_of_variants =
        if is_enum { "#[serde(rename_all_fields = \"kebab-case\")]" } else { "" };
    let mut output: TokenStream =
        format!("{attributes}{fields_of_variants}").parse().unwrap_or_default();
    output.extend(item);
    output
}

/// Stands for schemars' derive in a component: takes its attributes, makes nothing.
#[proc_macro_derive(NoSchema, attributes(schemars))]
pub fn no_schema(_: TokenStream) -> TokenStream {
    TokenStream::new()
}
