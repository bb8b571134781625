//! Questions to the engine of a language, about settings that it would take.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, bail};
use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Limits, Mode, Policy, Scope, Settings,
};
use serde_json::value::{RawValue, to_raw_value};

/// The answer behind all others.
const END: &str = "/ask";

/// Asks the engine about settings that it takes, and collects its answers: pointers and messages. They come as problems with
/// the settings, of which only so many are passed on at a time.
pub(super) fn ask(
    policy: &Arc<Policy>,
    settings: &Settings,
    limits: Limits,
    what: &str,
) -> Result<Vec<(String, String)>> {
    let (mut answers, mut page) = (Vec::new(), Vec::new());
    loop {
        let question = BTreeMap::from([(what, answers.len())]);
        let config = BindingConfig {
            name: BindingName::parse("ask")?,
            settings: with(settings, "ask", to_raw_value(&question)?)?,
            scope: Scope::All,
            mode: Mode::Enforce,
            may_permit: true,
            limits,
            claims: Vec::new(),
        };
        let problems = match Binding::prepare(Arc::clone(policy), config) {
            Err(BindingError::Settings { problems, .. }) => problems,
            Err(error) => return Err(error.into()),
            Ok(_) => {
                bail!("the engine does not answer questions; build it anew with `make engines`")
            }
        };
        let before = std::mem::take(&mut page);
        for problem in problems {
            if problem.pointer == END {
                answers.append(&mut page);
                return Ok(answers);
            }
            page.push((problem.pointer, problem.message));
        }
        // Files that it does not take are no answer, wherever it is to begin.
        if page == before {
            let problems = page.iter().map(|(pointer, message)| format!("{pointer}: {message}"));
            bail!(
                "the engine does not take the files:\n{}",
                problems.collect::<Vec<_>>().join("\n")
            );
        }
        answers.extend(page.iter().cloned());
    }
}

/// Settings with another value of a key.
pub(super) fn with(settings: &Settings, key: &str, value: Box<RawValue>) -> Result<Settings> {
    let mut members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(settings.as_json())?;
    members.insert(key.to_owned(), value);
    Ok(Settings::from_json(&serde_json::to_string(&members)?)?)
}
