//! The structure of the evaluator's files: they form no circle.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/file_graph.rs"]
mod file_graph;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::file_graph::FileGraph;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

#[test]
fn files_form_no_circle_but_parent_and_child() {
    let graph = FileGraph::read(&Path::new(SOURCE).join("lib.rs"));
    let mut read: BTreeSet<PathBuf> = BTreeSet::new();
    rust_files(Path::new(SOURCE), &mut read);
    let known: BTreeSet<PathBuf> = graph.edges.keys().cloned().collect();
    assert_eq!(known, read, "every file is a module that the graph knows");
    let circles = graph.circles();
    let text: Vec<String> = circles
        .iter()
        .map(|circle| {
            let within = circle.iter().map(|file| {
                let named = graph.edges[file].iter().filter(|named| circle.contains(*named));
                let named: Vec<_> = named.map(|named| named.display().to_string()).collect();
                format!("  {} names {}", file.display(), named.join(", "))
            });
            within.collect::<Vec<_>>().join("\n")
        })
        .collect();
    assert!(circles.is_empty(), "files form a circle:\n{}", text.join("\nand another one:\n"));
}

/// Edges that are known to be there, so that a graph that lost its arrows does not pass.
#[test]
fn the_graph_has_the_arrows_that_code_has() {
    let graph = FileGraph::read(&Path::new(SOURCE).join("lib.rs"));
    for (from, to) in [
        ("policy_set/binding.rs", "prepare/pipeline.rs"),
        ("prepare/pipeline.rs", "sandbox/guest.rs"),
        ("sandbox/guest.rs", "contract.rs"),
        // By a re-export of the parent.
        ("sandbox/guest.rs", "limits/usage.rs"),
        ("sandbox/failure.rs", "contract/lifted.rs"),
    ] {
        assert!(graph.edges[Path::new(from)].contains(Path::new(to)), "{from} names {to}");
    }
}

/// Circles are found however one of the arrows is written.
#[test]
fn a_circle_is_found() {
    let crates = [
        ("by `use`", "pub mod a;\npub mod b;", "use crate::b::B;\npub struct A(B);"),
        ("by a path", "pub mod a;\npub mod b;", "pub struct A(crate::b::B);"),
        ("by `super`", "pub mod a;\npub mod b;", "pub struct A(super::b::B);"),
        ("by a module", "pub mod a;\npub mod b;", "use crate::b;\npub struct A(b::B);"),
        (
            "by a re-export",
            "pub mod a;\npub mod b;\npub use b::B;",
            "use crate::B;\npub struct A(B);",
        ),
        (
            "by another name",
            "pub mod a;\npub mod b;\npub use b::B as C;",
            "pub struct A(crate::C);",
        ),
        ("by a glob", "pub mod a;\npub mod b;\npub use b::*;", "use crate::B;\npub struct A(B);"),
        ("in a macro", "pub mod a;\npub mod b;", "pub fn a() { assert!(crate::b::is()); }"),
    ];
    for (how, root, a) in crates {
        let graph =
            read(&[("lib.rs", root), ("a.rs", a), ("b.rs", "use crate::a::A;\npub struct B;")]);
        let circle = BTreeSet::from(["a.rs", "b.rs"].map(PathBuf::from));
        assert_eq!(graph.circles(), [circle], "{how}");
    }
    let harmless = read(&[
        ("lib.rs", "pub mod a;\npub mod b;"),
        (
            "a.rs",
            "mod c;\npub use self::c::C;\npub struct A;\n#[cfg(test)]\nmod tests { use crate::b::B; }",
        ),
        ("a/c.rs", "use super::A;\npub struct C(A);"),
        ("b.rs", "use crate::a::{A, C};\nuse std::a::b;\npub struct B;"),
    ]);
    assert_eq!(harmless.circles(), Vec::<BTreeSet<PathBuf>>::new());
}

/// The graph of a crate of these files.
fn read(files: &[(&str, &str)]) -> FileGraph {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("structure");
    let _ = fs::remove_dir_all(&folder);
    for (file, text) in files {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    FileGraph::read(&folder.join("lib.rs"))
}

fn rust_files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            // Modules of tests may use all of the crate, as those within a file do.
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            found.insert(path.strip_prefix(SOURCE).unwrap().to_owned());
        }
    }
}
