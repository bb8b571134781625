//! Advice for a name that is not there.

use engine_shared::did_you_mean;

use crate::reader::EXPORTS;

pub const NO_CLOCK: &str = "a policy has no clock: the time is token.issued_at";
const NO_FILES: &str = "a policy has no files; what it needs is in settings";
const NO_INPUT: &str = "a policy asks nobody; what it needs is in settings";

/// Constants, and functions of the language that the interpreter has.
const KNOWN: [&str; 31] = [
    "False",
    "None",
    "True",
    "abs",
    "all",
    "any",
    "chr",
    "divmod",
    "enumerate",
    "filter",
    "getattr",
    "hasattr",
    "hash",
    "hex",
    "isinstance",
    "len",
    "map",
    "max",
    "min",
    "next",
    "ord",
    "pow",
    "print",
    "repr",
    "reversed",
    "round",
    "sorted",
    "sum",
    "type",
    "zip",
    "str",
];

/// The methods of texts.
const OF_TEXTS: [&str; 30] = [
    "capitalize",
    "casefold",
    "count",
    "encode",
    "endswith",
    "find",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdigit",
    "islower",
    "isspace",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "upper",
];

/// The message for a function that the interpreter has, and no policy can use.
pub fn refused(name: &str) -> Option<&'static str> {
    match name {
        "open" => Some(NO_FILES),
        "input" => Some(NO_INPUT),
        "eval" | "exec" | "compile" => Some("a policy cannot compile text"),
        "__import__" => Some("modules are imported by `import` and `from … import`"),
        _ => None,
    }
}

/// The words that follow a name that is not defined, of those that are.
pub fn undefined<'k>(name: &str, known: impl Iterator<Item = &'k str>) -> String {
    match name {
        "settings" | "run" | "token" => {
            "; it is a parameter of `evaluate`: `evaluate(settings, run, token)`".to_owned()
        }
        "null" | "nil" | "undefined" => "; write `None`".to_owned(),
        _ if EXPORTS.iter().any(|(export, _)| *export == name) => {
            format!("; write `from countersign import {name}`")
        }
        _ => did_you_mean(name, known.chain(KNOWN)),
    }
}

/// The words that follow an attribute that a value has not, such as `''.startwith`.
pub fn attribute(expression: &str) -> String {
    let name = expression.rsplit('.').next().unwrap_or_default().trim_end_matches("()");
    if expression.starts_with("''.") {
        did_you_mean(name, OF_TEXTS)
    } else if expression.starts_with("[].") && matches!(name, "contains" | "includes" | "has") {
        "; write `in`".to_owned()
    } else if expression.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        "; the interpreter does not have it".to_owned()
    } else {
        String::new()
    }
}
