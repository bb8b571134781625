//! What the interpreter, as policies have it, makes of the parts of test262 that policies use.
//!
//! Needs a copy of <https://github.com/tc39/test262>, whose folder is in `TEST262`:
//! `TEST262=… cargo test --package javascript -- --ignored test262`. The expectation is `test262.txt` beside this crate:
//! for each folder the number of tests that pass, that fail and that are left out, and the names of those that fail;
//! `UPDATE=1` writes it. Each test is loaded as the module of a policy, so that those of sloppy mode are left out, and
//! those that need what a policy does not have.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Settings, prepare};

/// Folders below `test`.
const FOLDERS: [&str; 24] = [
    "built-ins/Array/prototype",
    "built-ins/BigInt",
    "built-ins/Date/UTC",
    "built-ins/Date/parse",
    "built-ins/Date/prototype",
    "built-ins/JSON",
    "built-ins/Map",
    "built-ins/Math",
    "built-ins/Number",
    "built-ins/Object/entries",
    "built-ins/Object/fromEntries",
    "built-ins/RegExp",
    "built-ins/Set",
    "built-ins/String",
    "built-ins/decodeURIComponent",
    "built-ins/encodeURIComponent",
    "built-ins/parseFloat",
    "built-ins/parseInt",
    "language/expressions/coalesce",
    "language/expressions/optional-chaining",
    "language/expressions/template-literal",
    "language/statements/for-of",
    "language/statements/switch",
    "language/statements/try",
];

/// What a test may need and a policy does not have: another realm, buffers that are shared, `eval`, an answer that comes
/// later; and what the pinned interpreter says that it lacks.
const WITHOUT: [&str; 20] = [
    "$262",
    "Atomics",
    "FinalizationRegistry",
    "Function(",
    "Intl",
    "IsHTMLDDA",
    "Math.random",
    "ShadowRealm",
    "SharedArrayBuffer",
    "Temporal",
    "WeakRef",
    "cross-realm",
    "decimal",
    "eval(",
    "flags: [async",
    "flags: [module, async",
    "new Date()",
    "noStrict",
    "normalize(",
    "raw]",
];

#[derive(Default)]
struct Counted {
    passed: usize,
    left_out: usize,
    failed: Vec<String>,
}

#[test]
#[ignore = "needs a copy of test262, by hand"]
fn test262() {
    let suite = PathBuf::from(std::env::var_os("TEST262").expect("TEST262: its folder"));
    let mut text = String::new();
    for folder in FOLDERS {
        let mut counted = Counted::default();
        for file in scripts(&suite.join("test").join(folder)) {
            let test = fs::read_to_string(&file).expect("a test");
            let name = file.strip_prefix(suite.join("test").join(folder)).expect("below it");
            match passes(&suite, &test) {
                None => counted.left_out += 1,
                Some(true) => counted.passed += 1,
                Some(false) => counted.failed.push(name.display().to_string()),
            }
        }
        let Counted { passed, left_out, failed } = counted;
        let _ =
            writeln!(text, "{folder}: {passed} pass, {} fail, {left_out} left out", failed.len());
        for name in failed {
            let _ = writeln!(text, "  {name}");
        }
    }
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("test262.txt");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(expected, text).expect("a file");
    } else {
        assert_eq!(text, fs::read_to_string(expected).unwrap_or_default());
    }
}

/// True where a test passes; nothing where it is left out.
fn passes(suite: &Path, test: &str) -> Option<bool> {
    let (_, front) = test.split_once("/*---")?;
    let (front, _) = front.split_once("---*/")?;
    if WITHOUT.iter().any(|word| test.contains(word)) {
        return None;
    }
    let listed = |key: &str| -> Vec<&str> {
        let line = front.lines().find_map(|line| line.trim().strip_prefix(key));
        let line = line.unwrap_or_default().trim().trim_matches(['[', ']']);
        line.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    };
    let negative = front.contains("negative:");
    let mut module = String::new();
    for name in ["sta.js", "assert.js"].into_iter().chain(listed("includes:")) {
        let harness = fs::read_to_string(suite.join("harness").join(name)).ok()?;
        if WITHOUT.iter().any(|word| harness.contains(word)) {
            return None;
        }
        module.push_str(&harness);
        module.push('\n');
    }
    // In a module, `this` is undefined outside of functions, and a test means the global object.
    module.push_str(test);
    module.push_str("\nexport const evaluate = () => undefined;\n");
    let files = BTreeMap::from([("policy.js".to_owned(), module)]);
    let taken = std::panic::catch_unwind(|| prepare(Settings { files, settings: None }).map(drop));
    Some(matches!(taken, Ok(Ok(()))) != negative)
}

/// The scripts of a folder and those below it, by name. A fixture is part of another test.
fn scripts(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the suite") {
            let path = entry.expect("an entry").path();
            match path.extension() {
                None if path.is_dir() => folders.push(path),
                Some(extension) if extension == "js" => found.push(path),
                _ => {}
            }
        }
    }
    found.retain(|path| !path.to_string_lossy().contains("_FIXTURE"));
    found.sort();
    found
}
