//! Checks calls: the function has to be there, and take such arguments.

use regorus::Value;
use regorus::unstable::{BUILTINS, Expr, Ref};

use super::index::{Shape, Step};
use super::nearest::proposal;
use super::walk::{Target, Walk};
use crate::catalog::{self, Builtin};
use crate::kinds::Kinds;
use crate::tree::{self, Place, Reference};

/// Words that other languages or older versions have for a function.
const SYNONYMS: [(&str, &str); 24] = [
    ("match", "regex.match"),
    ("test", "regex.match"),
    ("len", "count"),
    ("length", "count"),
    ("size", "count"),
    ("starts_with", "startswith"),
    ("startsWith", "startswith"),
    ("hasPrefix", "startswith"),
    ("has_prefix", "startswith"),
    ("ends_with", "endswith"),
    ("endsWith", "endswith"),
    ("join", "concat"),
    ("toupper", "upper"),
    ("tolower", "lower"),
    ("to_upper", "upper"),
    ("to_lower", "lower"),
    ("matches", "regex.match"),
    ("re_match", "regex.match"),
    ("includes", "contains"),
    ("format", "sprintf"),
    ("printf", "sprintf"),
    ("int", "to_number"),
    ("keys", "object.keys"),
    ("get", "object.get"),
];

/// A function of the policy's own, by the number of its arguments.
enum Own {
    Function(usize),
    Rule,
}

impl<'t> Walk<'_, 't> {
    /// Checks a call.
    pub(super) fn call(
        &mut self,
        call: &'t Ref<Expr>,
        function: &'t Ref<Expr>,
        params: &'t [Ref<Expr>],
    ) {
        let reference = Reference::of(function);
        // A place takes the time of the text before it, so it is found where something is wrong.
        let head = reference.head;
        let Some(name) = tree::callee(function) else {
            let message = "the function of a call has to be named; an index is not";
            self.findings.error("unknown-function", Place::of_expr(head), message);
            return;
        };
        if let Some(name) = reference.name() {
            self.use_import(name);
        }
        if let Target::Data(path) = self.target(&reference) {
            let keys: Vec<String> = path
                .iter()
                .filter_map(|step| match step {
                    Step::Key(key) => Some(key.clone()),
                    Step::Any => None,
                })
                .collect();
            if let Some(group) = self.index.group(&keys) {
                self.reads.insert(group);
            }
            match self.own(&keys) {
                Some(Own::Function(arity)) => {
                    self.check_arity(&name, arity, params.len(), true, head)
                }
                Some(Own::Rule) => {
                    let message = format!(
                        "`{name}` is a rule and no function; use its value without arguments"
                    );
                    self.findings.error("not-a-function", Place::of_expr(head), message);
                }
                None => self.unknown_own(&keys, &name, head),
            }
            return;
        }
        // The second is how texts with expressions are written for the parser.
        if name == "print" || name == crate::text::JOIN {
            return;
        }
        match catalog::lookup(&name) {
            Some(Builtin::Function { arguments, .. }) => {
                let is_native = BUILTINS.contains_key(name.as_str());
                self.check_arity(&name, arguments.len(), params.len(), is_native, head);
                for (param, kinds) in params.iter().zip(&arguments) {
                    self.check_argument(&name, param, *kinds);
                }
                self.check_texts(call, &name, params);
            }
            Some(Builtin::Absent(reason)) => {
                let message = format!("the engine has no function `{name}`: {reason}");
                self.findings.error("absent-function", Place::of_expr(head), message);
            }
            Some(Builtin::Deprecated(replacement)) => {
                let message = format!("function `{name}` is deprecated; use `{replacement}`");
                self.findings.error("deprecated-function", Place::of_expr(head), message);
            }
            None => self.unknown_function(&name, head),
        }
    }

    /// The argument that takes the result of a call, as in `split(text, ",", parts)`.
    pub(super) fn output_argument(
        &self,
        function: &'t Ref<Expr>,
        params: &'t [Ref<Expr>],
    ) -> Option<&'t Ref<Expr>> {
        let name = tree::callee(function)?;
        let arity = match self.target(&Reference::of(function)) {
            Target::Data(path) => {
                let keys: Vec<String> = path
                    .into_iter()
                    .filter_map(|step| match step {
                        Step::Key(key) => Some(key),
                        Step::Any => None,
                    })
                    .collect();
                match self.own(&keys)? {
                    Own::Function(arity) => arity,
                    Own::Rule => return None,
                }
            }
            Target::Local | Target::Input(_) => usize::from(BUILTINS.get(name.as_str())?.1),
        };
        params.last().filter(|_| params.len() == arity + 1)
    }

    /// The kinds of the value of a call.
    pub(super) fn kinds_of_call(&self, function: &'t Ref<Expr>, _params: &'t [Ref<Expr>]) -> Kinds {
        if matches!(self.target(&Reference::of(function)), Target::Data(_)) {
            return Kinds::ANY;
        }
        match tree::callee(function).and_then(|name| catalog::lookup(&name)) {
            Some(Builtin::Function { result, .. }) => result,
            _ => Kinds::ANY,
        }
    }

    fn own(&self, keys: &[String]) -> Option<Own> {
        let group = self.index.groups.get(self.index.group(keys)?)?;
        Some(match group.definitions.first()?.shape {
            Shape::Function(arity) => Own::Function(arity),
            Shape::Complete | Shape::Set | Shape::Object => Own::Rule,
        })
    }

    fn check_arity(
        &mut self,
        name: &str,
        expected: usize,
        found: usize,
        takes_output: bool,
        at: &Expr,
    ) {
        if found == expected || (takes_output && found == expected + 1) {
            return;
        }
        let arguments = if expected == 1 { "argument" } else { "arguments" };
        let message = format!("`{name}` takes {expected} {arguments}, found {found}");
        self.findings.error("number-of-arguments", Place::of_expr(at), message);
    }

    fn check_argument(&mut self, name: &str, param: &'t Ref<Expr>, expected: Kinds) {
        let found = self.kinds(param);
        if !found.overlaps(expected) {
            let message = format!("`{name}` expects {expected} here, found {found}");
            self.findings.error("kind-of-argument", Place::of_expr(param), message);
        }
    }

    fn unknown_own(&mut self, keys: &[String], name: &str, at: &Expr) {
        let package = self.index.packages.iter().filter(|package| keys.starts_with(package));
        let message = match package.max_by_key(|package| package.len()) {
            Some(package) => {
                let wrong = keys.get(package.len()).map_or("", String::as_str);
                let meant = proposal(wrong, self.index.names_in(package));
                format!("package `{}` has no function `{wrong}`{meant}", package.join("."))
            }
            None => format!("there is no function `{name}`: no file has its package"),
        };
        self.findings.error("unknown-function", Place::of_expr(at), message);
    }

    fn unknown_function(&mut self, name: &str, at: &Expr) {
        if self.local(name).is_some_and(|local| local.origin != super::scope::Origin::Implied) {
            let message = format!("`{name}` is a variable and no function");
            self.findings.error("not-a-function", Place::of_expr(at), message);
            return;
        }
        let index = self.index;
        let own =
            index.files.get(self.file).map(|file| file.package.as_slice()).unwrap_or_default();
        let synonym = SYNONYMS.iter().find(|(word, _)| *word == name);
        // The last part alone may be right: `strings.startswith`.
        let last = name.rsplit('.').next().unwrap_or(name);
        let meant = match synonym {
            Some((_, word)) => format!("; did you mean `{word}`?"),
            None if last != name
                && matches!(catalog::lookup(last), Some(Builtin::Function { .. })) =>
            {
                format!("; did you mean `{last}`?")
            }
            None => {
                let with_namespace =
                    catalog::names().filter(|word| word.rsplit('.').next() == Some(name));
                match with_namespace.min() {
                    Some(word) => format!("; did you mean `{word}`?"),
                    None => {
                        let mut words: Vec<&str> = catalog::names().collect();
                        words.extend(index.names_in(own));
                        proposal(name, words)
                    }
                }
            }
        };
        self.findings.error(
            "unknown-function",
            Place::of_expr(at),
            format!("there is no function `{name}`{meant}"),
        );
    }

    /// Checks arguments that are literal texts: patterns, formats and layouts.
    fn check_texts(&mut self, call: &'t Ref<Expr>, name: &str, params: &'t [Ref<Expr>]) {
        match (name, params) {
            ("sprintf", [format, values, ..]) => {
                if let (Some(text), Expr::Array { items, .. }) =
                    (tree::key(format), values.as_ref())
                {
                    let verbs = crate::builtins::verbs(text);
                    if verbs.is_some_and(|verbs| verbs != items.len()) {
                        let verbs = verbs.unwrap_or_default();
                        let message =
                            format!("`sprintf` formats {verbs} values, found {}", items.len());
                        self.findings.warn(
                            "sprintf-arguments-mismatch",
                            Place::of_expr(call),
                            message,
                        );
                    }
                }
            }
            (
                "regex.match" | "regex.split" | "regex.find_n" | "regex.find_all_string_submatch_n",
                [pattern, ..],
            )
            | ("regex.replace", [_, pattern, ..]) => {
                if let Some(text) = tree::key(pattern)
                    && let Err(error) = crate::builtins::check_pattern(text)
                {
                    let message = format!("invalid regular expression: {error}");
                    self.findings.error("invalid-regex", Place::of_expr(pattern), message);
                }
            }
            ("time.parse_duration_ns", [text, ..]) => {
                if let Some(text) = tree::key(text)
                    && crate::builtins::parse_duration(text).is_none()
                {
                    let message =
                        format!("`{text}` is no duration; expected one such as `90s` or `1h30m`");
                    self.findings.error("invalid-duration", Place::of_expr(call), message);
                }
            }
            ("time.clock" | "time.date" | "time.weekday" | "time.format", [time, ..]) => {
                self.check_zone(time)
            }
            ("startswith" | "endswith" | "contains", [claim, text]) => {
                if let (Some(claim), Some(text)) = (self.claim(claim), tree::key(text))
                    && let Some(values) = claim.never_part(text)
                {
                    let message = format!("never true: the claim is {values}");
                    self.findings.warn("never-equal", Place::of_expr(call), message);
                }
            }
            _ => {}
        }
    }

    fn check_zone(&mut self, time: &'t Ref<Expr>) {
        let Expr::Array { items, .. } = time.as_ref() else { return };
        let Some(zone) = items.get(1) else { return };
        if let Some(name) = tree::key(zone)
            && let Some(message) = crate::builtins::zone_problem(name)
        {
            self.findings.error("unknown-zone", Place::of_expr(zone), message);
        }
    }
}

/// The text of a value, for messages.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
