//! Names that are wrong, and names that may be right.

use boa_engine::Context;

use super::*;
use crate::typescript;

const IMPORT: &str = "import { localTime, permit, restrict as limit } from 'countersign';\n";

#[track_caller]
fn check(path: &str, line: &str, expected: Option<&str>) {
    let text = format!("{IMPORT}export function evaluate(settings, run, token) {{\n  {line}\n}}");
    let text = match path.ends_with(".ts") {
        true => typescript::without_types(path, &text).expect("types that can be removed"),
        false => text,
    };
    let found = super::check(path, &text, &Library::of(&mut Context::default())).err();
    match expected {
        None => assert_eq!(found, None, "{line}"),
        Some(says) => {
            assert!(found.as_deref().is_some_and(|f| f.starts_with(says)), "{line}: {found:?}")
        }
    }
}

#[test]
fn names_that_are_not_there_are_found() {
    for (line, says) in [
        (
            "return run.buildingBlock.worksapce;",
            "policy.js:3:28: `run.buildingBlock` has no `worksapce`, expected one of `id`, `workspace`, `project`, \
             `platform`, `parents`; did you mean `workspace`?",
        ),
        ("return run.building_block;", "policy.js:3:14: `run` has no `building_block`"),
        ("return run.trigger?.author_kind;", "policy.js:3:23: `run.trigger` has no `author_kind`"),
        ("return (run?.trigger)?.kind;", "policy.js:3:26: `run.trigger` has no `kind`"),
        ("return token.ttl > 600;", "policy.js:3:16: `token` has no `ttl`"),
        ("const { behaviour } = run;", "policy.js:3:11: `run` has no `behaviour`"),
        (
            "const { definition: { workspce } } = run;",
            "policy.js:3:25: `run.definition` has no `workspce`",
        ),
        (
            "return permit({ max_ttl: 600 });",
            "policy.js:3:19: permit: unknown key `max_ttl`, expected maxTtl, audiences and claims; did you mean `maxTtl`?",
        ),
        ("return limit({ 'audience': [] });", "policy.js:3:18: restrict: unknown key `audience`"),
        (
            "return localTime('Berlin', token.issuedAt);",
            "policy.js:3:20: there is no time zone `Berlin`",
        ),
    ] {
        check("policy.js", line, Some(says));
    }
    check(
        "policy.ts",
        "return run.trigger!.autor as string;",
        Some("policy.ts:3:23: `run.trigger` has no `autor`"),
    );
}

#[test]
fn names_that_may_be_there_are_not() {
    for line in [
        "return run.trigger?.authorKind ?? run.facts.ticket;",
        "return run.buildingBlock.parents.length + run.hasOwnProperty('trigger');",
        "return 'a b'.split(' ').map((token) => token.size);",
        "const { id, ...rest } = run; return rest;",
        "return run['any'];",
        "return permit({ ...settings.grant });",
        "return settings.permit({ max_ttl: 1 });",
        "for (const run of settings.runs) { if (run.name) return run.name; }",
        "return localTime(settings.zone, token.issuedAt).weekday;",
    ] {
        check("policy.js", line, None);
    }
    // A text that is none is the interpreter's to tell of.
    check("policy.js", "return run.none +;", None);
}
