//! Settings that fit, and the errors of those that do not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::{BTreeMap, BTreeSet};

use countersign_policy::{Workspace, parse_settings, settings};

#[settings]
#[derive(Default, PartialEq)]
struct Settings {
    #[serde(default)]
    workspaces: BTreeSet<Workspace>,
    #[serde(default)]
    rules: BTreeMap<String, Rule>,
    #[serde(default)]
    when: Option<When>,
    #[serde(default)]
    ratio: f64,
    #[serde(default)]
    pair: (i8, u8),
    #[serde(default)]
    on: bool,
}

#[settings]
#[derive(PartialEq)]
struct Rule {
    seconds: u32,
}

#[settings]
#[derive(PartialEq)]
enum When {
    Always,
    OnDays(Vec<u8>),
    Between { from: u64 },
}

#[track_caller]
fn fits(json: &str) -> Settings {
    parse_settings(json).unwrap()
}

#[track_caller]
fn check(json: &str, expected: &str) {
    assert_eq!(parse_settings::<Settings>(json).unwrap_err().to_string(), expected);
}

#[test]
fn what_fits() {
    assert_eq!(fits(" { } "), Settings::default());
    let all = fits(
        r#"{"workspaces": ["a", "b-\u0063", "a"], "rules": {"x\/\n\ud83d\ude00": {"seconds": 1}},
            "when": {"on-days": [1, 2]}, "ratio": -1.5e1, "pair": [-128, 255], "on": true}"#,
    );
    let names: Vec<_> = all.workspaces.iter().map(Workspace::as_str).collect();
    assert_eq!(names, ["a", "b-c"]);
    assert_eq!(all.rules.get("x/\n😀"), Some(&Rule { seconds: 1 }));
    assert_eq!(all.when, Some(When::OnDays(vec![1, 2])));
    assert_eq!((all.ratio, all.pair, all.on), (-15.0, (-128, 255), true));
    assert_eq!(fits(r#"{"when": "always"}"#).when, Some(When::Always));
    assert_eq!(fits(r#"{"when": null, "ratio": 2}"#).when, None);
    assert_eq!(fits(r#"{"when": {"between": {"from": 1}}}"#).when, Some(When::Between { from: 1 }));
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    check("[]", "expected an object, found an array");
    check("7", "expected an object, found a whole number");
    check(
        r#"{"workspace": []}"#,
        "/workspace: unknown key, expected one of `workspaces`, `rules`, `when`, `ratio`, `pair`, \
         `on`",
    );
    check(r#"{"on": null}"#, "/on: expected a boolean, found null");
    check(r#"{"on": 1}"#, "/on: expected a boolean, found a whole number");
    check(r#"{"workspaces": {}}"#, "/workspaces: expected an array, found an object");
    check(
        r#"{"workspaces": ["a", "B"]}"#,
        "/workspaces/1: expected a workspace identifier (lower-case letters and digits, single \
         dashes between them, at most 63 bytes), found `B`",
    );
    check(r#"{"rules": {"a/b~": {}}}"#, "/rules/a~1b~0/seconds: missing");
    check(
        r#"{"rules": {"a": {"seconds": -1}}}"#,
        "/rules/a/seconds: expected a whole number from 0 to 4294967295, found -1",
    );
    check(
        r#"{"rules": {"a": {"seconds": 1.0}}}"#,
        "/rules/a/seconds: expected a whole number from 0 to 4294967295, found a number",
    );
    check(
        r#"{"rules": {"a": {"seconds": 4294967296}}}"#,
        "/rules/a/seconds: expected a whole number from 0 to 4294967295, found 4294967296",
    );
    check(
        r#"{"when": "never"}"#,
        "/when: expected one of `always`, `on-days`, `between`, found `never`",
    );
    check(r#"{"when": {"always": 1}}"#, "/when: takes no value: write it as a string");
    check(
        r#"{"when": {"on-days": [1, 256]}}"#,
        "/when/on-days/1: expected a whole number from 0 to 255, found 256",
    );
    check(
        r#"{"when": {"on-days": [], "x": 1}}"#,
        "/when: expected an object with one key, found more",
    );
    check(r#"{"when": {"between": [1]}}"#, "/when/between: expected an object, found an array");
    check(r#"{"when": {}}"#, "/when: expected an object with one key, found none");
    check(r#"{"pair": [1]}"#, "/pair: expected an array of 2 items, found 1 items");
    check(r#"{"pair": [1, 2, 3]}"#, "/pair: more than 2 items");
    check(r#"{"ratio": 1e999}"#, "/ratio: the number is out of range");
}

#[test]
fn what_is_not_json_is_refused() {
    for json in [
        "",
        "{",
        "{}x",
        "{,}",
        r#"{"on"}"#,
        r#"{"on":}"#,
        r#"{"on":tru}"#,
        r#"{"on":true,}"#,
        r#"{"on" true}"#,
        r#"{"pair":[1,2,]}"#,
        r#"{"pair":[,1,2]}"#,
        r#"{"pair":[1 2]}"#,
        r#"{"ratio":-}"#,
        r#"{"ratio":1.}"#,
        r#"{"ratio":+1}"#,
        r#"{"rules":{"\ud800":{}}}"#,
        r#"{"rules":{"\x":{}}}"#,
        r#"{"rules":{"\u12":{}}}"#,
        "{\"rules\":{\"\n\":{}}}",
        r#"{"rules":{"é\u00"#,
    ] {
        assert!(parse_settings::<Settings>(json).is_err(), "{json}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(
        parse_settings::<Nest>(&deep).unwrap_err().to_string().rsplit(": ").next(),
        Some("nested too deep")
    );
}

#[derive(Debug)]
struct Nest;

impl<'de> countersign_policy::serde::Deserialize<'de> for Nest {
    fn deserialize<D: countersign_policy::serde::Deserializer<'de>>(
        d: D,
    ) -> Result<Self, D::Error> {
        Vec::<Nest>::deserialize(d).map(|_| Nest)
    }
}
