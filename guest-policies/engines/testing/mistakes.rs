//! Mistakes of authors, each with the message that it must give: a table that is a text.
//!
//! A mistake begins with `=== ` and its name. What follows is the text of the policy; `--- NAME` begins another part, and
//! `--- says` the messages. `UPDATE=1` writes the messages anew.

use std::fmt::Write as _;

use countersign_policy::Problem;

/// A mistake.
pub(crate) struct Mistake {
    pub(crate) name: String,
    /// The parts by their names: that of the policy is first, and empty where others stand for it.
    pub(crate) parts: Vec<(String, String)>,
    says: String,
}

/// Compares what is said of each mistake with the table that a path names, in which there are at least so many.
pub(crate) fn check(
    path: &str,
    policy: &str,
    least: usize,
    problems: impl Fn(&Mistake) -> Vec<Problem>,
) {
    let said = |mistake: &Mistake| {
        problems(mistake).iter().fold(String::new(), |mut text, problem| {
            writeln!(text, "{} {}", problem.pointer, problem.message).expect("a string");
            text
        })
    };
    let text = std::fs::read_to_string(path).expect("the table");
    let mistakes = read(&text, policy);
    assert!(mistakes.len() >= least, "{} of {least}", mistakes.len());
    if std::env::var_os("UPDATE").is_some() {
        let (head, _) = text.split_once("=== ").expect("a mistake");
        let mut written = head.to_owned();
        for mistake in &mistakes {
            writeln!(written, "=== {}", mistake.name).expect("a string");
            for (index, (name, text)) in mistake.parts.iter().enumerate() {
                let title = if index == 0 { String::new() } else { format!("--- {name}\n") };
                write!(written, "{title}{text}").expect("a string");
            }
            write!(written, "--- says\n{}", said(mistake)).expect("a string");
        }
        std::fs::write(path, written).expect("the table");
        return;
    }
    for mistake in &mistakes {
        assert!(!mistake.says.is_empty(), "{}: nothing is expected", mistake.name);
        assert_eq!(said(mistake), mistake.says, "{}", mistake.name);
    }
}

fn read(text: &str, policy: &str) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut is_said = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            let parts = vec![(policy.to_owned(), String::new())];
            mistakes.push(Mistake { name: name.to_owned(), parts, says: String::new() });
            is_said = false;
            continue;
        }
        let Some(mistake) = mistakes.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("--- ") {
            is_said = name == "says";
            if !is_said {
                mistake.parts.push((name.to_owned(), String::new()));
            }
        } else if is_said {
            writeln!(mistake.says, "{line}").expect("a string");
        } else if let Some((_, text)) = mistake.parts.last_mut() {
            writeln!(text, "{line}").expect("a string");
        }
    }
    mistakes
}
