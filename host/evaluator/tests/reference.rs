//! References in the documentation, made from the tables of fields and of limits. `UPDATE=1` rewrites them.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use countersign::{ClaimField, LimitRule, Limits};

/// Compares what is between two markers of a document.
#[track_caller]
fn check(document: &str, name: &str, expected: &str) {
    // Two references may be in one document, and each rewrites it.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(document);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name}: generated -->\n"), format!("<!-- {name}: end -->\n"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{document}: {begin}"));
    let (found, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{document}: {end}"));
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        fs::write(&path, format!("{before}{begin}{expected}{end}{after}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "{document}: {name} differs; UPDATE=1 rewrites it");
}

#[test]
fn fields() {
    let mut table =
        String::from("\n| field | what it is | form | in the run object |\n|---|---|---|---|\n");
    for field in ClaimField::ALL {
        let optional = if field.is_optional() { " Optional." } else { "" };
        let unit = field.unit().map(|unit| format!(", in {unit}")).unwrap_or_default();
        let object = field.object_pointer().map(|pointer| format!("`{pointer}`"));
        table += &format!(
            "| `{}` | {}{optional} | {}{unit} | {} |\n",
            field.path(),
            field.summary(),
            field.form(),
            object.unwrap_or_default()
        );
    }
    check("docs/policies.md", "fields", &format!("{table}\n"));
}

#[test]
fn limits() {
    let mut table = String::from(
        "\n| limit | what it bounds | not covered | unit | default | interpreter | bounds |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for limit in Limits::FIELDS {
        let powers = if limit.rule == LimitRule::PowerOfTwo { ", a power of two" } else { "" };
        table += &format!(
            "| `{}` | {} | {} | {} | {} | {} | {} to {}{powers} |\n",
            limit.key,
            limit.summary,
            limit.excludes,
            limit.unit.as_str(),
            grouped(limit.get(&Limits::DEFAULT)),
            grouped(limit.get(&Limits::INTERPRETER)),
            grouped(limit.min),
            grouped(limit.get(&Limits::CEILING)),
        );
    }
    check("docs/policies.md", "limits", &format!("{table}\n"));
}

/// A number with its digits in groups, as TOML takes it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let texts = groups.into_iter().map(|group| String::from_utf8_lossy(group).into_owned());
    texts.collect::<Vec<_>>().join("_")
}
