//! The reports of `policy test` that programs read: whole documents, whatever a policy does and writes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use countersign_hostile_policies::guest::{GUEST, Guest};
use countersign_test_artifacts::SCRIPTED;
use roxmltree::{Document, Node};
use serde_json::{Value, json};
use support::{Ran, countersign, folder};

const CASES: &str = "[[case]]\nname = \"a\"\nexpect = \"abstain\"\n";

/// A result of `configure` with one problem.
const REFUSES: &str = r#"(data (i32.const 2240) "\01\00\00\00\80\0a\00\00\01\00\00\00")
    (data (i32.const 2688) "\c0\0a\00\00\02\00\00\00\c4\0a\00\00\04\00\00\00")
    (data (i32.const 2752) "/a\00\00nope")"#;

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn xml_of(text: &str) -> Document<'_> {
    Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn elements<'x>(document: &'x Document<'_>, tag: &str) -> Vec<Node<'x, 'x>> {
    document.descendants().filter(|node| node.has_tag_name(tag)).collect()
}

/// One folder that cannot be tested.
struct Broken {
    name: &'static str,
    /// Files beside those of an honest policy, by name; without content, the file is taken away.
    files: Vec<(&'static str, Option<Vec<u8>>)>,
    options: &'static str,
    case: Option<&'static str>,
    code: Option<&'static str>,
    says: &'static str,
}

fn broken() -> Vec<Broken> {
    let new = |name, files, case, code, says| Broken { name, files, options: "", case, code, says };
    let cases = |text: &str| vec![("cases.toml", Some(text.as_bytes().to_vec()))];
    let component = |bytes: Vec<u8>| vec![("policy.wasm", Some(bytes))];
    let configure = |configure: &str| component(Guest { configure, ..GUEST }.component());
    let hostile = |code: &str| {
        let cases = countersign_hostile_policies::cases();
        component(cases.into_iter().find(|case| case.code == code).unwrap().component)
    };
    let refuses = Guest { more: REFUSES, ..GUEST }.component();
    let scripted = |cases: &str| {
        vec![
            ("policy.wasm", Some(SCRIPTED.to_vec())),
            ("cases.toml", Some(cases.as_bytes().to_vec())),
        ]
    };
    let set = |set: &str| format!("{CASES}set = {{ {set} }}\n");
    let unfit = format!("{CASES}settings = {{ answer = \"dance\" }}\n");
    let mut all = vec![
        new("no component", vec![("policy.wasm", None)], None, None, "no component; run"),
        new("not WebAssembly", component(b"no".to_vec()), None, Some("not-wasm"), "does not load"),
        new("too complex", hostile("too-complex"), None, Some("too-complex"), "does not load"),
        new("invalid", hostile("invalid"), None, Some("invalid"), "does not load"),
        new("imports", hostile("import"), None, Some("import"), "does not load"),
        new("no cases", vec![("cases.toml", None)], None, None, "cases.toml"),
        new("cases that are no TOML", cases("[[case"), None, None, "cases.toml"),
        new("an empty file of cases", cases(""), None, None, "no `[[case]]`"),
        new(
            "a case with an unknown key",
            cases(&format!("{CASES}other = 1\n")),
            None,
            None,
            "other",
        ),
        new(
            "a run that is no JSON",
            vec![("run.json", Some(b"{".to_vec()))],
            None,
            None,
            "run.json",
        ),
        new(
            "a run that is none",
            vec![("run.json", Some(b"{}".to_vec()))],
            Some("a"),
            None,
            "/kind: missing",
        ),
        new("nowhere in the run", cases(&set("\"/no/x\" = 1")), Some("a"), None, "leads nowhere"),
        new(
            "no word of the run",
            cases(&set("\"/spec/behavior\" = \"DANCE\"")),
            Some("a"),
            None,
            "found `DANCE`",
        ),
        new(
            "settings that are no object",
            vec![("settings.json", Some(b"[]".to_vec()))],
            None,
            None,
            "settings.json",
        ),
        new(
            "settings unlike the schema",
            scripted(&unfit),
            Some("a"),
            None,
            "do not fit the policy",
        ),
        new("settings that the policy refuses", component(refuses), Some("a"), None, "/a: nope"),
        new(
            "traps in configure",
            configure("unreachable"),
            Some("a"),
            Some("trap"),
            "`configure` failed",
        ),
        new(
            "loops in configure",
            configure("(loop (br 0)) unreachable"),
            Some("a"),
            Some("out-of-fuel"),
            "`configure` failed",
        ),
        new(
            "an address for a result that is none",
            configure("(i32.const -4)"),
            Some("a"),
            Some("bad-output"),
            "`configure` failed",
        ),
    ];
    // Ends after the cases passed.
    let options = "--coverage";
    all.push(Broken {
        options,
        ..new("no source to measure", vec![], None, None, "coverage is only available")
    });
    all
}

fn write(folder: &Path, broken: &Broken) {
    fs::write(folder.join("policy.wasm"), GUEST.component()).unwrap();
    fs::write(folder.join("cases.toml"), CASES).unwrap();
    let _ = fs::remove_file(folder.join("run.json"));
    for (file, content) in &broken.files {
        match content {
            Some(content) => fs::write(folder.join(file), content).unwrap(),
            None => fs::remove_file(folder.join(file)).unwrap(),
        }
    }
}

#[test]
fn what_cannot_be_tested_gives_whole_documents() {
    let members = |document: &Value| -> BTreeSet<String> {
        document.as_object().unwrap().keys().cloned().collect()
    };
    let honest = folder();
    write(honest.path(), &Broken { files: vec![], ..broken().remove(0) });
    let passed = json_of(&countersign(honest.path(), "policy test --format json"));
    assert_eq!((&passed["passed"], &passed["error"]), (&json!(true), &Value::Null));
    for broken in broken().into_iter().filter(|broken| broken.case.is_none()) {
        let (name, folder) = (broken.name, folder());
        write(folder.path(), &broken);
        let run = |format: &str| {
            countersign(folder.path(), &format!("policy test {format} {}", broken.options))
        };
        let human = run("");
        assert_eq!((human.status, human.stdout.as_str()), (1, ""), "{name}");
        let shown = human.stderr.strip_prefix("error: ").unwrap().trim_end_matches('\n');
        assert!(shown.contains(broken.says), "{name}: {shown}");

        let ran = run("--format json");
        let tested = json_of(&ran);
        // A script still sees the error where it saw it.
        assert_eq!((ran.status, &ran.stderr), (1, &human.stderr), "{name}");
        assert_eq!(members(&tested), members(&passed), "{name}");
        assert_eq!(tested["passed"], false, "{name}");
        let error = json!({ "case": broken.case, "code": broken.code, "message": shown });
        assert_eq!(tested["error"], error, "{name}");
        let passed_before = if broken.options.is_empty() { 0 } else { 1 };
        assert_eq!(tested["cases"].as_array().unwrap().len(), passed_before, "{name}");

        let ran = run("--format junit");
        assert_eq!((ran.status, &ran.stderr), (1, &human.stderr), "{name}");
        let document = xml_of(&ran.stdout);
        let suite = elements(&document, "testsuite")[0];
        assert_eq!(
            (suite.attribute("errors"), suite.attribute("failures")),
            (Some("1"), Some("0")),
            "{name}"
        );
        let errors = elements(&document, "error");
        let [error] = errors.as_slice() else { panic!("{name}: {}", ran.stdout) };
        assert_eq!(error.text(), Some(shown), "{name}");
        assert_eq!(error.attribute("message"), shown.lines().next(), "{name}");
        assert_eq!(error.attribute("type"), broken.code, "{name}");
        let case = error.parent().unwrap().attribute("name");
        assert_eq!(case, Some(broken.case.unwrap_or("countersign policy test")), "{name}");
    }
}

/// A case that cannot be run is a case that fails, in each form of the report.
#[test]
fn a_case_that_cannot_be_run_is_in_every_report() {
    for broken in broken().into_iter().filter(|broken| broken.case.is_some()) {
        let (name, folder) = (broken.name, folder());
        write(folder.path(), &broken);
        let human = countersign(folder.path(), "policy test");
        assert_eq!((human.status, human.stderr.as_str()), (1, ""), "{name}");
        let not_run = "  FAIL  a\n        expected  abstain\n        found     not run\n";
        assert!(human.stdout.contains(not_run), "{name}: {}", human.stdout);
        assert!(human.stdout.contains(broken.says), "{name}: {}", human.stdout);

        let ran = countersign(folder.path(), "policy test --format json");
        let tested = json_of(&ran);
        assert_eq!((ran.status, ran.stderr.as_str()), (1, ""), "{name}");
        assert_eq!((&tested["passed"], &tested["error"]), (&json!(false), &Value::Null), "{name}");
        let case = &tested["cases"][0];
        assert_eq!((&case["found"], &case["passed"]), (&Value::Null, &json!(false)), "{name}");
        assert_eq!(case["error"]["code"], json!(broken.code), "{name}");
        let message = case["error"]["message"].as_str().unwrap();
        assert!(message.contains(broken.says), "{name}: {message}");

        let ran = countersign(folder.path(), "policy test --format junit");
        let document = xml_of(&ran.stdout);
        let suite = elements(&document, "testsuite")[0];
        let counts = (suite.attribute("errors"), suite.attribute("failures"));
        assert_eq!(counts, (Some("1"), Some("0")), "{name}");
        let errors = elements(&document, "error");
        let [error] = errors.as_slice() else { panic!("{name}: {}", ran.stdout) };
        assert_eq!(error.text(), Some(message), "{name}");
        assert_eq!(error.attribute("message"), message.lines().next(), "{name}");
        assert_eq!(error.attribute("type"), broken.code, "{name}");
        assert_eq!(error.parent().unwrap().attribute("name"), broken.case, "{name}");
    }
}

/// Texts of every kind that a terminal, a reader or XML can be misled by.
fn hostile_texts() -> Vec<(&'static str, String)> {
    let range = |from: u32, to: u32| (from..=to).filter_map(char::from_u32).collect::<String>();
    let planes = (0..=16).flat_map(|plane| [plane << 16 | 0xfffe, plane << 16 | 0xffff]);
    vec![
        ("C0", range(0x00, 0x1f)),
        ("DEL and C1", range(0x7f, 0x9f)),
        ("noncharacters of planes", planes.filter_map(char::from_u32).collect()),
        ("noncharacters of Arabic", range(0xfdd0, 0xfdef)),
        (
            "format",
            "\u{ad}\u{600}\u{61c}\u{6dd}\u{70f}\u{8e2}\u{180e}\u{200b}\u{200e}\u{2028}\u{2029}"
                .to_owned(),
        ),
        ("direction", range(0x202a, 0x202e) + &range(0x2060, 0x206f)),
        (
            "format beyond",
            "\u{feff}\u{fff9}\u{fffb}\u{110bd}\u{13430}\u{1bca0}\u{1bca3}\u{1d173}\u{1d17a}"
                .to_owned(),
        ),
        ("tags", "\u{e0001}\u{e0020}\u{e007f}\u{e0100}".to_owned()),
        ("private", "\u{e000}\u{f8ff}\u{f0000}\u{ffffd}\u{100000}\u{10fffd}".to_owned()),
        ("unassigned", "\u{378}\u{d7fc}\u{d7ff}\u{ffff}\u{1ffff}\u{e0fff}".to_owned()),
        ("blank", "\u{34f}\u{115f}\u{1160}\u{2800}\u{3164}\u{ffa0}\u{fe0f}".to_owned()),
        ("what looks like a surrogate", "\\ud800 \\u{dfff} &#xd800; &#xFFFF; &#0;".to_owned()),
        (
            "XML",
            "]]> </failure> <![CDATA[ <!-- --> <?xml?> &amp; &lt; &no; \" ' \"' <x a=\"&apos;\">"
                .to_owned(),
        ),
        ("lines", "one\ntwo\r\nthree\tfour\r\n\n  PASS  five \n".to_owned()),
        (
            "sequences",
            "\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}31m\u{1b}P\u{1b}\\ \u{90}x\u{9c}".to_owned(),
        ),
        ("long", "<\u{fffe}ab\u{ffff}&>".repeat(2_000)),
        ("honest", "naïve 工作区 ελ עב 🦀 ½ \u{fffd} – “a”".to_owned()),
    ]
}

/// The text as a string of TOML, and of JSON in Rust.
fn toml_string(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        let _ = write!(quoted, "\\U{:08x}", u32::from(character));
    }
    quoted + "\""
}

/// The failing cases that a terminal shows: name, message and detail.
fn shown(text: &str) -> Vec<(String, String, String)> {
    let mut all: Vec<(String, String, String)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("  FAIL  ") {
            let expected = lines.next().unwrap().strip_prefix("        expected  ").unwrap();
            let found = lines.next().unwrap().strip_prefix("        found     ").unwrap();
            let what =
                if name.starts_with("settings: ") { "expected a problem at " } else { "expected " };
            all.push((name.to_owned(), format!("{what}{expected}, found {found}"), String::new()));
        } else if let (Some(detail), Some((_, _, details))) =
            (line.strip_prefix("                  "), all.last_mut())
        {
            let separator = if details.is_empty() { "" } else { "\n" };
            let _ = write!(details, "{separator}{detail}");
        }
    }
    all
}

/// Compares what a parser of XML reads with what a terminal shows, to the character.
#[track_caller]
fn check_same(folder: &Path, cases: usize) {
    let human = countersign(folder, "policy test");
    assert_eq!(human.status, 1, "{}", human.stderr);
    let shown = shown(&human.stdout);
    assert_eq!(shown.len(), cases, "{}", human.stdout);
    let ran = countersign(folder, "policy test --format junit");
    assert_eq!(ran.status, 1);
    let document = xml_of(&ran.stdout);
    let read: Vec<_> = elements(&document, "testcase")
        .into_iter()
        .map(|case| {
            let failure = case.children().find(|node| node.has_tag_name("failure")).unwrap();
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            (text(case.attribute("name")), text(failure.attribute("message")), text(failure.text()))
        })
        .collect();
    assert_eq!(read, shown);
    check_harmless(&human.stdout);
    check_harmless(&ran.stdout);
    let ran = countersign(folder, "policy test --format json");
    assert_eq!(json_of(&ran)["passed"], false);
}

/// Checks that a text has no character of the hostile ones; the honest one is the last.
#[track_caller]
fn check_harmless(text: &str) {
    let texts = hostile_texts();
    let (_, hostile) = texts.split_last().unwrap();
    let hostile: BTreeSet<char> = hostile.iter().flat_map(|(_, text)| text.chars()).collect();
    let is_plain = |c: char| matches!(c, '\n' | ' '..='~');
    let found: Vec<_> = text.chars().filter(|c| !is_plain(*c) && hostile.contains(c)).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn texts_of_policies_are_in_junit_as_on_a_terminal() {
    let folder = folder();
    fs::write(folder.path().join("policy.wasm"), SCRIPTED).unwrap();
    let mut cases = String::new();
    let mut count = 0;
    let mut case = |name: &str, settings: &str, rest: &str| {
        count += 1;
        let _ = writeln!(cases, "{rest}\nname = {name}\nsettings = {{ answer = {settings} }}");
    };
    let abstains = "[[case]]\nexpect = \"abstain\"";
    for (kind, text) in hostile_texts() {
        let (name, text) = (toml_string(&format!("{kind} {text}")), toml_string(&text));
        case(&name, &format!("{{ deny = [[\"no\", {text}], [{text}, \"no\"]] }}"), abstains);
        case(&name, &format!("{{ panic = {text} }}"), abstains);
        case(&name, "\"abstain\"", &format!("[[case]]\nexpect = {{ deny = {text} }}"));
        case(&name, "\"abstain\"", &format!("[[case]]\nexpect = {{ fault = {text} }}"));
    }
    // Settings that the policy rejects, with a text of its own about them.
    for (kind, text) in hostile_texts() {
        let (name, text) = (toml_string(&format!("{kind} {text}")), toml_string(&text));
        case(&name, &text, &format!("[[settings]]\npointer = {text}"));
    }
    fs::write(folder.path().join("cases.toml"), cases).unwrap();
    check_same(folder.path(), count);
}

/// Texts that no host has escaped: a component of its own, not the SDK.
#[test]
fn texts_of_a_policy_by_hand_are_in_junit_as_on_a_terminal() {
    for (kind, text) in hostile_texts() {
        let folder = folder();
        let text = &text[..text.len().min(6_000)];
        let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let list = |pointer: u32, length: usize| {
            let length = u32::try_from(length).unwrap();
            let both = [pointer.to_le_bytes(), length.to_le_bytes()].concat();
            both.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>()
        };
        let at = list(16_384, text.len());
        // A denial with the text for its code and for its message, and a problem with it for both.
        let more = format!(
            r#"(data (i32.const 16384) "{bytes}") (data (i32.const 2304) "{at}{at}")
               (data (i32.const 2688) "{at}{at}")"#
        );
        let evaluate = "(i32.const 2176)";
        let denies = Guest { evaluate, more: &more, ..GUEST }.component();
        fs::write(folder.path().join("policy.wasm"), denies).unwrap();
        fs::write(folder.path().join("cases.toml"), CASES).unwrap();
        check_same(folder.path(), 1);

        let more = format!(
            "{more} {}",
            r#"(data (i32.const 2240) "\01\00\00\00\80\0a\00\00\01\00\00\00")"#
        );
        let refuses = Guest { more: &more, ..GUEST }.component();
        fs::write(folder.path().join("policy.wasm"), refuses).unwrap();
        let human = countersign(folder.path(), "policy test");
        let (_, shown) = human.stdout.split_once("found     not run\n").unwrap();
        let shown = shown.lines().map_while(|line| line.strip_prefix("                  "));
        let ran = countersign(folder.path(), "policy test --format junit");
        let document = xml_of(&ran.stdout);
        let read = elements(&document, "error")[0].text().unwrap().lines();
        assert_eq!(read.collect::<Vec<_>>(), shown.collect::<Vec<_>>(), "{kind}");
        check_harmless(&ran.stdout);
        check_harmless(&human.stdout);
    }
}
