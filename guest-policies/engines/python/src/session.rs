//! A policy in the interpreter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use monty::{MontyRepl, ReplProgress};
use monty_types::{
    AssertMessageAnnotations, CompileOptions, ExcType, MontyException, MontyObject,
    NameLookupResult, PrintWriter, ResourceLimits, ResourceTracker,
};

use crate::source::{MAIN, Source};
use crate::{hints, local_time};

const PRELUDE: &str = include_str!("prelude.py");

/// The builtins that the prelude reads.
const OWN_BUILTINS: [&str; 11] = [
    "TypeError",
    "dict",
    "frozenset",
    "int",
    "len",
    "list",
    "set",
    "str",
    "tuple",
    "type",
    "AttributeError",
];

/// The function that the host's `evaluate` calls.
const DECIDE: &str = "__countersign_decide__";

/// The function that drops the claims of the last decision.
const FORGET: &str = "__countersign_forget__";

/// The function that checks the settings of the policy.
const CHECK: &str = "__countersign_check__";

/// The names of the arguments of a call.
const ARGUMENTS: [&str; 2] = ["__countersign_argument_0__", "__countersign_argument_1__"];

/// The looks at the clock that a decision on a sample may take. A policy that does not end for the sample may end for real
/// runs, and must not use up the fuel of `configure`.
#[cfg(target_arch = "wasm32")]
const SAMPLE_LOOKS: Duration = Duration::from_millis(100_000);

/// A library of a native program has a clock.
#[cfg(not(target_arch = "wasm32"))]
const SAMPLE_LOOKS: Duration = Duration::from_millis(20);

/// The interpreter with a policy that has run to its end.
pub struct Session {
    repl: MontyRepl,
    /// The author's file for each text that the interpreter was fed, by the name that it gave it.
    files: BTreeMap<String, String>,
    /// The policy asks for local times, which the engine answers: it is run in parts, with an answer after each.
    asks: bool,
}

impl Session {
    /// Runs the files of a policy, in their order.
    ///
    /// # Errors
    /// The exception that one of them ended with.
    pub fn new(sources: Vec<Source>, settings: MontyObject) -> Result<Self, String> {
        let asks = sources.iter().any(|source| source.asks);
        let mut session = Self { repl: empty(), files: BTreeMap::new(), asks };
        session.feed(PRELUDE, vec![local_time::input()])?;
        let mut call = None;
        let mut has_check = false;
        let mut builtins: BTreeSet<String> =
            OWN_BUILTINS.iter().map(|name| (*name).to_owned()).collect();
        let mut attributes = Vec::new();
        for (number, source) in sources.into_iter().enumerate() {
            session.files.insert(snippet(number + 1), source.path.clone());
            session.feed(&source.text, Vec::new())?;
            builtins.extend(source.builtins);
            attributes.extend(source.attributes);
            if source.path == MAIN {
                call = source.evaluate.filter(|_| !source.is_exported);
                has_check = source.has_check && !source.is_exported;
            }
        }
        // A function that the host calls finds a builtin only where the module has the name.
        let builtins = builtins.iter().map(|name| format!("{name} = {name}\n"));
        let driver = builtins.collect::<String>() + &driver(call.as_deref(), has_check);
        session.feed(&driver, vec![("__countersign_settings__".to_owned(), settings)])?;
        session.look_up(attributes)?;
        Ok(session)
    }

    /// Looks up what a policy reads of the library, of which the interpreter has a part: what is missing there is found now,
    /// and not by the first run that reaches it. What is called is called, without an argument: some methods are there for
    /// nothing else.
    fn look_up(&mut self, attributes: Vec<(String, String)>) -> Result<(), String> {
        let mut known = BTreeSet::new();
        for (attribute, place) in attributes {
            if !known.insert(attribute.clone()) {
                continue;
            }
            // Its value is not wanted: one may have no end.
            match self.feed(&format!("{attribute}\nNone"), Vec::new()) {
                Err(text) if text.contains("AttributeError") => {
                    return Err(format!("{place}: {text}{}", hints::attribute(&attribute)));
                }
                // A name that is not one of the module's: it is another one within a function.
                _ => {}
            }
        }
        Ok(())
    }

    fn feed(&mut self, text: &str, inputs: Vec<(String, MontyObject)>) -> Result<(), String> {
        if self.asks {
            return self.answered(text, inputs).map(drop);
        }
        match self.repl.feed_run(text, inputs, PrintWriter::Disabled) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Calls the policy's `check`. An empty list where it has none.
    ///
    /// # Errors
    /// The exception that it ended with.
    pub fn check(&mut self) -> Result<MontyObject, String> {
        self.call(CHECK, Vec::new())
    }

    /// Calls the policy's `evaluate`.
    ///
    /// # Errors
    /// The exception that it ended with.
    pub fn decide(&mut self, run: MontyObject, token: MontyObject) -> Result<MontyObject, String> {
        self.call(DECIDE, vec![run, token])
    }

    /// As [`decide`](Self::decide), with an end.
    pub fn decide_on_sample(&mut self, run: MontyObject, token: MontyObject) {
        let limits = ResourceLimits::default().max_duration(SAMPLE_LOOKS);
        *self.repl.tracker_mut() = ResourceTracker::new(limits);
        let _ = self.decide(run, token);
        let _ = self.call(FORGET, vec![MontyObject::None; if self.asks { 2 } else { 0 }]);
        *self.repl.tracker_mut() = ResourceTracker::default();
    }

    fn call(&mut self, function: &str, arguments: Vec<MontyObject>) -> Result<MontyObject, String> {
        if self.asks {
            let inputs = ARGUMENTS.iter().map(|name| (*name).to_owned()).zip(arguments);
            let inputs: Vec<_> = inputs.collect();
            let names: Vec<_> = inputs.iter().map(|(name, _)| name.as_str()).collect();
            let call = format!("{function}({})", names.join(", "));
            return self.answered(&call, inputs);
        }
        self.repl
            .call_function(function, arguments, PrintWriter::Disabled)
            .map_err(|error| self.explain(&error))
    }

    /// Runs a text, and answers what it asks the engine.
    fn answered(
        &mut self,
        text: &str,
        inputs: Vec<(String, MontyObject)>,
    ) -> Result<MontyObject, String> {
        let repl = std::mem::replace(&mut self.repl, empty());
        let mut progress = repl.feed_start(text, inputs, PrintWriter::Disabled);
        loop {
            progress = match progress {
                Ok(ReplProgress::Complete { repl, value }) => {
                    self.repl = repl;
                    return Ok(value);
                }
                Ok(ReplProgress::FunctionCall(call)) => {
                    let answer = local_time::answer(&call.function_name, &call.args);
                    call.resume(answer, PrintWriter::Disabled)
                }
                Ok(ReplProgress::NameLookup(lookup)) => {
                    lookup.resume(NameLookupResult::Undefined, PrintWriter::Disabled)
                }
                Ok(ReplProgress::OsCall(call)) => {
                    let function = format!("OS function '{}'", call.function_call.name());
                    let error = MontyException::new(ExcType::NotImplementedError, Some(function));
                    call.resume(error, PrintWriter::Disabled)
                }
                Ok(waits @ ReplProgress::ResolveFutures(_)) => {
                    self.repl = waits.into_repl();
                    return Err("a policy cannot wait".to_owned());
                }
                Err(ended) => {
                    self.repl = ended.repl;
                    return Err(self.explain(&ended.error));
                }
            }
        }
    }

    /// An exception in one line: the innermost place in the author's files, its type and its text.
    fn explain(&self, error: &MontyException) -> String {
        let mut text = match error.message() {
            Some(message) => format!("{}: {message}", error.exc_type()),
            None => error.exc_type().to_string(),
        };
        // The names of the prelude, as authors know them.
        while let Some((before, name)) = text.split_once("__countersign_")
            && let Some((name, after)) = name.split_once("__")
        {
            text = format!("{before}{name}{after}");
        }
        if let Some((_, function)) = text.split_once("OS function '")
            && let Some((function, _)) = function.split_once('\'')
        {
            text = format!("a policy has no clock, no files and no environment: {function}");
        } else if error.exc_type() == ExcType::NotImplementedError {
            text = text.replace(
                "The monty syntax parser does not yet support",
                "the interpreter does not have",
            );
        }
        let places = error.traceback().iter().rev();
        let mut places =
            places.filter_map(|frame| Some((self.files.get(&frame.filename)?, frame.start)));
        match places.next() {
            Some((file, start)) => format!("{file}:{}: {text}", start.line),
            None => text,
        }
    }
}

/// An interpreter that was fed nothing.
fn empty() -> MontyRepl {
    let options = CompileOptions { assert_message_annotations: AssertMessageAnnotations::Off };
    MontyRepl::new(MAIN, ResourceTracker::default(), options)
}

/// The name that the interpreter gives to the n-th text.
fn snippet(number: usize) -> String {
    format!("<python-input-{number}>")
}

/// The functions that this engine calls, for an `evaluate` with these parameters, or for one that is exported.
fn driver(parameters: Option<&[String]>, has_check: bool) -> String {
    let settings = "__countersign_settings__";
    let (call, check) = match parameters {
        Some(parameters) => {
            let argument = |name: &String| match name.as_str() {
                "settings" => format!("settings={settings}"),
                name => format!("{name}={name}"),
            };
            let arguments: Vec<_> = parameters.iter().map(argument).collect();
            let check = if has_check { format!("check({settings})") } else { "[]".to_owned() };
            (format!("evaluate({})", arguments.join(", ")), check)
        }
        None => {
            let exported = "__countersign_exports__[-1]";
            (
                format!("{exported}[0]({settings}, run, token)"),
                format!("[] if {exported}[1] is None else {exported}[1]({settings})"),
            )
        }
    };
    format!(
        "def {DECIDE}(run, token):\n    __countersign_kept__[0] = run\n    __countersign_kept__[1] = token\n    return __countersign_unpack__({call})\n\n\ndef {CHECK}():\n    return \
         __countersign_problems__({check})\n"
    )
}
