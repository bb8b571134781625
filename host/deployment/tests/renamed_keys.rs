//! Keys and words that were renamed: each error names the one that has taken its place.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use countersign_deployment::{Config, Manifest};

const BINDING: &str = "[[binding]]\nname = \"a\"\npolicy = \"a.wasm\"\nscope = \"all\"\n";
const CONFIG: &str = "policies = \"countersign.toml\"\nstate = \"state\"\n";

#[test]
fn a_renamed_key_of_the_manifest_names_the_new_one() {
    for (text, old, new) in [
        (
            "[issuer]\nmeshstack-id = \"a\"\nsubject-moves = \"m.json\"\n",
            "subject-moves",
            "subject-migrations",
        ),
        ("[preparation]\nbindings = \"when-needed\"\n", "when-needed", "on-demand"),
    ] {
        let error = Manifest::parse(&format!("{text}{BINDING}")).unwrap_err().to_string();
        assert!(error.ends_with(&format!("\n`{old}` is now `{new}`")), "{error}");
        Manifest::parse(&format!("{}{BINDING}", text.replace(old, new))).unwrap();
    }
}

#[test]
fn a_renamed_key_of_the_configuration_names_the_new_one() {
    for (table, old, new) in [
        ("tokens", "longest-ttl-seconds", "max-ttl-seconds"),
        ("tokens", "most-audiences", "max-audiences"),
        ("runs", "life-seconds", "max-ttl-seconds"),
    ] {
        let with = |key: &str| Config::parse(&format!("{CONFIG}[{table}]\n{key} = 2\n"));
        let error = with(old).unwrap_err().to_string();
        assert!(error.ends_with(&format!("\n`{old}` is now `{new}`")), "{error}");
        with(new).unwrap();
    }
}
