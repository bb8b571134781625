//! Warnings of claims that not every run has.

use super::*;

fn warnings(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let problems = prepare(Settings { files, settings: None, warnings: true }).err();
    problems.into_iter().flatten().map(|problem| problem.message).collect()
}

fn policy(line: &str) -> String {
    format!(
        "import {{ abstain, permit }} from 'countersign';\nexport function evaluate(settings, run) {{\n  {line}\n}}"
    )
}

#[test]
fn a_claim_that_runs_may_lack_is_warned_of() {
    for (line, says) in [
        (
            "return run.trigger.author === 'a' ? permit() : abstain();",
            "policy.js:3:10: `run.trigger` is `undefined` for a run that lacks it, which has no members; write \
             `run.trigger?.author`, or test it before",
        ),
        (
            "return run.trigger['author'] === 'a' ? permit() : abstain();",
            "policy.js:3:10: `run.trigger` is `undefined` for a run that lacks it, which has no members; write \
             `run.trigger?.[…]`, or test it before",
        ),
        (
            "const { author } = run.trigger; return author === 'a' ? permit() : abstain();",
            "policy.js:3:22: `run.trigger` is `undefined` for a run that lacks it, which has no members; write \
             `run.trigger ?? {}`, or test it before",
        ),
        (
            "const { trigger: { author } } = run; return author === 'a' ? permit() : abstain();",
            "policy.js:3:11: `run.trigger` is `undefined` for a run that lacks it, which has no members; write \
             `run.trigger ?? {}`, or test it before",
        ),
        (
            "return run.buildingBlock.project.startsWith('a') ? permit() : abstain();",
            "policy.js:3:10: `run.buildingBlock.project` is `undefined` for a run that lacks it, which has no members; \
             write `run.buildingBlock.project?.startsWith`, or test it before",
        ),
        (
            "return run.trigger?.reason.length > 2 ? permit() : abstain();",
            "policy.js:3:10: `run.trigger.reason` is `undefined` for a run that lacks it, which has no members; write \
             `run.trigger.reason?.length`, or test it before",
        ),
        (
            "return run.facts.ticket.length > 2 ? permit() : abstain();",
            "policy.js:3:10: `run.facts.ticket` is `undefined` for a run that lacks it, which has no members; write \
             `run.facts.ticket?.length`, or test it before",
        ),
        (
            "return run.facts['cost-centre'].length > 2 ? permit() : abstain();",
            "policy.js:3:10: `run.facts['cost-centre']` is `undefined` for a run that lacks it, which has no members; \
             write `run.facts['cost-centre']?.length`, or test it before",
        ),
        (
            "try { return run.facts.a.length > 2 ? permit() : abstain(); } finally { settings; }",
            "policy.js:3:16: `run.facts.a` is `undefined` for a run that lacks it, which has no members; write \
             `run.facts.a?.length`, or test it before",
        ),
    ] {
        assert_eq!(warnings(&[("policy.js", &policy(line))]), [says], "{line}");
    }
    let typed = "import { abstain, permit, type Run } from 'countersign';\n\
                 export const evaluate = (_: unknown, run: Run) => run.trigger!.author === 'a' ? permit() : abstain();";
    let found = warnings(&[("policy.ts", typed)]);
    assert!(found[0].starts_with("policy.ts:2:51: `run.trigger` is"), "{found:?}");
}

#[test]
fn a_claim_that_is_tested_is_not() {
    for line in [
        "return run.trigger?.author === 'a' ? permit() : abstain();",
        "if (!run.trigger) return abstain(); return run.trigger.author === 'a' ? permit() : abstain();",
        "const trigger = run.trigger; return trigger && run.trigger.author === 'a' ? permit() : abstain();",
        "const { trigger } = run; return trigger && run.trigger.author === 'a' ? permit() : abstain();",
        "try { return run.trigger.author === 'a' ? permit() : abstain(); } catch { return abstain(); }",
        "return run.facts.ticket === 'a' ? permit() : abstain();",
        "return 'ticket' in run.facts && run.facts.ticket.length > 2 ? permit() : abstain();",
        "return run.facts['ticket'] && run.facts.ticket.length > 2 ? permit() : abstain();",
        "return run.runner && run.runner.startsWith('a') ? permit() : abstain();",
        "return run.definition.workspace.startsWith('a') ? permit() : abstain();",
        "return 'trigger' in run && run.trigger.author === 'a' ? permit() : abstain();",
        "return run['trigger'] && run.trigger.author === 'a' ? permit() : abstain();",
        "return Object.hasOwn(run, 'trigger') && run.trigger.author === 'a' ? permit() : abstain();",
        "const has = (r) => r.trigger !== undefined; return has(run) && run.trigger.author === 'a' ? permit() : abstain();",
        "return run.facts['größe'] && run.facts.größe.length > 1 ? permit() : abstain();",
        "try { const { trigger: { author } } = run; return author ? permit() : abstain(); } catch { return abstain(); }",
        "return settings.runs.every((run) => run.trigger.author) ? permit() : abstain();",
    ] {
        assert_eq!(warnings(&[("policy.js", &policy(line))]), [""; 0], "{line}");
    }
    // A test in one file is one for a function in another.
    let main = "import { abstain, permit } from 'countersign';\nimport { authorOf } from './lib.js';\n\
                export const evaluate = (_, run) => run.trigger && authorOf(run) === 'a' ? permit() : abstain();";
    let library = "export function authorOf(run) { return run.trigger.author; }";
    assert_eq!(warnings(&[("policy.js", main), ("lib.js", library)]), [""; 0]);
}
