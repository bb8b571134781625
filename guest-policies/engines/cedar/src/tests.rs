//! Verdicts, and what is said of mistakes.

mod mistakes;

use countersign_policy::parse_settings;
use serde_json::{Value, json};

use super::*;

const ANY: &str = "permit(principal, action, resource);";

#[track_caller]
fn check(settings: Value, expected: &Verdict) {
    let prepared = parse_settings(&settings.to_string()).expect("settings");
    let prepared = prepare(prepared).expect("policies");
    let found = decide(&prepared, &sample::run(), &sample::token());
    assert_eq!(found.as_ref(), Ok(expected), "{settings}");
}

#[test]
fn a_permit_that_does_not_restrict_has_to_apply() {
    let grant = |max_ttl| Grant { max_ttl: Some(max_ttl), ..Grant::new() };
    for (policies, expected) in [
        (format!("@restrict {ANY}"), Verdict::Restrict(Grant::new())),
        (format!("@restrict(\"\") @max_ttl(\"900\") {ANY}"), Verdict::Restrict(grant(900))),
        (format!("@restrict @max_ttl(\"900\") {ANY} {ANY}"), Verdict::Permit(grant(900))),
        (format!("@restrict {ANY} @max_ttl(\"600\") {ANY}"), Verdict::Permit(grant(600))),
        (
            format!("@restrict @max_ttl(\"900\") {ANY} @restrict @max_ttl(\"600\") {ANY}"),
            Verdict::Restrict(grant(600)),
        ),
        (
            format!(
                "@restrict {ANY} @id(\"no\") @message(\"no\") forbid(principal, action, resource);"
            ),
            Verdict::deny("no", "no"),
        ),
    ] {
        check(json!({"policies": policies}), &expected);
    }
}

#[test]
fn the_default_verdict_is_never_a_permit() {
    let policies = "forbid(principal, action == Action::\"destroy\", resource);";
    let denial = Verdict::deny("no-policy-permits", "no Cedar policy permits it");
    for (default, expected) in [
        (json!({}), &denial),
        (json!({"default-verdict": "deny"}), &denial),
        (json!({"default-verdict": "restrict"}), &Verdict::Restrict(Grant::new())),
        (json!({"default-verdict": "abstain"}), &Verdict::Abstain),
    ] {
        let mut settings = json!({"policies": policies});
        settings
            .as_object_mut()
            .expect("an object")
            .extend(default.as_object().cloned().unwrap_or_default());
        check(settings, expected);
    }
    for settings in [
        json!({"policies": policies, "default-verdict": "permit"}),
        json!({"policies": policies, "otherwise": "abstain"}),
    ] {
        assert!(parse_settings::<Settings>(&settings.to_string()).is_err(), "{settings}");
    }
}

#[test]
fn restrict_is_an_annotation_of_a_permit_and_takes_no_value() {
    for (policies, says) in [
        (format!("@restrict(\"no\") {ANY}"), "@restrict takes no value, found `no`"),
        (
            "@restrict forbid(principal, action, resource);".to_owned(),
            "@restrict is for a policy that permits",
        ),
    ] {
        let settings = json!({"policies": policies}).to_string();
        let problems = prepare(parse_settings(&settings).expect("settings")).err();
        let problems = problems.expect("a problem");
        assert!(problems.iter().any(|problem| problem.message.contains(says)), "{problems:?}");
    }
}

#[test]
fn the_time_of_issue_is_a_datetime() {
    let when = |condition: &str| json!({"policies": format!("permit(principal, action, resource) when {{ {condition} }};")});
    let permits = Verdict::Permit(Grant::new());
    let denies = Verdict::deny("no-policy-permits", "no Cedar policy permits it");
    // The sample is issued on 2026-09-21 at 14:13:20 UTC.
    for (condition, expected) in [
        ("context.token.time == datetime(\"2026-09-21T14:13:20Z\")", &permits),
        ("context.token.time.offset(duration(\"2h\")).toTime() >= duration(\"16h\")", &permits),
        ("context.token.time.toTime() >= duration(\"16h\")", &denies),
        ("context.token.time < datetime(\"2026-09-22\")", &permits),
        ("context.token.time.durationSince(datetime(\"2026-09-21\")).toHours() == 14", &permits),
        ("context.token.time == datetime(\"2026-09-21T16:13:20+0200\")", &permits),
    ] {
        check(when(condition), expected);
    }
    // A name in two scripts is one that people have.
    check(
        json!({"policies": "permit(principal, action, resource) unless { \"мария@bank.ru\" == \"\" };"}),
        &permits,
    );
}
