//! Input that is wrong: an error that names the file and the place, and nothing on stdout.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{MANIFEST, RUN, countersign, folder};
use tempfile::TempDir;

const ASK: &str = "--policies countersign.toml --run run.json --ttl 900 --now 1790000000 \
                   --audience aws-workload-identity-provider:demo";

fn write_run(folder: &Path, name: &str, from: &str, to: &str) {
    let run = RUN.replacen(from, to, 1);
    assert_ne!(run, RUN);
    fs::write(folder.join(name), run).unwrap();
}

/// Runs with one invalid input: status 1, nothing on stdout, and these messages on stderr.
#[track_caller]
fn fails(folder: &TempDir, line: &str, expected: &[&str]) {
    for command in ["evaluate", "sign"] {
        let key = if command == "sign" { "--key key.pem" } else { "" };
        let ran = countersign(folder.path(), &format!("{command} {line} {key}"));
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        for expected in expected {
            assert!(ran.stderr.contains(expected), "{} lacks {expected}", ran.stderr);
        }
    }
}

#[test]
fn bad_input_gets_an_error_that_names_the_file_and_the_place() {
    let folder = folder();
    let path = folder.path();
    assert_eq!(countersign(path, "keys generate --algorithm es256 --out key.pem").status, 0);
    let with_run = |name: &str| ASK.replace("run.json", name);
    let with_manifest = |name: &str| ASK.replace("countersign.toml", name);
    let manifest = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(path.join("countersign.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        fs::write(path.join(name), text.replacen(from, to, 1)).unwrap();
    };

    fails(&folder, &with_run("none.json"), &["error: none.json: No such file"]);
    fails(&folder, &with_run("."), &["error: .: not a regular file"]);
    write_run(path, "syntax.json", "\"spec\" :", "\"spec\"");
    fails(
        &folder,
        &with_run("syntax.json"),
        &["error: syntax.json: line 7, column 10: not JSON: expected `:`"],
    );
    write_run(path, "twice.json", "\"runNumber\" : 1", "\"runNumber\" : 1, \"runNumber\" : 2");
    fails(
        &folder,
        &with_run("twice.json"),
        &["twice.json: line 8, column", "the key `runNumber` appears twice"],
    );
    write_run(path, "behavior.json", "APPLY", "apply");
    fails(
        &folder,
        &with_run("behavior.json"),
        &["behavior.json: /spec/behavior: expected one of `APPLY`"],
    );
    write_run(path, "owner.json", "my-workspace", "My_Workspace");
    fails(
        &folder,
        &with_run("owner.json"),
        &[
            "owner.json: /spec/buildingBlock/spec/workspaceIdentifier: expected a workspace identifier",
            "found `My_Workspace`",
        ],
    );
    fs::write(path.join("large.json"), " ".repeat(3 + (16 << 20))).unwrap();
    let says = "large.json: 16777219 bytes, at most 16777216 are allowed";
    fails(&folder, &with_run("large.json"), &[says]);
    // Inputs do not count.
    let mut run: serde_json::Value = serde_json::from_str(support::RUN).unwrap();
    run["spec"]["buildingBlock"]["spec"]["inputs"].take();
    let run = run.to_string();
    let null = "null".len();
    let padded = format!("{run}{}", " ".repeat((1 << 20) + 7 + null - run.len()));
    fs::write(path.join("padded.json"), padded).unwrap();
    let says = "padded.json: the text has 1048583 bytes, at most 1048576 are allowed";
    fails(&folder, &with_run("padded.json"), &[says]);

    fails(&folder, &with_manifest("none.toml"), &["error: none.toml: No such file"]);
    fs::write(path.join("empty.toml"), "").unwrap();
    fails(
        &folder,
        &with_manifest("empty.toml"),
        &["empty.toml: no `[[binding]]`: nothing could ever be approved"],
    );
    manifest("key.toml", "mode = ", "moed = ");
    let text = fs::read_to_string(path.join("key.toml")).unwrap();
    let line = text.lines().position(|line| line.starts_with("moed")).unwrap() + 1;
    fails(
        &folder,
        &with_manifest("key.toml"),
        &["key.toml: ", "unknown field `moed`", &format!("line {line}, column 1")],
    );
    manifest("settings.toml", "also-max-ttl = 1800", "also-max-ttl = \"1800\"");
    fails(
        &folder,
        &with_manifest("settings.toml"),
        &[
            "settings.toml: binding `consumers-of-my-workspace`: the settings do not fit the policy `same-workspace`:\n  /also-max-ttl: expected",
        ],
    );
    manifest("absent.toml", "same-workspace.wasm", "absent.wasm");
    fails(
        &folder,
        &with_manifest("absent.toml"),
        &["absent.toml: binding `consumers-of-my-workspace`: absent.wasm: No such file"],
    );
    fs::write(path.join("text.wasm"), "not a component").unwrap();
    manifest("text.toml", "same-workspace.wasm", "text.wasm");
    fails(
        &folder,
        &with_manifest("text.toml"),
        &["text.toml: binding `consumers-of-my-workspace`: text.wasm: not a WebAssembly component"],
    );
    manifest("folder.toml", "same-workspace.wasm", ".");
    fails(
        &folder,
        &with_manifest("folder.toml"),
        &["binding `consumers-of-my-workspace`: .: not a regular file"],
    );
    manifest("nobody.toml", "meshstack-id = \"demo\"", "meshstack-id = \"Demo\"");
    fails(&folder, &with_manifest("nobody.toml"), &["expected a meshStack id"]);

    fails(
        &folder,
        &ASK.replace("--ttl 900", "--ttl 0"),
        &["requested a TTL of 0 seconds, expected 1 to 86400"],
    );
    fails(&folder, &ASK.replace("1790000000", "1790000000000"), &["not milliseconds"]);
    fails(
        &folder,
        &format!("{ASK} --audience aws-workload-identity-provider:demo"),
        &["is requested twice"],
    );
    fails(&folder, &format!("{ASK} --subject-profile by-runner"), &["give it with --runner"]);
}

#[cfg(unix)]
#[test]
fn a_component_is_a_regular_file_and_no_link_to_one() {
    let folder = folder();
    let path = folder.path();
    let with = |name: &str| {
        let text = MANIFEST.replace("../target/policies/same-workspace.wasm", name);
        fs::write(path.join("other.toml"), text.replace("../target/policies/", "")).unwrap();
        countersign(path, &format!("evaluate {}", ASK.replace("countersign.toml", "other.toml")))
    };
    std::os::unix::fs::symlink("same-workspace.wasm", path.join("link.wasm")).unwrap();
    let ran = with("link.wasm");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("link.wasm: a symbolic link; name the file"), "{}", ran.stderr);
    assert!(Command::new("mkfifo").arg(path.join("pipe.wasm")).status().unwrap().success());
    for file in ["pipe.wasm", "/dev/zero", "."] {
        let ran = with(file);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
        assert!(ran.stderr.contains("not a regular file"), "{}", ran.stderr);
    }
    let ran = countersign(path, "inspect link.wasm");
    assert!(ran.stderr.contains("a symbolic link"), "{}", ran.stderr);
}

#[test]
fn a_key_or_an_issuer_that_is_none() {
    let folder = folder();
    let path = folder.path();
    let sign = |key: &str, more: &str| countersign(path, &format!("sign {ASK} --key {key} {more}"));
    let ran = sign("none.pem", "");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("error: none.pem: No such file"), "{}", ran.stderr);
    let ran = sign("run.json", "");
    assert!(ran.stderr.contains("error: run.json: not a PEM file"), "{}", ran.stderr);
    countersign(path, "keys generate --algorithm es256 --out key.pem");
    let ran = sign("key.pem", "--issuer http://oidc.example.com");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("does not begin with `https://`"), "{}", ran.stderr);
    let manifest = fs::read_to_string(path.join("countersign.toml")).unwrap();
    let http = manifest.replace("https://oidc", "http://oidc");
    fs::write(path.join("countersign.toml"), http).unwrap();
    let ran = sign("key.pem", "");
    assert!(
        ran.stderr.contains("error: countersign.toml: issuer.url: the issuer URL does not begin")
    );
    fs::write(path.join("countersign.toml"), manifest.replace("url =", "# url =")).unwrap();
    let ran = sign("key.pem", "");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("the token needs an issuer"), "{}", ran.stderr);
}
