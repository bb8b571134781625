//! Words that no policy sees, in sources that nothing else checks for them.
//!
//! A run object says `ApiKey` where a policy sees `api-key`. A comparison with the former is valid in JavaScript, Python and
//! Rust, and never true. Cedar and CEL find it themselves.

use std::path::Path;

use anyhow::Result;
use countersign::{AuthorKind, Behavior, Implementation};
use countersign_authoring::nearest;

use super::warnings::Warning;
use crate::policy::language::Language;

/// A claim with a closed list of words.
struct Claim {
    /// The names of the field in the languages.
    fields: &'static [&'static str],
    /// The run object's words, each with the contract's.
    words: Vec<(&'static str, &'static str)>,
}

/// Finds words of the run object, and words that are none, in the sources of a policy.
pub(super) fn warnings(language: Language, folder: &Path) -> Result<Vec<Warning>> {
    let comment = match language {
        Language::Rust | Language::Javascript | Language::Typescript => "//",
        Language::Python | Language::Cpython => "#",
        Language::Rego | Language::Cedar | Language::Cel => return Ok(Vec::new()),
    };
    let mut found = Vec::new();
    for (file, text) in language.sources(folder)? {
        if !file.ends_with(".json") {
            of_source(&file, &text, comment, &mut found);
        }
    }
    Ok(found)
}

/// The contract's word for one of the run object.
pub(in crate::policy) fn contract_word(word: &str) -> &str {
    match word {
        "APPLY" => "apply",
        "DETECT" => "detect",
        "DESTROY" => "destroy",
        "MANUAL" => "manual",
        "TERRAFORM" => "terraform",
        "GITHUB_WORKFLOW" => "github-workflow",
        "GITLAB_CICD" => "gitlab-cicd",
        "AZURE_DEVOPS" => "azure-devops",
        "User" => "user",
        "ApiKey" => "api-key",
        "ApiUser" => "api-user",
        "System" => "system",
        other => other,
    }
}

fn claims() -> [Claim; 3] {
    let pair = |word: &'static str| (word, contract_word(word));
    [
        Claim {
            fields: &["behavior"],
            words: Behavior::ALL.iter().map(|word| pair(word.as_str())).collect(),
        },
        Claim {
            fields: &["implementation"],
            words: Implementation::ALL.iter().map(|word| pair(word.as_str())).collect(),
        },
        Claim {
            fields: &["authorKind", "author_kind"],
            words: AuthorKind::ALL.iter().map(|word| pair(word.as_str())).collect(),
        },
    ]
}

fn of_source(file: &str, text: &str, comment: &str, found: &mut Vec<Warning>) {
    let claims = claims();
    for (number, line) in text.lines().enumerate() {
        let code = without_comment(line, comment);
        for (at, literal) in literals(code) {
            let before = code.get(..at).unwrap_or_default();
            let Some(problem) = of_literal(&claims, before, literal) else { continue };
            let column = before.chars().count() + 1;
            found.push(Warning(format!("{file}:{}:{column}: {problem}", number + 1)));
        }
    }
}

/// The problem of a literal, by the code before it on its line.
fn of_literal(claims: &[Claim; 3], before: &str, literal: &str) -> Option<String> {
    for Claim { fields, words } in claims {
        let is_compared = fields.iter().any(|field| ends_in_comparison(before, field));
        let known = words.iter().find(|(word, _)| *word == literal);
        if let Some((word, contract)) = known {
            // `User` and `System` are also words of sentences.
            let is_plain = matches!(*word, "User" | "System");
            let is_about = fields.iter().any(|field| before.contains(field));
            // A run object, for a test.
            let is_of_object = before.trim_end().ends_with(':');
            if (!is_plain || is_about) && !is_of_object {
                return Some(format!(
                    "`{word}` is the run object's word, which no policy sees; compare with `{contract}`"
                ));
            }
        } else if is_compared {
            let contract: Vec<_> =
                words.iter().map(|(_, contract)| *contract).chain(["other"]).collect();
            if !contract.contains(&literal) {
                let hint = nearest(literal, contract.iter().copied());
                let hint =
                    hint.map_or_else(String::new, |word| format!("; did you mean `{word}`?"));
                let field = fields.first().copied().unwrap_or_default();
                return Some(format!(
                    "`{literal}` is no word of `{field}`, expected one of `{}`{hint}",
                    contract.join("`, `")
                ));
            }
        }
    }
    None
}

/// Tells whether code ends in a field and an operator that compares it with what follows.
fn ends_in_comparison(before: &str, field: &str) -> bool {
    let code = before.trim_end();
    let operand =
        ["===", "!==", "==", "!="].iter().find_map(|operator| code.strip_suffix(operator));
    operand.is_some_and(|operand| operand.trim_end().ends_with(&format!(".{field}")))
}

/// The texts in quotation marks on a line, with the places of the marks.
fn literals(line: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(rest) = line.get(from..)
        && let Some(at) = rest.find(['"', '\'', '`'])
    {
        let quote = rest.get(at..).and_then(|rest| rest.chars().next()).unwrap_or('"');
        let begin = from + at + quote.len_utf8();
        let Some(length) = line.get(begin..).and_then(|rest| rest.find(quote)) else { break };
        found.extend(line.get(begin..begin + length).map(|literal| (from + at, literal)));
        from = begin + length + quote.len_utf8();
    }
    found
}

/// A line up to its comment. A mark within a text is taken for one where a space or nothing is before it.
fn without_comment<'l>(line: &'l str, mark: &str) -> &'l str {
    let is_comment = |at: &usize| {
        let before = line.get(..*at).unwrap_or_default();
        before.is_empty() || before.ends_with([' ', '\t'])
    };
    let at = line.match_indices(mark).map(|(at, _)| at).find(is_comment);
    at.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(comment: &str, line: &str, expected: &[&str]) {
        let mut found = Vec::new();
        of_source("policy.js", line, comment, &mut found);
        let found: Vec<_> = found.iter().map(|Warning(text)| text.as_str()).collect();
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn words_that_no_policy_sees_are_found() {
        let of_object = |column: usize, word: &str, contract: &str| {
            format!(
                "policy.js:1:{column}: `{word}` is the run object's word, which no policy sees; compare with `{contract}`"
            )
        };
        check("//", "if (run.behavior === 'DESTROY') {", &[&of_object(22, "DESTROY", "destroy")]);
        check("#", "if run.behavior == \"APPLY\":", &[&of_object(20, "APPLY", "apply")]);
        check(
            "//",
            "const MACHINES = ['ApiKey', `ApiUser`];",
            &[&of_object(19, "ApiKey", "api-key"), &of_object(29, "ApiUser", "api-user")],
        );
        check("#", "x = run.trigger.author_kind != 'User'", &[&of_object(32, "User", "user")]);
        check("//", "ä('GITLAB_CICD')", &[&of_object(3, "GITLAB_CICD", "gitlab-cicd")]);
        check(
            "//",
            "if (run.definition.implementation == 'github_workflow')",
            &[
                "policy.js:1:38: `github_workflow` is no word of `implementation`, expected one of `manual`, `terraform`, \
             `github-workflow`, `gitlab-cicd`, `azure-devops`, `other`; did you mean `github-workflow`?",
            ],
        );
        check(
            "//",
            "run.trigger?.authorKind !== 'robot'",
            &[
                "policy.js:1:29: `robot` is no word of `authorKind`, expected one of `user`, `api-key`, `api-user`, `system`, \
             `other`",
            ],
        );
        for (comment, line) in [
            ("//", "if (run.behavior === 'destroy') {"),
            ("//", "// a run says 'DESTROY'"),
            ("#", "x = 1  # 'ApiKey'"),
            ("//", "deny('no', 'ask a User');"),
            ("//", "const names = ['User', 'System'];"),
            ("//", "const run = { type: 'ApiKey' };"),
            ("//", "run.trigger.reason === 'MANUAL_EXECUTION'"),
            ("//", "run.trigger.author === 'someone'"),
            ("//", "it's"),
        ] {
            check(comment, line, &[]);
        }
    }

    #[test]
    fn each_word_has_the_contracts() {
        for (word, contract) in claims().iter().flat_map(|claim| &claim.words) {
            assert!(word != contract && !contract.contains(char::is_uppercase), "{word}");
        }
    }
}
