//! The engine of JavaScript against the part of test262 that policies use: texts, arrays, regular expressions, JSON, numbers.
//!
//! test262 is the conformance suite of ECMAScript, and is not in this repository: `make test262 TEST262=FOLDER` runs it from
//! a folder that has it. `expected.txt` has the names of the tests that fail, by the reason; any other failure fails this
//! test, and so does one of these that passes. `UPDATE=1` writes the file anew.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

mod case;
mod reasons;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use countersign::{
    Binding, BindingConfig, BindingError, Engine, EngineConfig, Limits, Mode, Optimization, Policy,
    Scope, Settings,
};
use countersign_engines::{EngineName, Places};
use serde_json::json;

use case::Case;

/// The commit of test262 that `expected.txt` is of.
const COMMIT: &str = "be13516fb6441b950ba8a3df97eb34062c186972";

/// The folders whose tests are run.
const FOLDERS: [&str; 13] = [
    "Array",
    "BigInt",
    "JSON",
    "Map",
    "Math",
    "Number",
    "RegExp",
    "Set",
    "String",
    "isFinite",
    "isNaN",
    "parseFloat",
    "parseInt",
];

/// Tables of Unicode's properties, character by character: the engine's are of the version that it was built with.
const LEFT_OUT: &str = "RegExp/property-escapes/generated";

const LIMITS: Limits =
    Limits { wall_clock_ms: 60_000, configure_fuel: 2_000_000_000, ..Limits::INTERPRETER };

/// What became of the tests: passed, skipped, and the reasons of those that failed.
#[derive(Default)]
struct Outcomes {
    passed: usize,
    skipped: BTreeMap<&'static str, usize>,
    failed: BTreeMap<String, String>,
}

#[test]
#[ignore = "needs the engines and a folder of test262: `make test262 TEST262=FOLDER`"]
fn the_engine_fails_the_tests_that_are_expected() {
    let folder = std::env::var_os("TEST262").expect("TEST262 names a folder that has test262");
    let folder = PathBuf::from(folder);
    let mut names = Vec::new();
    for part in FOLDERS {
        let part = folder.join("test/built-ins").join(part);
        assert!(part.is_dir(), "{}: not there, expected test262 at {COMMIT}", part.display());
        list(&folder.join("test/built-ins"), &part, &mut names);
    }
    names.sort();
    let outcomes = run(&folder, &names);
    let found = told(&outcomes);
    println!("{} passed, {} failed", outcomes.passed, outcomes.failed.len());
    for (reason, count) in &outcomes.skipped {
        println!("{count} skipped: {reason}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/test262/expected.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap();
    let (expected, found) = (names_in(&expected), names_in(&found));
    let missing = |from: &[&str], of: &[&str]| -> Vec<String> {
        from.iter().filter(|name| !of.contains(name)).map(|name| (*name).to_owned()).collect()
    };
    let (passes, fails) = (missing(&expected, &found), missing(&found, &expected));
    assert!(
        passes.is_empty() && fails.is_empty(),
        "of test262, expected at {COMMIT}\npass, and were expected to fail: {passes:#?}\nfail: {fails:#?}\n{:#?}",
        fails.iter().filter_map(|name| outcomes.failed.get(name)).collect::<Vec<_>>()
    );
}

/// The tests below a folder, by their paths below `root`.
fn list(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if name != LEFT_OUT {
                list(root, &path, names);
            }
        } else if name.ends_with(".js") && !name.contains("_FIXTURE") {
            names.push(name);
        }
    }
}

fn run(folder: &Path, names: &[String]) -> Outcomes {
    let program = std::env::current_exe().unwrap();
    let component = Places::of(Some(&program), None)
        .read(EngineName::Javascript)
        .unwrap_or_else(|error| panic!("{error}"));
    // Compiled once, and given its settings for each test.
    let config = EngineConfig { optimization: Optimization::None, ..EngineConfig::default() };
    let policy = Policy::load(&Engine::with(config).unwrap(), &component, &LIMITS).unwrap();
    let (policy, next, outcomes) =
        (Arc::new(policy), AtomicUsize::new(0), Mutex::new(Outcomes::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().unwrap().get() {
            scope.spawn(|| {
                while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let case = Case::read(folder, name);
                    let outcome = case.map(|case| (case.judge(take(&policy, &case.text)), case));
                    let mut outcomes = outcomes.lock().unwrap();
                    match outcome {
                        Err(reason) => *outcomes.skipped.entry(reason).or_default() += 1,
                        Ok((Ok(()), _)) => outcomes.passed += 1,
                        Ok((Err(error), case)) => {
                            outcomes.failed.insert(name.clone(), reasons::of(&error, &case));
                        }
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap()
}

/// Gives a text to the engine: the test is run when the module is.
fn take(policy: &Arc<Policy>, text: &str) -> Result<(), String> {
    let settings = json!({"files": {"policy.js": text}});
    let config = BindingConfig {
        name: "test262".parse().unwrap(),
        settings: Settings::from_json(&settings.to_string()).map_err(|error| error.to_string())?,
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: LIMITS,
        claims: Vec::new(),
    };
    match Binding::prepare(Arc::clone(policy), config) {
        Ok(_) => Ok(()),
        Err(BindingError::Settings { problems, .. }) => {
            Err(problems.iter().map(|problem| problem.message.as_str()).collect())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The failures by their reasons, as `expected.txt` has them.
fn told(outcomes: &Outcomes) -> String {
    let mut reasons = BTreeMap::<&str, Vec<&str>>::new();
    for (name, reason) in &outcomes.failed {
        reasons.entry(reason).or_default().push(name);
    }
    let mut text = format!(
        "# The tests of test262 ({COMMIT}) in test/built-ins that the engine of JavaScript fails.\n\
         # {} others pass. Written by `UPDATE=1 make test262 TEST262=FOLDER`.\n",
        outcomes.passed
    );
    for (reason, names) in reasons {
        text += &format!("\n# {reason}\n");
        for name in names {
            text += &format!("{name}\n");
        }
    }
    text
}

fn names_in(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}
