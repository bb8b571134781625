//! Components are found where they belong, and only as they were written.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use countersign_engines::{EngineFolder, EngineName, Places, SOURCES, beside, in_place};
use tempfile::TempDir;

/// The components of a build, told apart by a word.
fn components(word: &str) -> Vec<(EngineName, Vec<u8>)> {
    EngineName::ALL.map(|engine| (engine, format!("{word} {engine:?}").into_bytes())).into()
}

/// The folders of a program and of a user's data, in a temporary one.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        Self { root: TempDir::new().unwrap() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    /// The folder in `lib` that belongs to the program.
    fn lib(&self) -> EngineFolder {
        in_place(&self.path("target/lib/countersign/engines"))
    }

    fn places(&self) -> Places {
        Places::of(Some(&self.path("target/debug/countersign")), Some(&self.path("data")))
    }

    fn rego(&self) -> Result<String, String> {
        text(&self.places())
    }

    /// The text of an error, with placeholders for what differs from machine to machine.
    fn without_paths(&self, text: &str) -> String {
        text.replace(self.root.path().to_str().unwrap(), "ROOT").replace(SOURCES, "SOURCES")
    }
}

fn text(places: &Places) -> Result<String, String> {
    let read = places.read(EngineName::Rego).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(read).unwrap())
}

#[test]
fn the_folder_beside_the_program_comes_before_the_users() {
    let machine = Machine::new();
    in_place(&machine.path("data/countersign/engines")).write(&components("stored")).unwrap();
    assert_eq!(machine.rego().as_deref(), Ok("stored Rego"));
    machine.lib().write(&components("built")).unwrap();
    assert_eq!(machine.rego().as_deref(), Ok("built Rego"));
    let named = EngineFolder::new(machine.path("named"));
    named.write(&components("named")).unwrap();
    assert_eq!(text(&Places::named(machine.path("named"))).as_deref(), Ok("named Rego"));
}

#[test]
fn programs_of_all_profiles_and_tests_have_one_folder() {
    let lib = Some(in_place(Path::new("/t/lib/countersign/engines")));
    for program in ["/t/debug/countersign", "/t/release/countersign", "/t/debug/deps/engines-0f"] {
        assert_eq!(beside(Path::new(program)), lib, "{program}");
    }
    assert_eq!(beside(Path::new("countersign")), None);
}

#[test]
fn an_absent_component_is_an_error_that_says_where_it_was_looked_for() {
    let machine = Machine::new();
    let expected = "the component of the engine `rego` is not installed; looked in\n  \
                    ROOT/target/lib/countersign/engines/SOURCES\n  ROOT/data/countersign/engines/SOURCES\n\
                    run `make engines` in the source of this program, or name a folder that has it with \
                    COUNTERSIGN_ENGINES";
    assert_eq!(machine.without_paths(&machine.rego().unwrap_err()), expected);
    // A build that was interrupted left components, and not their digests.
    machine.lib().write(&components("built")).unwrap();
    fs::remove_file(machine.lib().path().join("digests")).unwrap();
    assert_eq!(machine.without_paths(&machine.rego().unwrap_err()), expected);
    assert!(!machine.lib().is_complete());
    // A named folder is the only place.
    machine.lib().write(&components("built")).unwrap();
    let named = text(&Places::named(machine.path("nowhere"))).unwrap_err();
    assert!(machine.without_paths(&named).contains("looked in\n  ROOT/nowhere\nrun"), "{named}");
}

#[test]
fn a_file_that_was_changed_is_refused() {
    for (file, content, says) in [
        ("rego.wasm", Some("other"), "rego.wasm: not as it was built, its digest is another one;"),
        ("rego.wasm", None, "rego.wasm: not as it was built, the file is missing;"),
        ("digests", Some("text"), "digests: not as it was built, expected lines of a name"),
        ("digests", Some(""), "digests: not as it was built, expected lines of a name"),
        ("digests", Some("sources 0123456789abcdef\n"), "the sources 0123456789ab, this program"),
    ] {
        let machine = Machine::new();
        machine.lib().write(&components("built")).unwrap();
        // The next place has it, and does not make up for a place that is wrong.
        in_place(&machine.path("data/countersign/engines")).write(&components("stored")).unwrap();
        let path = machine.lib().path().join(file);
        match content {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = machine.rego().unwrap_err();
        assert!(error.contains(says), "{file}: {error}");
        assert!(error.contains("run `make engines`"), "{error}");
        assert!(!machine.lib().is_complete());
        machine.lib().write(&components("again")).unwrap();
        assert_eq!(machine.rego().as_deref(), Ok("again Rego"));
    }
}

#[test]
fn only_so_much_is_read() {
    let machine = Machine::new();
    machine.lib().write(&components("built")).unwrap();
    for (file, bytes) in [("rego.wasm", (64 << 20) + 1), ("digests", (4 << 10) + 1)] {
        let path = machine.lib().path().join(file);
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
        let error = machine.rego().unwrap_err();
        assert!(error.contains(file) && error.contains("it is larger than any"), "{error}");
    }
    fs::remove_file(machine.lib().path().join("digests")).unwrap();
    fs::create_dir(machine.lib().path().join("digests")).unwrap();
    let error = machine.rego().unwrap_err();
    assert!(error.contains("digests: not as it was built, expected a regular file"), "{error}");
}

#[test]
fn folders_of_other_sources_are_removed_and_nothing_else() {
    let machine = Machine::new();
    let place = machine.path("target/lib/countersign/engines");
    let old = place.join("0".repeat(64));
    for kept in [place.join("notes"), place.join("f".repeat(63))] {
        fs::create_dir_all(kept).unwrap();
    }
    fs::create_dir_all(old.join("deeper")).unwrap();
    machine.lib().write(&components("built")).unwrap();
    machine.lib().remove_others().unwrap();
    let mut left: Vec<_> = fs::read_dir(&place)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = vec![SOURCES.to_owned(), "f".repeat(63), "notes".to_owned()];
    expected.sort();
    assert_eq!(left, expected);
    // Nothing is left of writing but what is read.
    let mut files: Vec<_> = fs::read_dir(machine.lib().path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(
        files,
        ["cedar.wasm", "cel.wasm", "digests", "javascript.wasm", "python.wasm", "rego.wasm"]
    );
}
