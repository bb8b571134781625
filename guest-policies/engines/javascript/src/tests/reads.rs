//! What texts read of the claims.

use oxc_allocator::Allocator;
use oxc_parser::Parser;
use oxc_span::SourceType;

use super::*;

#[track_caller]
fn check(text: &str, read: &[&str], not_read: &[&str]) {
    let allocator = Allocator::default();
    let paths = of(&Parser::new(&allocator, text, SourceType::mjs()).parse().program);
    let is_read = |path: &&&str| paths.read(&path.split('.').collect::<Vec<_>>());
    assert_eq!(read.iter().find(|path| !is_read(path)), None, "{text}");
    assert_eq!(not_read.iter().find(is_read), None, "{text}");
}

#[test]
fn what_is_read_by_names_is_found() {
    const OTHERS: &[&str] = &["run.id", "run.trigger", "token.subject", "run.building_block.id"];
    for (line, read) in [
        ("return run.buildingBlock.workspace;", &["run.building_block.workspace"][..]),
        ("return run?.buildingBlock.workspace.startsWith('a');", &["run.building_block.workspace"]),
        ("return [1].map(() => token.ttlSeconds);", &["token.ttl_seconds"]),
        ("return run.facts[settings.name];", &["run.facts"]),
        ("return `${run['definition']}` ? 1 : 2;", &["run.definition", "run.id", "run.facts"]),
        ("const { facts, definition: d } = run; return d;", &["run.facts", "run.definition.id"]),
        ("const { version = 1n } = run.definition;", &["run.definition.version"]),
        ("const { version, ...rest } = run.definition;", &["run.definition.id"]),
        ("const { [settings.a]: a } = run.definition;", &["run.definition.id"]),
        ("run.facts.a = 1;", &["run.facts"]),
    ] {
        let others = if line.contains("'definition'") { &OTHERS[2..3] } else { OTHERS };
        for text in [
            format!("export function evaluate(settings, run, token) {{ {line} }}"),
            format!("export const evaluate = (settings, run, token) => {{ {line} }};"),
            format!(
                "export const evaluate = function (settings, run, token) {{ {line} }};\nexport function check() {{}}"
            ),
        ] {
            check(&text, read, others);
        }
    }
    check(
        "export const evaluate = (_, r) => r.definition.id === r.id;",
        &["run.definition.id", "run.id"],
        &["run.definition.version", "token.subject"],
    );
    check("export const evaluate = () => 1;", &[], &["run.id", "token.issued_at"]);
}

#[test]
fn what_may_be_read_otherwise_is_all() {
    let all = ["run.id", "run.trigger", "run.building_block.parents", "token.subject"];
    for text in [
        "const f = (run) => run.id; export const evaluate = (settings, run, token) => f(run, token);",
        "export function evaluate() { return arguments[1].id + arguments[2].subject; }",
        "export const evaluate = (...all) => all[1].id;",
        "export const evaluate = (settings, { id }, token) => id;",
        "export const policy = { evaluate: (settings, run) => run.id };",
        "function evaluate(settings, run) { return run.id; } export { evaluate };",
        "const f = (settings, r) => r.id; export { f as evaluate };",
        "export function evaluate(settings, run) { return run.id; } evaluate = (settings, r, t) => r.trigger;",
        "export let evaluate = (settings, run) => run.id; evaluate = (settings, r, t) => r.trigger;",
        "export const evaluate = (settings, run) => run.id, other = 1;",
        "export default function evaluate(settings, run) { return run.id; }",
        "export var evaluate = (settings, run) => run.id; var evaluate = (settings, r, t) => r.trigger;",
        "export { evaluate } from './lib.js';",
        "export * from './lib.js';",
        "const f = (settings, r) => r.id; export const evaluate = f;",
        "export const evaluate = (settings, run, token) => JSON.stringify({ run, token });",
        "export const evaluate = (settings, run, token) => { for (const name in run) token[name] = run; };",
        "export const evaluate = (settings, run, token) => Object.keys({ ...run, ...token });",
        "export const evaluate = (settings, run, token) => run.hasOwnProperty('id') && token.toString();",
        "export const evaluate = (settings, run, token) => { run.x++; delete token.y; };",
    ] {
        check(text, &all, &[]);
    }
}
