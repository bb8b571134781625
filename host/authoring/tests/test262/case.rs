//! A test of test262, as a policy that passes if it is taken.

use std::fs;
use std::path::Path;

/// The files that every test may use.
const ALWAYS: [&str; 2] = ["assert.js", "sta.js"];

/// A test.
pub(crate) struct Case {
    /// The text of a module that runs it.
    pub(crate) text: String,
    /// The part of the language that it is about.
    pub(crate) features: Vec<String>,
    /// The error that it has to end with.
    negative: Option<String>,
}

impl Case {
    /// Reads a test.
    ///
    /// # Errors
    /// The reason why it cannot be run: a policy is a module, and so in strict mode, and waits for nothing.
    pub(crate) fn read(folder: &Path, name: &str) -> Result<Self, &'static str> {
        let text = fs::read_to_string(folder.join("test/built-ins").join(name))
            .map_err(|_| "not UTF-8")?;
        let about = text.split_once("/*---").and_then(|(_, rest)| rest.split_once("---*/"));
        let (about, _) = about.ok_or("without a head")?;
        let flags = list(about, "flags");
        for (flag, reason) in [
            ("noStrict", "for code that is not strict: a policy is a module"),
            ("raw", "as a script: a policy is a module"),
            ("module", "of modules"),
            ("async", "waits, and a policy cannot"),
            ("CanBlockIsFalse", "of threads"),
            ("CanBlockIsTrue", "of threads"),
        ] {
            if flags.iter().any(|known| known == flag) {
                return Err(reason);
            }
        }
        if text.contains("$262") {
            return Err("asks the host for more than the language");
        }
        let mut module = "import { permit } from 'countersign';\n".to_owned();
        let includes = list(about, "includes");
        for file in ALWAYS.iter().copied().chain(includes.iter().map(String::as_str)) {
            let path = folder.join("harness").join(file);
            module += &fs::read_to_string(path).map_err(|_| "a file of the harness is missing")?;
            module.push('\n');
        }
        // A script has a `this`, and a module none.
        let body = format!("(function () {{\n{text}\n}}).call(globalThis);\n");
        let end = "export function evaluate() { return permit(); }\n";
        let negative = about.split_once("negative:").and_then(|(_, rest)| rest.split_once("type:"));
        let negative = negative.and_then(|(_, rest)| rest.split_whitespace().next());
        Ok(Self {
            text: module + &body + end,
            features: list(about, "features"),
            negative: negative.map(str::to_owned),
        })
    }

    /// Compares what became of the policy with what the test expects.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) fn judge(&self, taken: Result<(), String>) -> Result<(), String> {
        match (&self.negative, taken) {
            (None, taken) => taken,
            (Some(error), Err(message)) if message.contains(error.as_str()) => Ok(()),
            (Some(error), Err(message)) => Err(format!("expected {error}, found {message}")),
            (Some(error), Ok(())) => Err(format!("expected {error}, and nothing was thrown")),
        }
    }
}

/// The items of a list in the head of a test, in either form of YAML.
fn list(about: &str, key: &str) -> Vec<String> {
    let Some((_, rest)) = about.split_once(&format!("\n{key}:")) else { return Vec::new() };
    let items: Vec<&str> = match rest.trim_start_matches(' ').strip_prefix('[') {
        Some(line) => line.split(']').next().unwrap_or_default().split(',').collect(),
        None => {
            rest.lines().skip(1).map_while(|line| line.trim_start().strip_prefix("- ")).collect()
        }
    };
    items.iter().map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
}
