//! Mistakes of authors, each with the message that it must give: `mistakes.txt` beside this file.
//!
//! `UPDATE=1` writes the messages anew.

use std::fmt::Write as _;
use std::path::Path;

use super::*;

const TABLE: &str = include_str!("mistakes.txt");

/// A mistake: the lines of a text, whether of policies or of another key of the settings, and the messages.
struct Mistake {
    name: String,
    /// Keys of the settings and their texts.
    settings: Vec<(String, String)>,
    messages: String,
}

fn table() -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut in_messages = false;
    for line in TABLE.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            let settings = vec![("policies".to_owned(), String::new())];
            mistakes.push(Mistake { name: name.to_owned(), settings, messages: String::new() });
            in_messages = false;
            continue;
        }
        let Some(mistake) = mistakes.last_mut() else { continue };
        if let Some(key) = line.strip_prefix("--- ") {
            in_messages = key == "says";
            if !in_messages {
                mistake.settings.push((key.to_owned(), String::new()));
            }
        } else if in_messages {
            writeln!(mistake.messages, "{line}").expect("a string");
        } else if let Some((_, text)) = mistake.settings.last_mut() {
            writeln!(text, "{line}").expect("a string");
        }
    }
    mistakes
}

fn found(mistake: &Mistake) -> String {
    let mut settings = serde_json::Map::new();
    for (key, text) in &mistake.settings {
        let value = match key.as_str() {
            "entities" => serde_json::from_str(text).expect(&mistake.name),
            "warnings" => json!(true),
            _ => json!(text),
        };
        settings.insert(key.clone(), value);
    }
    if settings.get("policies") == Some(&json!("\n"))
        || settings.get("policies") == Some(&json!(""))
    {
        settings.insert("policies".to_owned(), json!(ANY));
    }
    let parsed = parse_settings(&Value::Object(settings).to_string()).expect(&mistake.name);
    let problems = prepare(parsed).err().unwrap_or_default();
    problems.iter().fold(String::new(), |mut text, problem| {
        writeln!(text, "{} {}", problem.pointer, problem.message).expect("a string");
        text
    })
}

#[test]
fn each_mistake_has_its_message() {
    let table = table();
    if std::env::var_os("UPDATE").is_some() {
        let (head, _) = TABLE.split_once("=== ").expect("a case");
        let text = table.iter().fold(head.to_owned(), |mut text, mistake| {
            let (_, policies) = &mistake.settings[0];
            write!(text, "=== {}\n{policies}", mistake.name).expect("a string");
            for (key, value) in &mistake.settings[1..] {
                write!(text, "--- {key}\n{value}").expect("a string");
            }
            write!(text, "--- says\n{}", found(mistake)).expect("a string");
            text
        });
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/mistakes.txt");
        std::fs::write(path, text).expect("the table");
        return;
    }
    assert!(table.len() >= 40, "{}", table.len());
    for mistake in &table {
        assert!(!mistake.messages.is_empty(), "{}: nothing is expected", mistake.name);
        assert_eq!(found(mistake), mistake.messages, "{}", mistake.name);
    }
}
