//! Everything that fuzzing has kept, once more.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use countersign_fuzz_targets::{TARGETS, fuzz};

#[test]
fn the_corpus_finds_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (target, _) in TARGETS {
        let files: Vec<_> = fs::read_dir(corpus.join(target)).unwrap().collect();
        assert!(!files.is_empty(), "{target}");
        for file in files {
            let path = file.unwrap().path();
            // The name of the last one shows when a target ends the process.
            println!("{}", path.display());
            fuzz(target, &fs::read(&path).unwrap());
        }
    }
}
