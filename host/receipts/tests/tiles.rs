//! Tiles and witnesses: the files are those of an implementation that shares no code, and nobody cosigns a log that was cut.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_decision_log::{TreeHash, archive, prune};
use countersign_receipts::{
    Note, Tiles, TilesError, TilesReport, TreeCheckpoint, VerifierKey, WitnessAnswer, WitnessError,
    WitnessPolicy, WitnessPolicyError, consistency_proof, prove, tile_path, verify_consistency,
    write_tiles,
};
use support::{Key, append};
use tempfile::TempDir;
use tlog_tiles::{
    Error, Hash, Tile, TileHashReader, TileReader, check_tree, prove_record, prove_tree,
};

const ORIGIN: &str = "log.example/decisions";

/// The files below a folder.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                into.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// Reads tiles of a folder for the other implementation.
struct Folder<'f>(&'f Path);

impl TileReader for Folder<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read = |tile: &Tile| {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            fs::read(self.0.join(&path))
                .map_err(|error| Error::InvalidInput(format!("{path}: {error}")))
        };
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

fn write(log: &TempDir, key: &Key, to: &TempDir) -> Result<TilesReport, TilesError> {
    let report = write_tiles(log.path(), key, to.path(), |_| {})?;
    Tiles::publish(to.path(), &report.note)?;
    Ok(report)
}

#[test]
fn the_other_implementation_reads_the_tiles_of_every_size_and_their_proofs() {
    let (log, to, key) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Key::new(ORIGIN));
    let (mut size, mut before, mut roots) = (0, 0, Vec::new());
    for records in [1, 6, 248, 1, 1, 255, 300] {
        append(log.path(), &key, records);
        size += records;
        let report = write(&log, &key, &to).unwrap();
        assert_eq!((report.before, report.size), (before, size));
        let found = files(to.path());
        for tile in Tile::new_tiles(8, before, size) {
            let path = tile.path().replacen("tile/8/", "tile/", 1);
            assert_eq!(found[&path].len(), tile.width() as usize * 32, "{path}");
            let own = tile_path(tile.level().into(), tile.level_index(), tile.width().into());
            assert_eq!(own, path);
        }
        assert_eq!(report.files, Tile::new_tiles(8, before, size).len() as u64);
        let note = Note::parse(&found["checkpoint"]).unwrap();
        let (text, _) = note.verify(&[key.ed25519(), key.ecdsa()]).unwrap();
        let checkpoint = TreeCheckpoint::parse(text).unwrap();
        assert_eq!(checkpoint.size, size);
        let (root, folder) = (Hash(checkpoint.root.0), Folder(to.path()));
        let reader = TileHashReader::new(size, root, &folder);
        for index in [0, size / 2, size - 1] {
            let theirs = prove_record(size, index, &reader).unwrap();
            let mut tiles = Tiles::open(to.path()).unwrap().unwrap();
            let wanted = |entry: &countersign_decision_log::Entry| entry.sequence == index + 1;
            let of_tiles = prove(log.path(), &key, Some(&mut tiles), wanted, |_| {}).unwrap();
            let of_log = prove(log.path(), &key, None, wanted, |_| {}).unwrap();
            assert_eq!(of_tiles[0].proof.hashes, of_log[0].proof.hashes);
            let hashes: Vec<_> = of_log[0].proof.hashes.iter().map(|hash| Hash(hash.0)).collect();
            assert_eq!(hashes, theirs);
            of_tiles[0].proof.verify(&[key.ed25519()]).unwrap();
        }
        let mut tiles = Tiles::open(to.path()).unwrap().unwrap();
        for (from, from_root) in &roots {
            let proof = consistency_proof(&mut tiles, *from, size).unwrap();
            assert!(verify_consistency(*from, *from_root, size, checkpoint.root, &proof));
            let theirs: Vec<_> = proof.iter().map(|hash| Hash(hash.0)).collect();
            assert_eq!(prove_tree(size, *from, &reader).unwrap(), theirs);
            check_tree(&theirs, size, root, *from, Hash(from_root.0)).unwrap();
            // Another root, one hash more or less.
            assert!(!verify_consistency(*from, TreeHash::empty(), size, checkpoint.root, &proof));
            let longer: Vec<_> = proof.iter().copied().chain([TreeHash::empty()]).collect();
            assert!(!verify_consistency(*from, *from_root, size, checkpoint.root, &longer));
            assert!(!verify_consistency(*from, *from_root, size, checkpoint.root, &proof[1..]));
        }
        roots.push((size, checkpoint.root));
        before = size;
        // Once more changes nothing.
        let report = write(&log, &key, &to).unwrap();
        assert_eq!((report.before, report.files), (size, 0));
        assert_eq!(files(to.path()), found);
    }
    // In one go: the same tiles, but for the partial ones of the sizes between.
    let at_once = TempDir::new().unwrap();
    write(&log, &key, &at_once).unwrap();
    let (all, once) = (files(to.path()), files(at_once.path()));
    assert!(once.iter().all(|(name, bytes)| name == "checkpoint" || all[name] == *bytes));
    assert!(all.keys().all(|name| once.contains_key(name) || name.contains(".p/")));
}

#[test]
fn paths_are_those_of_the_standard() {
    assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(tile_path(2, 0, 17), "tile/2/000.p/17");
    assert_eq!(tile_path(0, 273, 112), "tile/0/273.p/112");
    assert_eq!(tile_path(7, 1000, 256), "tile/7/x001/000");
}

#[test]
fn tiles_are_continued_only_from_the_own_log_and_forwards() {
    let (log, to, key) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Key::new(ORIGIN));
    append(log.path(), &key, 300);
    let copy = TempDir::new().unwrap();
    for (name, bytes) in files(log.path()) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    append(log.path(), &key, 300);
    write(&log, &key, &to).unwrap();
    let published = files(to.path());
    // An older copy of the log, and one that went another way since.
    let refused = write(&copy, &key, &to).unwrap_err();
    assert!(matches!(refused, TilesError::Behind { there: 600, size: 300 }), "{refused}");
    append(copy.path(), &key, 150);
    append(copy.path(), &key, 150);
    let disk = countersign_decision_log::Folder::open(copy.path()).unwrap();
    let (mut forked, _) =
        countersign_decision_log::Log::open(disk, support::CONFIG, Box::new(key.again())).unwrap();
    forked.append(&[b"another".to_vec()], 1).unwrap();
    forked.checkpoint(1).unwrap();
    drop(forked);
    append(log.path(), &key, 5);
    write(&log, &key, &to).unwrap();
    append(copy.path(), &key, 4);
    let refused = write(&copy, &key, &to).unwrap_err();
    assert!(matches!(refused, TilesError::OtherTree { size: 605 }), "{refused}");
    append(copy.path(), &key, 40);
    let refused = write(&copy, &key, &to).unwrap_err();
    let named = refused.to_string();
    assert!(named.contains("Merkle tree of the records up to"), "{named}");
    // Another log.
    let (other, stranger) = (TempDir::new().unwrap(), Key::new("other.example/log"));
    append(other.path(), &stranger, 700);
    let refused = write(&other, &stranger, &to).unwrap_err();
    assert!(matches!(refused, TilesError::OtherLog { .. }), "{refused}");
    let of_one_name = Key::new(ORIGIN);
    let again = TempDir::new().unwrap();
    append(again.path(), &of_one_name, 700);
    let refused = write(&again, &of_one_name, &to).unwrap_err();
    assert!(matches!(refused, TilesError::Note { .. }), "{refused}");
    // Each file that was there before is as it was.
    let now = files(to.path());
    for (name, bytes) in published.iter().filter(|(name, _)| name.starts_with("tile/")) {
        assert_eq!(now[name], *bytes, "{name}");
    }
    // A tile that was changed, cut or taken away.
    append(log.path(), &key, 5);
    for change in [Some(b"x".to_vec()), Some(vec![7; 8192]), Some(vec![7; 9000]), None] {
        let path = to.path().join("tile/0/000");
        let whole = fs::read(&path).unwrap();
        match change {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        // Level 1 has the tile's root, so only what needs the tile fails.
        let mut tiles = Tiles::open(to.path()).unwrap().unwrap();
        let wanted = |entry: &countersign_decision_log::Entry| entry.sequence == 9;
        assert!(prove(log.path(), &key, Some(&mut tiles), wanted, |_| {}).is_err());
        fs::write(&path, whole).unwrap();
    }
    let edge = to.path().join("tile/0/002.p/93");
    let whole = fs::read(&edge).unwrap();
    fs::write(&edge, vec![7; whole.len()]).unwrap();
    let refused = write(&log, &key, &to).unwrap_err();
    assert!(matches!(refused, TilesError::OtherTree { .. }), "{refused}");
    fs::write(&edge, whole).unwrap();
    // A file with other contents is not replaced.
    let wrong = to.path().join("tile/0/002.p/98");
    fs::write(&wrong, "x").unwrap();
    let refused = write(&log, &key, &to).unwrap_err();
    assert!(matches!(refused, TilesError::Conflict { .. }), "{refused}");
    assert_eq!(fs::read(&wrong).unwrap(), b"x");
    fs::remove_file(&wrong).unwrap();
    write(&log, &key, &to).unwrap();
}

#[test]
fn tiles_of_a_pruned_log_begin_with_its_archive() {
    let (log, old) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (to, key) = (TempDir::new().unwrap(), Key::new(ORIGIN));
    append(log.path(), &key, 700);
    archive(log.path(), old.path()).unwrap();
    prune(log.path(), 500, &key, 1).unwrap();
    let refused = write(&log, &key, &to).unwrap_err();
    assert!(matches!(refused, TilesError::Pruned { there: 0, .. }), "{refused}");
    assert!(files(to.path()).is_empty());
    let archived = write(&old, &key, &to).unwrap();
    let report = write(&log, &key, &to).unwrap();
    assert_eq!((report.before, report.size), (archived.size, 700));
    // Behind what was pruned.
    let early = TempDir::new().unwrap();
    let first = TempDir::new().unwrap();
    append(first.path(), &key, 100);
    write(&first, &key, &early).unwrap();
    let refused = write(&log, &key, &early).unwrap_err();
    assert!(matches!(refused, TilesError::Pruned { there: 100, .. }), "{refused}");
}

/// A witness as C2SP's tlog-witness has it.
struct StandIn {
    pair: Ed25519KeyPair,
    name: &'static str,
    logs: Vec<VerifierKey>,
    state: RefCell<(u64, TreeHash)>,
}

impl StandIn {
    fn new(name: &'static str, key: &Key) -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let state = RefCell::new((0, TreeHash::empty()));
        Self { pair, name, logs: vec![key.ed25519()], state }
    }

    fn vkey(&self) -> String {
        let public = self.pair.public_key().as_ref().try_into().unwrap();
        VerifierKey::cosignature(self.name, public).unwrap().to_string()
    }

    fn line(&self, text: &str, time: u64) -> String {
        let signed = self.pair.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let key = VerifierKey::parse(&self.vkey()).unwrap();
        let blob: Vec<u8> = key
            .id()
            .into_iter()
            .chain(time.to_be_bytes())
            .chain(signed.as_ref().to_vec())
            .collect();
        format!("— {} {}\n", self.name, BASE64_STANDARD.encode(blob))
    }

    fn answer(&self, body: &str) -> WitnessAnswer {
        let plain = |status, body: String| WitnessAnswer {
            status,
            content_type: "text/plain".to_owned(),
            body: body.into_bytes(),
        };
        let (head, note) = body.split_once("\n\n").unwrap();
        let mut lines = head.split('\n');
        let old: u64 = lines.next().unwrap().strip_prefix("old ").unwrap().parse().unwrap();
        let proof: Vec<_> = lines.map(|line| TreeHash::parse(line).unwrap()).collect();
        let note = Note::parse(note.as_bytes()).unwrap();
        let checkpoint = TreeCheckpoint::parse(note.unverified_text()).unwrap();
        if self.logs.iter().all(|log| log.name() != checkpoint.origin) {
            return plain(404, String::new());
        }
        let Ok((text, _)) = note.verify(&self.logs) else { return plain(403, String::new()) };
        let mut state = self.state.borrow_mut();
        if old > checkpoint.size {
            return plain(400, String::new());
        }
        if old != state.0 {
            let content_type = "text/x.tlog.size".to_owned();
            return WitnessAnswer {
                status: 409,
                content_type,
                body: format!("{}\n", state.0).into(),
            };
        }
        if !verify_consistency(old, state.1, checkpoint.size, checkpoint.root, &proof) {
            return plain(422, String::new());
        }
        *state = (checkpoint.size, checkpoint.root);
        plain(200, self.line(text, 1_790_000_000))
    }
}

fn policy(text: &str) -> WitnessPolicy {
    WitnessPolicy::parse(text.as_bytes()).unwrap()
}

#[test]
fn witnesses_cosign_what_goes_on_from_what_they_saw_and_nothing_else() {
    let (log, to, key) = (TempDir::new().unwrap(), TempDir::new().unwrap(), Key::new(ORIGIN));
    let witnesses = [
        StandIn::new("w1.example", &key),
        StandIn::new("w2.example/x", &key),
        StandIn::new("w3", &key),
    ];
    let [one, two, three] = &witnesses;
    let text = format!(
        "# Two of three.\nlog {} https://log.example/\nwitness one {} http://one/\n\twitness two  {} http://two\n\
         witness three {} http://three\n\ngroup all 2 one two three\nquorum all\n",
        key.ed25519(),
        one.vkey(),
        two.vkey(),
        three.vkey()
    );
    let policy = policy(&text);
    let cosign = |log: &TempDir, to: &TempDir, ask: &mut countersign_receipts::Ask<'_>| {
        let report = write_tiles(log.path(), &key, to.path(), |_| {}).unwrap();
        let mut tiles = Tiles::of_report(to.path(), &report).unwrap();
        policy.cosign(&report.note, &mut tiles, report.before, ask).inspect(|note| {
            Tiles::publish(to.path(), note).unwrap();
        })
    };
    let ask = |url: &str, body: &str| match url {
        "http://one/add-checkpoint" => Ok(one.answer(body)),
        "http://two/add-checkpoint" => Ok(two.answer(body)),
        "http://three/add-checkpoint" => Err("connection refused".to_owned()),
        _ => panic!("{url}"),
    };
    append(log.path(), &key, 300);
    let note = cosign(&log, &to, &mut ask.clone()).unwrap();
    assert_eq!(policy.verify(&Note::parse(note.as_bytes()).unwrap()).unwrap().len(), 2);
    // The proof carries the cosignatures.
    let mut tiles = Tiles::open(to.path()).unwrap().unwrap();
    let proof = prove(log.path(), &key, Some(&mut tiles), |entry| entry.sequence == 7, |_| {});
    let proof = proof.unwrap().remove(0).proof;
    proof.verify(&policy.logs).unwrap();
    let verified = policy.verify(&Note::parse(proof.note.as_bytes()).unwrap()).unwrap();
    assert_eq!(verified, [(0, 1_790_000_000), (1, 1_790_000_000)]);
    // One of them has seen a later checkpoint than the folder has: it names its size.
    let copy = TempDir::new().unwrap();
    for (name, bytes) in files(log.path()) {
        fs::write(copy.path().join(name), bytes).unwrap();
    }
    let elsewhere = TempDir::new().unwrap();
    append(log.path(), &key, 77);
    cosign(&log, &elsewhere, &mut ask.clone()).unwrap();
    append(log.path(), &key, 1);
    cosign(&log, &to, &mut ask.clone()).unwrap();
    // A log that was cut, and one that went another way.
    let third = TempDir::new().unwrap();
    let error = cosign(&copy, &third, &mut ask.clone()).unwrap_err().to_string();
    assert!(error.contains("0 of 3") && error.contains("the log was cut"), "{error}");
    let disk = countersign_decision_log::Folder::open(copy.path()).unwrap();
    let (mut forked, _) =
        countersign_decision_log::Log::open(disk, support::CONFIG, Box::new(key.again())).unwrap();
    forked.append(&vec![b"another".to_vec(); 100], 1).unwrap();
    forked.checkpoint(1).unwrap();
    drop(forked);
    let error = cosign(&copy, &third, &mut ask.clone()).unwrap_err().to_string();
    assert!(error.contains("422") && error.contains("connection refused"), "{error}");
    assert!(Tiles::open(third.path()).unwrap().is_none(), "it was not published");
    // Answers that are no cosignature: of another key, of another text, forged, endless, or of no status that is known.
    append(log.path(), &key, 1);
    let text = |body: &str| {
        body.split_once("\n\n").unwrap().1.rsplit_once("\n\n").unwrap().0.to_owned() + "\n"
    };
    for (status, content_type, answer) in [
        (200, "", Box::new(|body: &str| two.line(&text(body), 1)) as Box<dyn Fn(&str) -> String>),
        (200, "", Box::new(|_: &str| one.line("log.example/decisions\n1\n", 1))),
        (200, "", Box::new(|body: &str| one.line(&text(body), 0))),
        (200, "", Box::new(|body: &str| one.line(&text(body), u64::MAX))),
        (200, "", Box::new(|_: &str| String::new())),
        (200, "", Box::new(|_: &str| "\u{1b}[31m\n".to_owned())),
        (200, "", Box::new(|_: &str| "— one AAAA".repeat(100_000))),
        (409, "text/plain", Box::new(|_: &str| "5\n".to_owned())),
        (409, "text/x.tlog.size", Box::new(|_: &str| "5".to_owned())),
        (409, "text/x.tlog.size", Box::new(|_: &str| "18446744073709551616\n".to_owned())),
        (409, "text/x.tlog.size", Box::new(|_: &str| "18446744073709551615\n".to_owned())),
        (409, "text/x.tlog.size", Box::new(|_: &str| "5\n".to_owned())),
        (302, "", Box::new(|_: &str| String::new())),
        (500, "", Box::new(|_: &str| String::new())),
    ] {
        let before = files(to.path())["checkpoint"].clone();
        let error = cosign(&log, &to, &mut |url, body| {
            if url == "http://one/add-checkpoint" {
                let (content_type, body) = (content_type.to_owned(), answer(body).into_bytes());
                return Ok(WitnessAnswer { status, content_type, body });
            }
            Err("away".to_owned())
        });
        let error = error.unwrap_err();
        assert!(matches!(error, WitnessError::NoQuorum { cosigned: 0, of: 3, .. }), "{error}");
        assert_eq!(files(to.path())["checkpoint"], before);
    }
    // A forged cosignature among good ones refuses the note, and one witness twice is one.
    let line = one.line("log.example/decisions\n1\n", 5);
    let forged = format!("{note}{line}");
    assert!(policy.verify(&Note::parse(forged.as_bytes()).unwrap()).is_err());
    let twice: String = note
        .lines()
        .filter(|line| !line.contains("w2.example"))
        .map(|line| format!("{line}\n"))
        .collect();
    let again = twice.lines().last().unwrap().to_owned();
    let error =
        policy.verify(&Note::parse(format!("{twice}{again}\n").as_bytes()).unwrap()).unwrap_err();
    assert!(matches!(error, WitnessError::NoQuorum { cosigned: 1, .. }), "{error}");
}

#[test]
fn a_policy_is_read_as_the_standard_has_it() {
    let key = Key::new(ORIGIN);
    let [x1, x2, y1] = ["x1", "x2", "y1"].map(|name| StandIn::new(name, &key).vkey());
    let log = key.ed25519();
    let both = format!("witness X1 {x1}\nwitness X2 {x2}\nwitness Y1 {y1}\n");
    let groups = format!("{both}group X any X1 X2\ngroup all all X Y1\nquorum all\n");
    let parsed = policy(&groups);
    assert_eq!(parsed.witnesses.len(), 3);
    assert!(policy("quorum none").verify(&note()).unwrap().is_empty());
    assert!(policy(&format!("{both}quorum Y1\n")).verify(&note()).is_err());
    for (text, expected) in [
        (String::new(), "no line `quorum"),
        (both.clone(), "no line `quorum"),
        ("quorum X1".to_owned(), "line 1: `X1` is not defined"),
        ("quorum none\nquorum none\n".to_owned(), "line 2: a second quorum"),
        (format!("{both}{both}quorum none"), "given twice"),
        (format!("witness none {x1}\nquorum none"), "`none` is taken"),
        (format!("witness X {log}\nquorum none"), "type 0x04"),
        (format!("log {x1}\nquorum none"), "cosignatures"),
        (format!("log {log}\nlog {log}\nquorum none"), "given twice"),
        (format!("{both}group G 3 X1 X2\nquorum G"), "from 1 to 2"),
        (format!("{both}group G 0 X1 X2\nquorum G"), "from 1 to 2"),
        (format!("{both}group G 01 X1 X2\nquorum G"), "from 1 to 2"),
        (format!("{both}group G any X1 X1\nquorum G"), "member twice"),
        (format!("{both}group G any X1\ngroup H any X1\nquorum G"), "member twice"),
        (format!("{both}group G any G\nquorum G"), "not defined"),
        (format!("{both}group G any none\nquorum G"), "not defined"),
        (format!("{both}group G any\nquorum none"), "expected `log"),
        ("quorum\nquorum none".to_owned(), "line 1: expected `log"),
        ("quorum none\r\n".to_owned(), "control character"),
        ("#\u{7f}\nquorum none".to_owned(), "control character"),
        ("#".repeat(70_000), "more than"),
    ] {
        let error = WitnessPolicy::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{text:?}: {error}");
    }
    let error = WitnessPolicy::parse(&[0xff]).unwrap_err();
    assert_eq!(error, WitnessPolicyError::Characters);
}

fn note() -> Note {
    Note::parse(b"log.example\n\n\xe2\x80\x94 log.example AAAAAAA=\n").unwrap()
}
