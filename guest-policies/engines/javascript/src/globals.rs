//! Names that no file of a policy binds: what the language brings, and what only browsers and Node have.

use std::collections::BTreeSet;

use boa_engine::property::PropertyKey;
use boa_engine::{Context, JsObject};
use engine_shared::did_you_mean;
use oxc_ast::ast::{CallExpression, Expression, NewExpression};
use oxc_span::GetSpan;

use crate::engine::NO_TEXT;

/// The parameters of `evaluate`.
const PARAMETERS: [&str; 3] = ["settings", "run", "token"];

/// The functions of the module `countersign`.
const FUNCTIONS: [&str; 6] = ["abstain", "deny", "localTime", "permit", "policy", "restrict"];

/// Advice for names that other environments have.
const ELSEWHERE: [(&[&str], &str); 7] = [
    (&["console"], "a policy has no output; put what you want to see into the message of a reason"),
    (
        &["fetch", "XMLHttpRequest", "WebSocket"],
        "a policy reaches no network; register what it needs as a fact of the run",
    ),
    (
        &["process", "Deno", "Bun"],
        "a policy has no environment; what differs from one to another is a setting",
    ),
    (&["require", "module", "exports"], "write `import` and `export`"),
    (&["setTimeout", "setInterval", "setImmediate", "queueMicrotask"], "a policy cannot wait"),
    (
        &[
            "Buffer",
            "TextDecoder",
            "TextEncoder",
            "URL",
            "URLSearchParams",
            "atob",
            "btoa",
            "structuredClone",
        ],
        "it is not part of the language, which is all that a policy has",
    ),
    (&["window", "document", "global", "self"], "write `globalThis`"),
];

const NO_CLOCK: &str = "a policy has no clock: the time is token.issuedAt";
const NO_RANDOM: &str = "a policy has no random numbers: all that it may know is in run and token";

/// The names that the language brings.
pub struct Library {
    globals: BTreeSet<String>,
    /// The members of texts, and of the other kinds of values that claims have.
    pub texts: BTreeSet<String>,
    pub lists: BTreeSet<String>,
    pub numbers: BTreeSet<String>,
    pub big_integers: BTreeSet<String>,
}

/// The names that a file reads.
#[derive(Default)]
pub struct Globals {
    read: Vec<(String, u32)>,
    /// The names whose kind the file asks for before it uses them.
    asked: BTreeSet<String>,
    /// Calls that always throw: the name at the root, its place, and the message.
    thrown: Vec<(String, u32, &'static str)>,
}

impl Library {
    /// Asks the interpreter.
    pub fn of(context: &mut Context) -> Self {
        let global = context.global_object();
        let intrinsics = context.intrinsics().constructors();
        let [texts, lists, numbers, big_integers, objects] = [
            intrinsics.string(),
            intrinsics.array(),
            intrinsics.number(),
            intrinsics.bigint(),
            intrinsics.object(),
        ]
        .map(|constructor| constructor.prototype());
        let objects = names(&objects, context);
        let mut members = |prototype: &JsObject| {
            let mut members = names(prototype, context);
            members.extend(objects.iter().cloned());
            members
        };
        let mut texts = members(&texts);
        texts.insert("length".to_owned());
        let (lists, numbers) = (members(&lists), members(&numbers));
        let big_integers = members(&big_integers);
        Self { globals: names(&global, context), texts, lists, numbers, big_integers }
    }
}

/// The names of the members that an object itself has.
pub fn names(object: &JsObject, context: &mut Context) -> BTreeSet<String> {
    // An object of the language answers this without an error.
    let keys = object.own_property_keys(context).unwrap_or_default();
    let names = keys.into_iter().filter_map(|key| match key {
        PropertyKey::String(name) => Some(name.to_std_string_escaped()),
        PropertyKey::Symbol(_) | PropertyKey::Index(_) => None,
    });
    names.collect()
}

impl Globals {
    /// Takes a name that is read.
    pub fn reads(&mut self, name: &str, at: u32) {
        self.read.push((name.to_owned(), at));
    }

    /// Takes a name whose kind is asked for.
    pub fn asks(&mut self, name: &str) {
        self.asked.insert(name.to_owned());
    }

    /// Takes a call.
    pub fn calls(&mut self, it: &CallExpression<'_>) {
        let (root, member) = match &it.callee {
            Expression::Identifier(name) => (name.name.as_str(), ""),
            Expression::StaticMemberExpression(callee) => match &callee.object {
                Expression::Identifier(root) => (root.name.as_str(), callee.property.name.as_str()),
                _ => return,
            },
            _ => return,
        };
        let message = match (root, member) {
            ("Date", "" | "now") | ("performance", "now") => NO_CLOCK,
            ("Math", "random") | ("crypto", "getRandomValues" | "randomUUID") => NO_RANDOM,
            ("eval" | "Function", "") => NO_TEXT,
            _ => return,
        };
        self.thrown.push((root.to_owned(), it.callee.span().start, message));
    }

    /// Takes what is made by `new`.
    pub fn makes(&mut self, it: &NewExpression<'_>) {
        let Expression::Identifier(name) = &it.callee else { return };
        let message = match name.name.as_str() {
            "Date" if it.arguments.is_empty() => NO_CLOCK,
            "Function" => NO_TEXT,
            _ => return,
        };
        self.thrown.push((name.name.to_string(), it.span.start, message));
    }

    /// The names that nothing defines, each with its place and the message.
    pub fn undefined(
        &self,
        bound: &BTreeSet<&str>,
        library: &Library,
    ) -> impl Iterator<Item = (u32, String)> {
        let is_defined = |name: &str| {
            bound.contains(name)
                || library.globals.contains(name)
                || self.asked.contains(name)
                || name == "arguments"
        };
        let read = self.read.iter().filter(move |(name, _)| !is_defined(name));
        read.map(|(name, at)| {
            let elsewhere = ELSEWHERE.iter().find(|(names, _)| names.contains(&name.as_str()));
            let hint = match elsewhere {
                Some((_, instead)) => format!("; {instead}"),
                None if FUNCTIONS.contains(&name.as_str()) => {
                    format!("; write `import {{ {name} }} from 'countersign'`")
                }
                None if PARAMETERS.contains(&name.as_str()) => {
                    "; it is a parameter of `evaluate`: `evaluate(settings, run, token)`".to_owned()
                }
                None => {
                    let globals = library.globals.iter().map(String::as_str);
                    did_you_mean(name, bound.iter().copied().chain(globals))
                }
            };
            (*at, format!("ReferenceError: {name} is not defined{hint}"))
        })
    }

    /// Calls that always throw, each with its place and the message.
    pub fn thrown(&self, bound: &BTreeSet<&str>) -> impl Iterator<Item = (u32, String)> {
        let thrown = self.thrown.iter().filter(|(root, ..)| !bound.contains(root.as_str()));
        thrown.map(|(_, at, message)| (*at, (*message).to_owned()))
    }
}
