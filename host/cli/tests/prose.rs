//! The house's prose: documentation comments begin with a noun or a verb, and renamed words do not come back.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use regex::{RegexBuilder, RegexSetBuilder};

/// The maximum share of documentation lines that begin with a question word, in percent.
const MAX_PERCENT: usize = 1;

/// The words that a documentation line should not begin with.
const QUESTION_WORDS: [&str; 5] = ["What", "Who", "Where", "Whether", "How"];

/// Folders that are not sources of the house.
const SKIPPED_FOLDERS: [&str; 3] = ["target", "node_modules", ".git"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The texts of all files below the root whose name has one of these extensions, by their relative path.
fn files(extensions: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if kind.is_file()
                && path.extension().is_some_and(|of| extensions.iter().any(|one| of == *one))
                // A fuzzing corpus has files of any name.
                && let Ok(text) = fs::read_to_string(&path)
            {
                let relative = path.strip_prefix(&root).unwrap().to_str().unwrap();
                files.push((relative.replace('\\', "/"), text));
            }
        }
    }
    files.sort();
    assert!(files.len() > 100, "{}: not the sources", root.display());
    files
}

/// The text of a documentation line.
fn doc(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!")).map(str::trim)
}

fn begins_with_question(text: &str) -> bool {
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    QUESTION_WORDS.contains(&word)
}

#[test]
fn documentation_begins_with_a_noun_or_a_verb() {
    let (mut lines, mut questions) = (0, 0);
    let (mut paragraphs, mut question_paragraphs) = (0, 0);
    let mut by_file: Vec<(usize, String)> = Vec::new();
    for (name, text) in files(&["rs"]) {
        let before = questions;
        let mut is_first = true;
        for line in text.lines() {
            let Some(doc) = doc(line) else {
                is_first = true;
                continue;
            };
            let is_question = begins_with_question(doc);
            lines += 1;
            questions += usize::from(is_question);
            if is_first && !doc.is_empty() {
                paragraphs += 1;
                question_paragraphs += usize::from(is_question);
            }
            is_first = doc.is_empty();
        }
        if questions > before {
            by_file.push((questions - before, name));
        }
    }
    by_file.sort_by(|a, b| b.cmp(a));
    let worst = by_file.iter().take(40).fold(String::new(), |mut text, (count, name)| {
        writeln!(text, "{count:>4} {name}").unwrap();
        text
    });
    let words = QUESTION_WORDS.join(", ");
    assert!(
        questions * 100 <= lines * MAX_PERCENT,
        "{questions} of {lines} documentation lines begin with {words}; begin them with a noun or a verb:\n{worst}"
    );
    assert!(
        question_paragraphs * 100 <= paragraphs * MAX_PERCENT,
        "{question_paragraphs} of {paragraphs} documentation paragraphs begin with {words}; begin them with a noun or \
         a verb:\n{worst}"
    );
}

/// A renamed word: its pattern, the word to use instead, and the files that may still contain it, with the reason.
struct Renamed {
    pattern: &'static str,
    instead: &'static str,
    /// Set for words of prose; identifiers are not searched for in comments, where they may be plain English.
    in_comments: bool,
    allowed: &'static [(&'static str, &'static str)],
}

const fn renamed(pattern: &'static str, instead: &'static str) -> Renamed {
    Renamed { pattern, instead, in_comments: false, allowed: &[] }
}

const fn renamed_words(pattern: &'static str, instead: &'static str) -> Renamed {
    Renamed { pattern, instead, in_comments: true, allowed: &[] }
}

/// Renamed keys and codes stay in the tables that tell their new name, and in the tests of those.
const OLD_KEYS: &[(&str, &str)] = &[
    ("host/deployment/src/", "the table of renamed keys"),
    ("host/deployment/tests/", "tests of the errors for renamed keys"),
    ("host/evaluator/tests/", "tests of the errors for renamed keys"),
    ("host/authoring/src/cases", "the error for a renamed key"),
    ("host/authoring/tests/", "tests of the errors for renamed keys"),
    ("host/cli/src/policy/", "the error for a renamed file"),
    ("host/cli/tests/", "tests of the errors for renamed keys"),
    ("host/issuer/src/config.rs", "the table of renamed keys"),
];

const fn renamed_key(pattern: &'static str, instead: &'static str) -> Renamed {
    Renamed { pattern, instead, in_comments: true, allowed: OLD_KEYS }
}

/// The words that are not to come back. Patterns are case-sensitive regular expressions over `.rs` and `.toml` files,
/// and over `.md` files below `docs` and the root.
const RENAMED: &[Renamed] = &[
    // Scheduling.
    renamed(r"\b(Seated|for_seat|seat|seats|Seat)\b", "worker slot, `on_slot`"),
    renamed(r"\b(Turns|Turn)\b", "`FairQueue`, `Permit`"),
    renamed(r"\bLength::(Short|Long)\b", "`Priority::{Fast,Slow}`"),
    renamed(r"\b(struct |::|<)Apart\b|\bmod apart\b", "`CachePadded`"),
    // The code cache.
    renamed(r"\b(Residents|Resident)\b", "`CodeCache`, `CodeSlot`"),
    renamed(r"\bkeep_within_bound\b", "`evict`"),
    renamed(r"\bLoadedCode\b", "`CodeBytes`"),
    renamed(r"\bstruct (Taken|Used)\b", "`ConfigureUsage`, `EvaluationUsage`"),
    // Compiling.
    renamed(
        r"\b(as_it_is|AsItIs|InState)\b",
        "`unmodified`, `Form::{Original,Snapshot,Instrumented}`",
    ),
    renamed(r"\bForm::Observable\b", "`Form::Instrumented`"),
    renamed(r"\b(prepare_when_needed|WhenNeeded)\b", "`prepare_lazily`, `Preparation::Lazy`"),
    renamed(r"\bPreparation::Elsewhere\b", "`Preparation::External`"),
    renamed_key(r"\bwhen-needed\b", "`on-demand`"),
    renamed_words(
        r"countersign[-_]preparation\b|host/preparation\b",
        "`countersign-compiler-worker`",
    ),
    renamed(
        r"\b(ExitWhenExhausted|exit_when_exhausted|last_words|LAST_WORDS)\b",
        "`ExitOnOom`, `stderr_tail`",
    ),
    renamed(r"\bstruct Job\b", "`CompileRequest`"),
    // The sandbox.
    renamed(
        r"\b(NotLifted|why_not_lifted|not_there)\b",
        "`LiftFailed`, `classify_lift_failure`, `missing_guest`",
    ),
    renamed(r"\bLowered::Last\b", "`LowerProbe`"),
    // Trust.
    renamed(r"\b(TrustOf|lets_in|only_for)\b", "`TrustSpec`, `admits`, `granted_only_to`"),
    renamed_words(r"\bways in\b|\b(a|one) way in\b", "trust statement"),
    renamed(r"\bstruct Presented\b", "`TokenClaims`"),
    // Subjects.
    renamed(r"\b(SubjectMove|SubjectMoves|MoveStep)\b", "`MigrationStep`, subject migration"),
    renamed_key(r"\bsubject-moves\b", "`subject-migrations`"),
    renamed(r"\b(SubjectProfile|SubjectForm|ProfileWord)\b", "`SubjectFormat`, `SubjectTemplate`"),
    // The issuer.
    renamed(r"\b(Deciding|Entitled|Told)\b", "`DecisionContext`, `Authorized`, `LogFields`"),
    renamed(
        r"\b(make_now|keep_house|HangUp|admit_run)\b",
        "`decide_and_sign`, `run_maintenance`, `Sighup`, `check_run_rate`",
    ),
    renamed(r"\bPreflighted::Taken\b", "`Accepted`"),
    renamed(r"\b(Looks|keep_up)\b", "`FileFingerprints`, `watch`"),
    renamed(
        r"\b(ForeignKey|ForeignKeySet|said_by|TokenParts)\b",
        "`VerificationKey`, `Jwks`, `unverified_issuer`, `JwsParts`",
    ),
    renamed(r"\bKeySource::Fixed\b", "`KeySource::Static`"),
    renamed(r"\banybody_may\b", "`any_principal_has`"),
    renamed(r"\b(most|least)_[a-z_]+\b|\b(MOST|LEAST)_[A-Z_]+\b", "`max_…`, `min_…`"),
    renamed(r"\b(longest_ttl|longest_life)", "`max_ttl`"),
    renamed_key(r"\blife-seconds\b", "`max-ttl-seconds`"),
    renamed_key(r"\bgcp-life\b", "`gcp-lifetime`"),
    // Authoring.
    renamed(r"\bCheckSettings\b", "`SettingsValidator`"),
    renamed(
        r"\bstruct (Trial|Asked|Hints|Variation)\b",
        "`CaseRunner`, `DecisionInput`, `SettingsLiterals`, `ClaimMutation`",
    ),
    renamed_words(r"\bturned on\b", "which claims determined it"),
    renamed_key(r"\bdecides-on\b", "`depends-on`"),
    renamed_key(r"\botherwise\.json\b", "`default-verdict.json`"),
    // The command line.
    renamed(
        r"\bDone::Fine\b|\bprogress::during\b|\boutput::(say|insist)\b",
        "`Exit::Success`, `with_spinner`, `status`, `eprint_or_fail`",
    ),
    // Messages.
    renamed_words(r"port that is none\b", "has an invalid port"),
    renamed_words(r"cannot be had now\b", "is currently unavailable"),
    renamed_words(r"is not at hand\b", "is not available"),
    renamed_words(r"could not take its settings\b", "`configure` failed"),
    renamed_words(r"who may ask was read again\b", "reloaded access configuration"),
    renamed_words(r"see to the rest themselves\b", "and install everything else"),
];

/// A line of Rust without its comment. `//` in a string ends it too early, which is rare enough.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// This table has every old word.
const THIS_FILE: &str = "host/cli/tests/prose.rs";

#[test]
fn renamed_words_do_not_come_back() {
    let mut found = String::new();
    let files: Vec<_> = files(&["rs", "toml", "md"])
        .into_iter()
        .filter(|(name, _)| {
            name != THIS_FILE
                // It names what was renamed.
                && name != "CHANGELOG.md"
                && (!name.ends_with(".md") || name.starts_with("docs/") || !name.contains('/'))
        })
        .collect();
    // All patterns at once tell which few of them each file needs.
    let patterns = RENAMED.iter().map(|renamed| renamed.pattern);
    let all = RegexSetBuilder::new(patterns).unicode(false).build().unwrap();
    for (name, text) in &files {
        for at in all.matches(text) {
            let Renamed { pattern, instead, in_comments, allowed } = &RENAMED[at];
            if allowed.iter().any(|(prefix, _)| name.starts_with(prefix)) {
                continue;
            }
            let regex = RegexBuilder::new(pattern).unicode(false).build().unwrap();
            let is_found = |line: &str| {
                let code = if *in_comments || !name.ends_with(".rs") { line } else { code(line) };
                regex.is_match(code)
            };
            for (at, line) in text.lines().enumerate().filter(|(_, line)| is_found(line)) {
                writeln!(found, "{name}:{}: say {instead}: {}", at + 1, line.trim()).unwrap();
            }
        }
    }
    assert!(found.is_empty(), "renamed words are back:\n{found}");
}
