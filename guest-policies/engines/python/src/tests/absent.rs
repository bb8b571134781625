//! Warnings of claims that not every run has.

use super::*;

fn warnings(files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    let problems = prepare(Settings { files, settings: None, warnings: true }).err();
    problems.into_iter().flatten().map(|problem| problem.message).collect()
}

#[test]
fn a_claim_that_runs_may_lack_is_warned_of() {
    for (text, says) in [
        (
            "return permit() if run.trigger.author == 'a' else abstain()",
            "policy.py:3:24: `run.trigger` is `None` for a run that lacks it, which has no `author`; test it before, as in \
             `run.trigger is not None and …`",
        ),
        (
            "return permit() if run.building_block.project.startswith('a') else abstain()",
            "policy.py:3:24: `run.building_block.project` is `None` for a run that lacks it, which has no `startswith`; \
             test it before, as in `run.building_block.project is not None and …`",
        ),
        (
            "return permit() if run.trigger and run.trigger.reason[0] == 'a' else abstain()",
            "policy.py:3:40: `run.trigger.reason` is `None` for a run that lacks it, which has no parts; test it before, \
             as in `run.trigger.reason is not None and …`",
        ),
        (
            "return permit() if 'a' in run.runner else abstain()",
            "policy.py:3:31: `run.runner` is `None` for a run that lacks it, in which nothing is sought; test it before, \
             as in `run.runner is not None and …`",
        ),
        (
            "return permit() if run.facts['ticket'] == 'a' else abstain()",
            "policy.py:3:24: `run.facts[\"ticket\"]` is a KeyError for a run that lacks it; write \
             `run.facts.get(\"ticket\")`, or test `\"ticket\" in run.facts` before",
        ),
        (
            "return permit() if run.facts.get('ticket').startswith('a') else abstain()",
            "policy.py:3:24: `run.facts.get(\"ticket\")` is `None` for a run that lacks it, which has no `startswith`; \
             write `run.facts.get(\"ticket\", '')`, or test it before",
        ),
    ] {
        assert_eq!(warnings(&[("policy.py", &line(text))]), [says], "{text}");
    }
    let tried = "try: x = run.trigger.author\n    finally: pass\n    return permit()";
    let found = warnings(&[("policy.py", &line(tried))]);
    assert!(found[0].starts_with("policy.py:3:14: `run.trigger` is `None` for a run"), "{found:?}");
}

#[test]
fn a_claim_that_is_tested_is_not() {
    for text in [
        "return permit() if run.trigger and run.trigger.author == 'a' else abstain()",
        "return abstain() if run.trigger is None or run.trigger.author != 'a' else permit()",
        "trigger = run.trigger\n    return permit() if trigger and run.trigger.author == 'a' else abstain()",
        "try: return permit() if run.trigger.author == 'a' else abstain()\n    except AttributeError: return abstain()",
        "return permit() if run.runner == 'a' else abstain()",
        "return permit() if run.runner in ['a', 'b'] else abstain()",
        "return permit() if 'ticket' in run.facts and run.facts['ticket'] == 'a' else abstain()",
        "return permit() if run.facts.get('ticket') and run.facts['ticket'] == 'a' else abstain()",
        "return permit() if run.facts.get('ticket', '').startswith('a') else abstain()",
        "return permit() if run.facts == {'a': 'b'} or run.facts['a'] == 'c' else abstain()",
        "return permit() if getattr(run, 'trigger', None) and run.trigger.author == 'a' else abstain()",
        "known = helper(run)\n    return permit() if known and run.trigger.author == 'a' else abstain()\ndef helper(r): return r.trigger",
        "return permit() if run.building_block.workspace.startswith('a') else abstain()",
    ] {
        assert_eq!(warnings(&[("policy.py", &line(text))]), [""; 0], "{text}");
    }
    // A test in one file is one for a function in another.
    let main = "from countersign import abstain, permit\nfrom lib import of\n\n\
                def evaluate(run):\n    return permit() if run.trigger and of(run) == 'a' else abstain()\n";
    let library = "def of(run):\n    return run.trigger.author\n";
    assert_eq!(warnings(&[("policy.py", main), ("lib.py", library)]), [""; 0]);
}
