//! Verdicts, and what is said of texts that are none.

mod absent;
mod mistakes;

use countersign_policy::{Grant, parse_settings};

use super::*;

fn settings(text: &str) -> Settings {
    let lib = ("lib.js".to_owned(), "\nnone();".to_owned());
    let files = BTreeMap::from([("policy.js".to_owned(), text.to_owned()), lib]);
    Settings { files, settings: None, warnings: false }
}

#[track_caller]
fn check(expression: &str, expected: Result<Verdict, &str>) {
    let import = "import { abstain, deny, permit, restrict } from 'countersign';";
    let text =
        format!("{import}\nexport const evaluate = (settings, run, token) => {expression};\n");
    let prepared = prepare(settings(&text)).expect("a policy");
    let found = decide(&prepared, &sample::run(), &sample::token());
    assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|e| *e));
}

#[test]
fn verdicts_are_those_of_the_functions() {
    let grant = || Grant { max_ttl: Some(900), ..Grant::new() };
    check("permit({ maxTtl: 900 })", Ok(Verdict::Permit(grant())));
    check("restrict({ maxTtl: 900 })", Ok(Verdict::Restrict(grant())));
    check("deny('a', 'b')", Ok(Verdict::deny("a", "b")));
    check("abstain()", Ok(Verdict::Abstain));
    check(
        "permit({ ['max_ttl']: 9 })",
        Err(
            "policy.js:2:57: TypeError: permit: unknown key `max_ttl`, expected maxTtl, audiences and claims; at \
             evaluate (policy.js:2:57)",
        ),
    );
    check(
        "new (Date)()",
        Err(
            "policy.js:2:51: Error: a policy has no clock: the time is token.issuedAt; at evaluate (policy.js:2:51)",
        ),
    );
    check(
        "(async () => permit())()",
        Err(
            "`evaluate` returned a promise; expected a verdict made by permit(…), restrict(…), deny(…) or abstain(), and \
             a policy cannot wait: remove `async`",
        ),
    );
}

#[test]
fn a_problem_of_a_text_has_its_place() {
    for (text, expected) in [
        ("export const policy = {", "policy.js:1:24: SyntaxError: "),
        ("\nimport a from 'b';", "policy.js:2:15: cannot import `b`"),
        ("\nthrow new Error('no');", "policy.js:2:"),
        ("\nnone();", "policy.js:2:"),
        ("import './lib.js';", "lib.js:2:"),
        ("let a = 1;\nlet a = 2;", "policy.js:2:5: SyntaxError: lexical name `a` declared"),
        ("import { a } from 'countersign';", "policy.js:1:10: SyntaxError: could not find export"),
    ] {
        let problems = prepare(settings(text)).err().expect(text);
        assert!(problems[0].message.starts_with(expected), "{problems:?}");
    }
}

#[test]
fn a_schema_of_settings_is_checked() {
    let text = "import { permit, policy as p } from 'countersign';\nexport const policy = p({ evaluate: () => permit(), \
                settingsSchema: { type: 'object', additionalProperties: false, properties: { also: { type: 'array', \
                items: { type: 'string', pattern: '^[a-z]+$' } } } } });";
    for (own, expected) in [
        (r#"{"also": ["a"]}"#, None),
        (r#"{"also": ["A"]}"#, Some("/settings/also/0")),
        (r#"{"also": 7}"#, Some("/settings/also")),
        (r#"{"other": 7}"#, Some("/settings/other")),
    ] {
        let own = parse_settings(own).expect(own);
        let problems = prepare(Settings { settings: Some(own), ..settings(text) });
        let pointer = problems.err().map(|problems| problems[0].pointer.clone());
        assert_eq!(pointer.as_deref(), expected);
    }
}
