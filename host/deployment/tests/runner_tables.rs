//! `issuer.toml`: runners of the platform, and ends of API keys.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use countersign_deployment::Config;

const BEGIN: &str = "policies = \"countersign.toml\"\nstate = \"state\"\n";
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
const KEY: &str = "[[api-key]]\nname = \"a\"\nmay = [\"runs\"]\n\
    sha256 = \"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"\n";

fn runner(more: &str) -> String {
    format!("[[runner]]\nid = \"{RUNNER}\"\n{more}\n")
}

fn identity(runner: &str) -> String {
    format!(
        "[[trusted-issuer]]\nurl = \"https://cluster.example.com\"\n[[trusted-issuer.identity]]\n\
         subject = \"s\"\nrunner = \"{runner}\"\n"
    )
}

#[test]
fn runners_and_ends_of_keys_are_read() {
    let shared = runner("workspace = \"platform\"\nkind = \"shared\"");
    let config = Config::parse(&format!("{BEGIN}{shared}{}", identity(RUNNER))).unwrap();
    assert!(config.runners.knows(&RUNNER.parse().unwrap()));
    assert!(!config.runners.knows(&"11111111-1111-4111-8111-111111111111".parse().unwrap()));
    // Without any, nothing is known and nothing refused.
    let config = Config::parse(&format!("{BEGIN}{}", identity(RUNNER))).unwrap();
    assert!(config.runners.knows(&RUNNER.parse().unwrap()));
    let ends = Config::parse(&format!("{BEGIN}{KEY}expires = 2027-01-31T00:00:00Z\n")).unwrap();
    assert_eq!(ends.api_keys.first().unwrap().expires_at, Some(1_801_353_600));
    let forever = Config::parse(&format!("{BEGIN}{KEY}")).unwrap();
    assert_eq!(forever.api_keys.first().unwrap().expires_at, None);
}

#[test]
fn what_contradicts_itself_is_refused_with_its_place() {
    let shared = runner("workspace = \"platform\"\nkind = \"shared\"");
    let other = "11111111-1111-4111-8111-111111111111";
    for (text, says) in [
        (format!("{shared}{shared}"), format!("runner `{RUNNER}`: twice")),
        (runner("workspace = \"platform\"\nkind = \"private\""), "unknown variant".to_owned()),
        (runner("workspace = \"Platform\"\nkind = \"shared\""), "workspace".to_owned()),
        (runner("kind = \"shared\""), "missing field `workspace`".to_owned()),
        (runner("workspace = \"platform\""), "missing field `kind`".to_owned()),
        (runner("workspace = \"platform\"\nkind = \"shared\"\nx = 1"), "unknown field".to_owned()),
        (
            "[[runner]]\nid = \"x\"\nworkspace = \"a\"\nkind = \"shared\"\n".to_owned(),
            "UUID".to_owned(),
        ),
        (format!("{shared}{}", identity(other)), format!("runner `{other}`: in no `[[runner]]`")),
        (format!("{KEY}expires = 2027-01-31T00:00:00\n"), "a date and time in UTC".to_owned()),
        (format!("{KEY}expires = 2027-01-31\n"), "a date and time in UTC".to_owned()),
        (format!("{KEY}expires = 2027-01-31T00:00:00+01:00\n"), "in UTC".to_owned()),
        (format!("{KEY}expires = 1801353600\n"), "expires".to_owned()),
    ] {
        let error = Config::parse(&format!("{BEGIN}{text}")).unwrap_err().to_string();
        assert!(error.contains(&says), "{text}: {error}");
    }
}
