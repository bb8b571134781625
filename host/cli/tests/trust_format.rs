//! What `countersign trust` writes is formatted as `tofu fmt` has it, and is read back without a finding.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{countersign, folder};
use tempfile::TempDir;

const RUNNERS: [&str; 2] =
    ["98520496-627d-43e6-82da-ce499179ff3f", "98520496-627d-43e6-82da-ce499179ff40"];
const DEFINITIONS: [&str; 3] = [
    "my-workspace/b23cfb9a-6974-444f-9d33-62134a632373",
    "my-workspace/b23cfb9a-6974-444f-9d33-62134a632374",
    "other/b23cfb9a-6974-444f-9d33-62134a632375",
];

/// A text of OpenTofu with nothing aligned, of which a formatter has to change each line.
const MISALIGNED: &str = "locals {\na = 1\n  long=2\n}\n";

/// Every option of `countersign trust`, but the manifest and the cloud. `begun` if definitions migrate.
fn options(cloud: &str, begun: bool) -> Vec<String> {
    let definition = |at: usize| format!("--definition {}", DEFINITIONS[at]);
    let [one, all] = [definition(0), (0..3).map(definition).collect::<Vec<_>>().join(" ")];
    let long = "n".repeat(32);
    let mut options = vec![
        one.clone(),
        all.clone(),
        format!("{one} --name {long}"),
        format!("{one} --audience a=b,{{[(#//"),
    ];
    // AWS takes `${` for a variable.
    let begin = if cloud == "aws" { "$" } else { "${a}" };
    options.push(format!("{one} --audience {begin}%{{b}}\\\"<<E"));
    let runners = RUNNERS.map(|runner| format!("--runner {runner}")).join(" ");
    options.push(format!("{all} {runners}"));
    match cloud {
        "aws" => options.push(format!("{all} --existing-provider --name {long}")),
        "azure" => options.extend([format!("{one} --application"), format!("{all} --application")]),
        _ => {}
    }
    if begun {
        options.push(String::new());
    }
    options
}

/// Writes the trust of each cloud, with every option and in both formats of subjects, to files of a folder.
fn written(folder: &Path) -> Vec<PathBuf> {
    let manifest = folder.join("countersign.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let mut files = Vec::new();
    for begun in [false, true] {
        if begun {
            let moves = "subject-profile = \"by-runner\"\nsubject-migrations = \"moves.json\"\nmeshstack-id = \"demo\"";
            fs::write(&manifest, text.replacen("meshstack-id = \"demo\"", moves, 1)).unwrap();
            let begin = format!(
                "subjects begin --create --policies countersign.toml --by tester --definition {} --definition {} \
                 --runner {} --runner {}",
                DEFINITIONS[0], DEFINITIONS[1], RUNNERS[0], RUNNERS[1]
            );
            let ran = countersign(folder, &begin);
            assert_eq!(ran.status, 0, "{}", ran.stderr);
        }
        for cloud in ["aws", "azure", "gcp", "stackit"] {
            for (at, options) in options(cloud, begun).iter().enumerate() {
                let line = format!("trust {cloud} --policies countersign.toml {options}");
                let ran = countersign(folder, &line);
                // A definition that has not begun has its runner's subject, which has to be named.
                if begun && !ran.stderr.is_empty() && ran.stderr.contains("--runner") {
                    continue;
                }
                assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
                let file = folder.join(format!("{cloud}-{begun}-{at}.tf"));
                fs::write(&file, ran.stdout).unwrap();
                files.push(file);
            }
        }
    }
    files
}

/// The rules of `tofu fmt` for what is written here, each with its first line that breaks it.
///
/// As its source has them: two blanks for each open bracket; one blank around `=`, but as many before it as align it with
/// the attributes of the lines around that end on their line; no white space at an end; labels in quotes; types
/// without quotes; no text that is one expression.
fn broken(text: &str) -> BTreeSet<(&'static str, usize)> {
    let mut broken = BTreeSet::new();
    let mut depth = 0;
    // The lines with an attribute each that is aligned with that of the next line: its name, and what follows.
    let mut group: Vec<(usize, &str)> = Vec::new();
    for (at, line) in text.lines().chain([""]).enumerate() {
        let at = at + 1;
        let inner = line.trim();
        let change = brackets(inner);
        let begins = inner.starts_with(['}', ']', ')']);
        let indent = if begins { depth - 1 } else { depth };
        if line.len() - line.trim_start().len() != 2 * usize::try_from(indent).unwrap_or_default()
            && !inner.is_empty()
        {
            broken.insert(("indentation", at));
        }
        if line.trim_end() != line || line.contains('\t') {
            broken.insert(("white space", at));
        }
        depth += change;
        let attribute = equals(inner).map(|equals| inner.split_at(equals));
        if let Some((name, rest)) = attribute {
            let value = rest.trim_start_matches('=');
            if !value.starts_with(' ') || value.starts_with("  ") {
                broken.insert(("one blank after `=`", at));
            }
            let value = value.trim();
            if value.starts_with("\"${")
                && value.ends_with("}\"")
                && value.matches("${").count() == 1
            {
                broken.insert(("a text that is one expression", at));
            }
            if name.trim() == "type"
                && depth == 1
                && value.starts_with('"')
                && text.starts_with("variable")
            {
                broken.insert(("a type in quotes", at));
            }
            if change == 0 {
                group.push((at, name));
                continue;
            }
            if name.trim_end().len() + 1 != name.len() {
                broken.insert(("one blank before `=`", at));
            }
        } else if inner.ends_with('{') {
            let mut words = inner.trim_end_matches('{').split(' ').skip(1).collect::<Vec<_>>();
            let ends = words.pop();
            let is_label =
                |word: &&str| word.len() > 2 && word.starts_with('"') && word.ends_with('"');
            if inner != "{" && (ends != Some("") || !words.iter().all(is_label)) {
                broken.insert(("a block's labels", at));
            }
        }
        let widest = group.iter().map(|(_, name)| name.trim_end().len() + 1).max();
        let strays = group.iter().filter(|(_, name)| Some(name.len()) != widest);
        broken.extend(strays.map(|(at, _)| ("alignment", *at)));
        group.clear();
    }
    if !text.ends_with('\n') || text.ends_with("\n\n") {
        broken.insert(("one newline at the end", text.lines().count()));
    }
    broken
}

/// The brackets that a line opens, less those that it closes. Texts have none.
fn brackets(line: &str) -> i64 {
    without_texts(line).chars().fold(0, |open, character| match character {
        '{' | '[' | '(' => open + 1,
        '}' | ']' | ')' => open - 1,
        _ => open,
    })
}

/// The place of the `=` of an attribute.
fn equals(line: &str) -> Option<usize> {
    let at = without_texts(line).find('=')?;
    (!line.starts_with(['}', ']', ')', '{', '['])).then_some(at)
}

/// A line with `.` in place of each character of its texts.
fn without_texts(line: &str) -> String {
    let (mut made, mut is_text, mut is_escaped) = (String::new(), false, false);
    for character in line.chars() {
        let ends = character == '"' && !is_escaped;
        is_escaped = is_text && character == '\\' && !is_escaped;
        if ends {
            is_text = !is_text;
        }
        made.push(if is_text || ends { '.' } else { character });
    }
    made
}

#[test]
fn what_is_written_keeps_the_formatters_rules_and_is_linted_clean() {
    let folder = folder();
    let files = written(folder.path());
    assert!(files.len() > 40, "{}", files.len());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(broken(&text), BTreeSet::new(), "{text}");
        let ran =
            countersign(folder.path(), &format!("trust lint {} --format json", file.display()));
        let findings: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
        // While a definition migrates, its trust has both subjects.
        let others = findings.iter().filter(|one| one["code"] != "old-and-new-subject");
        assert_eq!(others.count(), 0, "{}: {}", file.display(), ran.stdout);
    }
}

/// The rules can fail.
#[test]
fn each_rule_is_broken_by_something() {
    let good =
        "variable \"a\" {\n  type        = string\n  description = \"a\"\n  b = [\n    1\n  ]\n}\n";
    assert_eq!(broken(good), BTreeSet::new());
    for (from, to, rule) in [
        ("  type  ", "   type  ", "indentation"),
        ("    1", "  1", "indentation"),
        ("string\n", "string \n", "white space"),
        ("= string", "=  string", "one blank after `=`"),
        ("type        =", "type =", "alignment"),
        ("type        =", "type         =", "alignment"),
        ("  b = [", "  b           = [", "one blank before `=`"),
        ("= string", "= \"string\"", "a type in quotes"),
        ("\"a\"\n", "\"${a}\"\n", "a text that is one expression"),
        ("\"a\" {", "a {", "a block's labels"),
        ("\"a\" {", "\"a\"  {", "a block's labels"),
        ("]\n}\n", "]\n}\n\n", "one newline at the end"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{rule}");
        assert!(broken(&bad).iter().any(|(broken, _)| *broken == rule), "{rule}: {bad}");
    }
    assert!(!broken(MISALIGNED).is_empty());
}

/// `hclwrite`, which `tofu fmt` is made of, changes nothing; nor does `tofu fmt` or `terraform fmt`, where one is installed.
#[test]
#[ignore = "`make e2e` installs the formatter"]
fn the_formatter_itself_changes_nothing() {
    let folder = folder();
    let files = written(folder.path());
    let bad = folder.path().join("misaligned.tf");
    fs::write(&bad, MISALIGNED).unwrap();
    let installed =
        std::env::var_os("COUNTERSIGN_E2E").expect("`make e2e` says where the formatter is");
    let ran = Command::new("node")
        .arg(Path::new(&installed).join("node/format.mjs"))
        .args(&files)
        .arg(&bad)
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let mut formatted: Vec<String> = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(formatted.pop().unwrap(), "locals {\n  a    = 1\n  long = 2\n}\n");
    assert_eq!(formatted.len(), files.len());
    for (file, formatted) in files.iter().zip(formatted) {
        assert_eq!(fs::read_to_string(file).unwrap(), formatted, "{}", file.display());
    }
    println!("hclwrite leaves {} files as they are", files.len());
    for program in ["tofu", "terraform"] {
        let apart = TempDir::new().unwrap();
        let check = |file: &Path| {
            let mut command = Command::new(program);
            command.args(["fmt", "-check", "-diff"]).arg(file).current_dir(apart.path());
            let ran = command
                .env("TF_CLI_CONFIG_FILE", "")
                .env("CHECKPOINT_DISABLE", "1")
                .output()
                .ok()?;
            Some((ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned()))
        };
        let Some((status, _)) = check(&bad) else {
            println!("`{program}` is not installed");
            continue;
        };
        assert_eq!(status, Some(3), "{program} finds nothing in {MISALIGNED}");
        for file in &files {
            assert_eq!(check(file), Some((Some(0), String::new())), "{}", file.display());
        }
        println!("`{program} fmt -check` passes {} files", files.len());
    }
}
