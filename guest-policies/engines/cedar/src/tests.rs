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

/// The two nights of a year, with the built-in schema, with one that has the zone, and with one that knows of none.
#[test]
fn times_are_those_of_the_zones_that_policies_name() {
    let own =
        SCHEMA.replace("local: {}", "local: { \"Europe/Berlin\": LocalTime, UTC: LocalTime }");
    let older = SCHEMA.replace("    local: {},\n", "");
    for (at, expected) in [
        (
            1_806_195_599,
            "year == 2027 && X.month == 3 && X.day == 28 && X.hour == 1 && X.minute == 59",
        ),
        (1_806_195_600, "weekday == 7 && X.hour == 3 && X.minute == 0 && X.second == 0"),
        (1_824_944_399, "month == 10 && X.hour == 2 && X.minute == 59 && X.second == 59"),
        (1_824_944_400, "weekday == 7 && X.hour == 2 && X.minute == 0"),
    ] {
        let local = "context.token.local[\"Europe/Berlin\"]";
        let condition = format!("{local}.{}", expected.replace('X', local));
        let policies = format!("permit(principal, action, resource) when {{ {condition} }};");
        for schema in [None, Some(own.as_str())] {
            let mut settings = json!({"policies": policies});
            if let Some(schema) = schema {
                settings["schema"] = json!(schema);
            }
            let prepared = parse_settings(&settings.to_string()).expect("settings");
            let prepared = prepare(prepared).unwrap_or_else(|p| panic!("{p:?}"));
            let token = Token { issued_at: at, ..sample::token() };
            let found = decide(&prepared, &sample::run(), &token);
            assert_eq!(found, Ok(Verdict::permit()), "{settings}");
        }
    }
    // A policy that names none is taken with a schema of before.
    check(json!({"policies": ANY, "schema": older}), &Verdict::permit());
    check(json!({"policies": ANY, "schema": own}), &Verdict::permit());
}

#[test]
fn the_version_of_opentofu_has_numbers() {
    let version = "context.run.opentofu_version";
    let policies = format!(
        "permit(principal, action, resource) when {{ context.run has opentofu_version && {version}.major == 1 && \
         {version}.minor >= 8 }};"
    );
    let settings = json!({"policies": policies, "default-verdict": "abstain"}).to_string();
    let prepared = prepare(parse_settings(&settings).expect("settings"));
    let prepared = prepared.unwrap_or_else(|problems| panic!("{problems:?}"));
    for (value, expected) in [
        (Some("1.8.2"), Verdict::permit()),
        (Some("v1.10"), Verdict::permit()),
        (Some("1.7"), Verdict::Abstain),
        (Some(">= 1.8"), Verdict::Abstain),
        (None, Verdict::Abstain),
    ] {
        let fact =
            |value: &str| Fact { name: "opentofu-version".to_owned(), value: value.to_owned() };
        let run = Run { facts: value.map(fact).into_iter().collect(), ..sample::run() };
        assert_eq!(decide(&prepared, &run, &sample::token()), Ok(expected), "{value:?}");
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
