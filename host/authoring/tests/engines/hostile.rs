//! Texts that would take all time, memory or stack: each ends in a fault, and in no verdict.

use std::sync::Arc;

use countersign::{Fault, Limits, Policy};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::verdicts::decide;
use crate::{LIMITS, bind, bind_within, component, unoptimised};

#[track_caller]
fn check(engine: &Arc<Policy>, settings: &Value, codes: &[&str]) {
    let (result, approved) = match bind(engine, settings) {
        Ok(_) => decide(engine, settings),
        Err(error) => panic!("{settings}: {error}"),
    };
    let code = result.as_ref().err().map(Fault::code);
    assert!(code.is_some_and(|code| codes.contains(&code)), "{settings}: {result:?}");
    assert!(!approved);
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn python() {
    let engine = unoptimised(&component(EngineName::Python));
    // Only what `evaluate` does for the real run: what it does for the samples is bounded by itself.
    let real = "run.building_block.id != '68ce5455-2a4a-4a4b-a324-6a6c18cab85a' or token.ttl_seconds == 3600";
    let policy = |body: &str| {
        let body = body.replace('\n', "\n        ");
        let text = format!(
            "import re\n\nfrom countersign import permit\n\n\ndef deeper(n):\n    return deeper(n + 1)\n\n\n\
                            def evaluate(run, token):\n    if {real}:\n        {body}\n    return permit()\n"
        );
        json!({"files": {"policy.py": text}})
    };
    for (body, codes) in [
        ("while True:\n    pass", &["out-of-fuel"][..]),
        ("x = 0\nfor n in range(10**12):\n    x += n", &["out-of-fuel"]),
        ("deeper(0)", &["panic"]),
        (
            "text = 'a' * 1000\nwhile True:\n    text += text",
            &["memory", "out-of-fuel", "trap", "panic"],
        ),
        ("'a' * 10**12", &["memory", "trap", "panic"]),
        ("list(range(10**9))", &["memory", "out-of-fuel", "trap", "panic"]),
        (
            "items = []\nwhile True:\n    items.append(items)",
            &["memory", "out-of-fuel", "trap", "panic"],
        ),
        ("10 ** 10 ** 10", &["memory", "out-of-fuel", "trap", "panic"]),
        (
            "re.match('(a+)+$', 'a' * 64 + 'b')\nre.match(r'(a+)\\1+$', 'a' * 64 + 'b')\nwhile True:\n    pass",
            &["out-of-fuel", "panic"],
        ),
        (
            "x = []\nfor n in range(100000):\n    x = [x]\nrepr(x)",
            &["memory", "out-of-fuel", "trap", "panic", "stack"],
        ),
        ("sorted(range(10**7), key=lambda n: -n)", &["memory", "out-of-fuel", "trap", "panic"]),
    ] {
        check(&engine, &policy(body), codes);
    }
    // Nesting that would take the parser's stack is found before it decides.
    for text in [
        format!("X = {}1{}\n", "(".repeat(20_000), ")".repeat(20_000)),
        format!("X = {}1\n", "-".repeat(20_000)),
        format!("X = {}\n", "1 + ".repeat(20_000) + "1"),
    ] {
        let text = format!("def evaluate():\n    return None\n{text}");
        assert!(bind(&engine, &json!({"files": {"policy.py": text}})).is_err());
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn cel() {
    let engine = unoptimised(&component(EngineName::Cel));
    let real = "run.building_block.id == '' || token.ttl_seconds == 3600";
    let policy = |when: &str| {
        let when = format!("({real}) && ({when})");
        let data = json!({"many": (0..400).collect::<Vec<_>>(), "text": "a".repeat(10_000)});
        json!({"policy": format!("permit:\n- when: {}\n", json!(when)), "data": data})
    };
    for (when, codes) in [
        (
            "data.many.all(a, data.many.all(b, data.many.all(c, a + b + c >= 0)))",
            &["out-of-fuel"][..],
        ),
        (
            "data.many.map(a, data.many.map(b, data.text + data.text)).size() > 0",
            &["memory", "out-of-fuel", "trap", "panic"],
        ),
    ] {
        check(&engine, &policy(when), codes);
    }
    // A regular expression takes time that grows with the text alone.
    let regular = policy("!('a' + data.text).matches('^(a+)+$') || true");
    assert!(decide(&engine, &regular).0.is_ok());
    for when in [
        format!("{}true{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("{}1 == 1", "-(".repeat(5_000)),
        "'a'.matches('a{1000}{1000}')".to_owned(),
    ] {
        let settings = json!({"policy": format!("permit:\n- when: {}\n", json!(when))});
        assert!(bind(&engine, &settings).is_err(), "{}", &when[..20]);
    }
    // YAML that grows when it is read.
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\npermit: [*b]\n";
    assert!(bind(&engine, &json!({"policy": bomb})).is_err());
    let deep = format!("permit: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    assert!(bind(&engine, &json!({"policy": deep})).is_err());
}

/// Before the first run, a policy evaluates samples, of which its author knows nothing: what ends there says so.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn what_ends_on_a_sample_says_so() {
    let limits = Limits { configure_fuel: 1_000_000_000, ..LIMITS };
    let import = "import { permit } from 'countersign';\n";
    let matching = "('a'.repeat(40) + '!').match(/^(a+)+$/)";
    let bind = |text: String| {
        let engine = unoptimised(&component(EngineName::Javascript));
        bind_within(&engine, &json!({"files": {"policy.js": format!("{import}{text}")}}), limits)
    };
    let ends = format!("export const evaluate = () => {matching} ? permit() : permit();");
    assert_eq!(
        bind(ends).map(drop).unwrap_err().to_string(),
        "policy `javascript`: `configure` failed: used more than 1000000000 units of fuel, while it evaluated a sample run \
         (apply, with every field) to warm up"
    );
    let destroying = format!(
        "export const evaluate = (_, run) => run.behavior === 'destroy' && run.trigger === undefined && {matching} \
         ? permit() : permit();"
    );
    let text = bind(destroying).map(drop).unwrap_err().to_string();
    assert!(
        text.ends_with(
            ", while it evaluated a sample run (destroy, without optional fields) to warm up"
        ),
        "{text}"
    );
    // What the module itself does, and `check`, is no sample.
    let loading = format!("{matching};\nexport const evaluate = () => permit();");
    let checking = format!(
        "export const check = () => {matching} ?? [];\nexport const evaluate = () => permit();"
    );
    for text in [loading, checking] {
        let text = bind(text).map(drop).unwrap_err().to_string();
        assert!(text.ends_with("used more than 1000000000 units of fuel"), "{text}");
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn rego() {
    let engine = unoptimised(&component(EngineName::Rego));
    let policy = |body: &str| {
        let data = json!({"many": (0..2000).collect::<Vec<_>>(), "text": "a".repeat(100_000)});
        // Only for the real run: the sample has another lifetime.
        let real = "input.token.ttl_seconds == 3600";
        json!({"policy": format!("package countersign\n\npermit if {{\n\t{real}\n\t{body}\n}}\n"), "data": data})
    };
    for (body, codes) in [
        (
            "count([1 | some a in data.many; some b in data.many; some c in data.many; a + b + c < 0]) > 0",
            &["out-of-fuel"][..],
        ),
        (
            "count({x | some a in data.many; some b in data.many; x := [a, b, data.many]}) > 0",
            &["memory", "out-of-fuel", "panic", "trap"],
        ),
        (
            "count([x | some a in data.many; x := sprintf(\"%d%s%s%s%s\", [a, data.text, data.text, data.text, data.text])]) > 0",
            &["memory", "out-of-fuel", "panic", "trap"],
        ),
        ("count(numbers.range(1, 1000000000)) > 0", &["memory", "out-of-fuel", "panic", "trap"]),
    ] {
        check(&engine, &policy(body), codes);
    }
    // A regular expression takes time that grows with the text alone.
    let regular = policy("not regex.match(\"^(a+)+$\", concat(\"\", [data.text, \"!\"]))");
    assert!(decide(&engine, &regular).0.is_ok());
    for body in [
        format!("{}1{} == 1", "(".repeat(20_000), ")".repeat(20_000)),
        format!("x := {}1{}", "[".repeat(20_000), "]".repeat(20_000)),
        "regex.match(\"a{1000}{1000}\", \"a\")".to_owned(),
    ] {
        assert!(bind(&engine, &policy(&body)).is_err(), "{}", &body[..20]);
    }
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn cedar() {
    let engine = unoptimised(&component(EngineName::Cedar));
    let policy = |condition: &str| {
        let policies = format!("permit(principal, action, resource) when {{ {condition} }};");
        json!({"policies": policies})
    };
    for condition in [
        format!("{}true{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("{}true", "!".repeat(20_000)),
        format!("{}true", "if true then true else ".repeat(20_000)),
    ] {
        assert!(bind(&engine, &policy(&condition)).is_err(), "{}", &condition[..20]);
    }
    // There is no loop: work grows with the text alone, and that of a pattern with the text that it is compared with.
    let like = format!("context.token.subject like \"{}b\"", "*a".repeat(200));
    let wide = vec!["context.run.number + 1 > 0"; 50].join(" && ");
    for condition in [like, wide] {
        assert!(decide(&engine, &policy(&condition)).0.is_ok());
    }
}
