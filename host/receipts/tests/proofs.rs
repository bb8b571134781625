//! Proofs: what this crate makes, an implementation that shares no code with it accepts, and refuses with each byte changed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_decision_log::{Entry, Folder, Log, ReadError, TreeHash, archive, prune};
use countersign_receipts::{
    MAX_PROOF_BYTES, Note, NoteError, Proof, ProofError, ProveError, Proved, Tiles, VerifierKey,
    VerifierKeyError, prove, write_tiles,
};
use signed_note::{StandardVerifier, VerifierList};
use support::{Key, append, record};
use tempfile::TempDir;
use tlog_tiles::{Checkpoint, Hash, check_record, record_hash};

const ORIGIN: &str = "log.example/decisions";

/// Verifies a proof with the other implementation: the parts of the text are the only thing that is read here.
fn independently(bytes: &[u8], vkey: &str) -> Result<(u64, Vec<u8>), String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let (head, note) = text.split_once("\n\n").ok_or("no note")?;
    let mut lines = head.split('\n');
    if lines.next() != Some("c2sp.org/tlog-proof@v1") {
        return Err("not a proof".to_owned());
    }
    let extra = lines.next().and_then(|line| line.strip_prefix("extra ")).ok_or("no extra")?;
    let entry = BASE64_STANDARD.decode(extra).map_err(|error| error.to_string())?;
    let index = lines.next().and_then(|line| line.strip_prefix("index ")).ok_or("no index")?;
    let number: u64 = index.parse().map_err(|_| "no number")?;
    if number.to_string() != index {
        return Err("not canonical".to_owned());
    }
    let hashes: Result<Vec<_>, _> = lines.map(Hash::parse_hash).collect();
    let hashes = hashes.map_err(|error| error.to_string())?;
    let note = signed_note::Note::from_bytes(note.as_bytes()).map_err(|error| error.to_string())?;
    let verifier = StandardVerifier::new(vkey).map_err(|error| error.to_string())?;
    let known = VerifierList::new(vec![Box::new(verifier)]);
    note.verify(&known).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::from_bytes(note.text()).map_err(|error| error.to_string())?;
    if checkpoint.origin() != ORIGIN {
        return Err("another log".to_owned());
    }
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    check_record(&hashes, size, root, number, record_hash(&entry))
        .map_err(|error| error.to_string())?;
    Ok((number, entry))
}

fn proved(folder: &TempDir, key: &Key, wanted: impl Fn(u64) -> bool) -> Vec<Proved> {
    prove(folder.path(), key, None, |entry| wanted(entry.sequence), |_| {}).unwrap()
}

#[test]
fn the_other_implementation_accepts_every_proof_of_every_size() {
    for size in [1, 2, 3, 7, 8, 255, 256, 257, 511, 700] {
        let (folder, key) = (TempDir::new().unwrap(), Key::new(ORIGIN));
        append(folder.path(), &key, size);
        // All of a small tree, and of a large one some in each tile and at its edges.
        let some = |sequence: u64| {
            size < 10 || sequence % 97 == 1 || sequence % 256 < 2 || sequence == size
        };
        let all = proved(&folder, &key, some);
        assert_eq!(all.len(), (1..=size).filter(|sequence| some(*sequence)).count());
        for Proved { sequence, record: bytes, proof } in all {
            assert_eq!(bytes, record(sequence));
            let text = proof.to_string();
            let vkey = key.ed25519().to_string();
            let (index, entry) = independently(text.as_bytes(), &vkey).unwrap();
            assert_eq!((index, entry.as_slice()), (sequence - 1, proof.entry.as_slice()));
            let parsed = Proof::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed, proof);
            // By each of the two keys alone, and by both.
            for keys in [vec![key.ed25519()], vec![key.ecdsa()], vec![key.ed25519(), key.ecdsa()]] {
                let found = parsed.verify(&keys).unwrap();
                assert_eq!((found.entry.sequence, found.checkpoint.size), (sequence, size));
                assert_eq!(found.signatures.len(), keys.len());
                assert!(found.entry.is_of(&bytes) && !found.entry.is_of(b"{}"));
            }
        }
    }
}

/// Only in a signature of a key that is not given can a byte be another one: it is ignored, as the format has it.
#[test]
fn every_changed_byte_is_refused_by_both() {
    let (folder, key) = (TempDir::new().unwrap(), Key::new(ORIGIN));
    append(folder.path(), &key, 60);
    let text = proved(&folder, &key, |sequence| sequence == 23).remove(0).proof.to_string();
    let vkey = key.ed25519().to_string();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let own = text.len() - lines.last().unwrap().len();
    let mut refused = 0;
    for place in 0..text.len() {
        for flip in [0x01, 0xa0] {
            let mut bytes = text.clone().into_bytes();
            bytes[place] ^= flip;
            let ours = Proof::parse(&bytes).map_err(|_| ());
            let ours = ours.and_then(|proof| proof.verify(&[key.ed25519()]).map_err(|_| ()));
            let theirs = independently(&bytes, &vkey);
            if place < own {
                assert!(ours.is_err(), "byte {place} ^ {flip:#x}");
                assert!(theirs.is_err(), "byte {place} ^ {flip:#x}");
                refused += 1;
            } else {
                // The other key's line: what is proved is the same, or it is no note at all.
                assert!(ours.is_err() || ours.unwrap().entry.sequence == 23);
                assert!(theirs.is_err() || theirs.unwrap().0 == 22);
            }
            // With the other key, the other line counts.
            let with_both = Proof::parse(&bytes).map_err(|_| ()).and_then(|proof| {
                proof
                    .verify(&[key.ed25519(), key.ecdsa()])
                    .map(|found| found.signatures.len())
                    .map_err(|_| ())
            });
            assert_ne!(with_both, Ok(2), "byte {place} ^ {flip:#x}");
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_proof_is_of_one_log_one_place_and_one_record() {
    let (folder, key) = (TempDir::new().unwrap(), Key::new(ORIGIN));
    append(folder.path(), &key, 20);
    let [one, other] = [3, 4].map(|number| proved(&folder, &key, |s| s == number).remove(0).proof);
    let keys = [key.ed25519()];
    // Another place, another entry, the hashes of another, one too many, one too few.
    let mut swapped = one.clone();
    swapped.index = other.index;
    assert!(matches!(swapped.verify(&keys), Err(ProofError::NotIncluded)));
    let mut swapped = one.clone();
    swapped.entry = other.entry;
    assert!(matches!(swapped.verify(&keys), Err(ProofError::NotIncluded)));
    let mut longer = one.clone();
    longer.hashes.push(TreeHash::empty());
    assert!(matches!(longer.verify(&keys), Err(ProofError::NotIncluded)));
    let mut shorter = one.clone();
    shorter.hashes.pop();
    assert!(matches!(shorter.verify(&keys), Err(ProofError::NotIncluded)));
    let mut beyond = one.clone();
    beyond.index = u64::MAX;
    assert!(matches!(beyond.verify(&keys), Err(ProofError::NotIncluded)));
    // A key of the same name, and one of another.
    let stranger = Key::new(ORIGIN);
    let error = one.verify(&[stranger.ed25519()]).unwrap_err();
    assert!(matches!(error, ProofError::Note(NoteError::Unsigned { .. })), "{error:?}");
    // A note of the log's key under another origin is another log's.
    let text = "other.example/log\n20\n".to_owned() + &TreeHash::empty().to_string() + "\n";
    let mut renamed = one.clone();
    renamed.note = format!("{text}\n{}\n", key.signer.sign(&text));
    assert!(matches!(renamed.verify(&keys), Err(ProofError::OtherLog { .. })));
    // A witness's key is no log's, whatever it has signed.
    let public =
        BASE64_STANDARD.decode(keys[0].to_string().splitn(3, '+').nth(2).unwrap()).unwrap();
    let witness = VerifierKey::cosignature(ORIGIN, public[1..].try_into().unwrap()).unwrap();
    assert!(matches!(one.verify(&[witness]), Err(ProofError::Note(NoteError::Unsigned { .. }))));
    // A note of something else.
    for text in
        ["no checkpoint\n", "log.example/decisions\n+1\nAAAA\n", "log.example/decisions\n01\n"]
    {
        let mut other = one.clone();
        other.note = format!("{text}\n{}\n", key.signer.sign(text));
        assert!(other.verify(&keys).is_err(), "{text:?}");
    }
}

#[test]
fn texts_that_are_no_proof_are_refused() {
    let (folder, key) = (TempDir::new().unwrap(), Key::new(ORIGIN));
    append(folder.path(), &key, 5);
    let text = proved(&folder, &key, |sequence| sequence == 2).remove(0).proof.to_string();
    let replaced = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let many = format!("index 1\n{}", format!("{}\n", TreeHash::empty()).repeat(65));
    for other in [
        String::new(),
        "\n\n".to_owned(),
        replaced("@v1", "@v2"),
        replaced("c2sp", "\u{feff}c2sp"),
        replaced("extra ", "extra  "),
        replaced("extra ", "index 1\nextra "),
        replaced("index 1\n", "index 01\n"),
        replaced("index 1\n", "index +1\n"),
        replaced("index 1\n", "index -1\n"),
        replaced("index 1\n", "index 18446744073709551616\n"),
        replaced("index 1\n", "index 1\n\n"),
        replaced("index 1\n", "index 1\nAAAA\n"),
        replaced("index 1\n", "index 1\r\n"),
        replaced("index 1\n", &many),
        replaced("\n\n", "\n"),
        text.replace('\n', "\r\n"),
        format!("{text}\n"),
        format!("{text}more"),
        text.trim_end().to_owned(),
        "a".repeat(MAX_PROOF_BYTES + 1),
    ] {
        let verified =
            Proof::parse(other.as_bytes()).and_then(|proof| proof.verify(&[key.ed25519()]));
        assert!(verified.is_err(), "{other:?}");
    }
    // 300 signatures of nobody.
    let many = format!("{text}{}", "— nobody.example AAAAAAA=\n".repeat(300));
    assert!(Proof::parse(many.as_bytes()).unwrap().verify(&[key.ed25519()]).is_err());
    // Sixteen are taken, as the format demands.
    let some = format!("{text}{}", "— nobody.example AAAAAAA=\n".repeat(14));
    assert!(Proof::parse(some.as_bytes()).unwrap().verify(&[key.ed25519()]).is_ok());
}

#[test]
fn notes_have_the_form_of_the_standard() {
    // The example of C2SP's signed-note.
    const EXAMPLE: &str = "This is an example message.\n\n— example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let key = VerifierKey::parse(VKEY).unwrap();
    assert_eq!(key.to_string(), VKEY);
    let note = Note::parse(EXAMPLE.as_bytes()).unwrap();
    let (text, verified) = note.verify(std::slice::from_ref(&key)).unwrap();
    assert_eq!((text, verified.len()), ("This is an example message.\n", 1));
    for (from, to) in [
        ("— ", "- "),
        (" Uw2Q", "  Uw2Q"),
        ("example.com/foo ", "example.com/f+o "),
        ("example.com/foo ", "\u{2003} "),
        ("message", "mess\tage"),
        ("message", "mess\0age"),
        ("aQM=\n", "aQM=\n\n"),
        ("aQM=\n", "aQM=\n— x\n"),
        ("aQM=\n", "aQM=\n— x AAAA\n"),
        ("aQM=\n", "aQM\n"),
    ] {
        assert!(EXAMPLE.contains(from));
        let other = EXAMPLE.replacen(from, to, 1);
        let note = Note::parse(other.as_bytes());
        assert!(note.is_err(), "{other:?}");
        assert!(signed_note::Note::from_bytes(other.as_bytes()).is_err() || to.contains("AAAA"));
    }
    // A forged signature of a known key refuses the note, though another key has signed it.
    let signer = countersign_receipts::NoteSigner::generate(|_| "other".to_owned()).unwrap();
    let forged = EXAMPLE.replace("message.\n\n", "message!\n\n");
    let forged = format!("{forged}{}\n", signer.sign("This is an example message!\n"));
    let note = Note::parse(forged.as_bytes()).unwrap();
    assert!(note.verify(&[signer.key().clone()]).is_ok());
    let error = note.verify(&[key, signer.key().clone()]).unwrap_err();
    assert!(matches!(error, NoteError::Forged { .. }), "{error:?}");
}

#[test]
fn keys_that_are_none_are_refused() {
    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    for (text, expected) in [
        ("", VerifierKeyError::Form),
        ("example.com/foo+530d903a", VerifierKeyError::Form),
        (&VKEY.replace("530d903a", "530d903b"), VerifierKeyError::Id),
        (&VKEY.replace("530d903a", "530D903A"), VerifierKeyError::Form),
        (&VKEY.replace("foo", "fop"), VerifierKeyError::Id),
        (&VKEY.replace("foo", "f o"), VerifierKeyError::Name),
        (&VKEY.replace("example.com/foo", ""), VerifierKeyError::Name),
        (&VKEY.replace("+Aeky", "+Buky"), VerifierKeyError::Type { found: 6 }),
        (&VKEY.replace("U2k", "U2l"), VerifierKeyError::Id),
        (&VKEY[..VKEY.len() - 4], VerifierKeyError::Key),
    ] {
        assert_eq!(VerifierKey::parse(text), Err(expected), "{text}");
    }
    let key = Key::new(ORIGIN);
    for key in [key.ed25519(), key.ecdsa()] {
        assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key));
    }
    let private = key.signer.to_private_text().unwrap();
    assert!(!format!("{:?}", key.signer).contains(private.splitn(5, '+').nth(4).unwrap()));
}

/// The tree goes on over restarts, and over the beginning of a log that was pruned.
#[test]
fn a_pruned_log_proves_what_it_has_and_its_archive_the_rest() {
    let (log, old) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let key = Key::new(ORIGIN);
    for records in [120, 1, 300, 333] {
        append(log.path(), &key, records);
    }
    let report = archive(log.path(), old.path()).unwrap();
    assert!(report.last > 400, "{report:?}");
    let before = proved(&log, &key, |_| true);
    prune(log.path(), 400, &key, 2).unwrap();
    let after = proved(&log, &key, |_| true);
    let first = after[0].sequence;
    assert!(first > 200 && first <= 400, "{first}");
    assert_eq!(after, before[usize::try_from(first - 1).unwrap()..]);
    // Of the archive's last checkpoint, which is an earlier one.
    let archived = proved(&old, &key, |sequence| sequence < first);
    assert_eq!(archived.len() as u64, first - 1);
    for one in &archived {
        one.proof.verify(&[key.ed25519()]).unwrap();
    }
    // The tree goes on after the log was pruned.
    append(log.path(), &key, 100);
    let later = proved(&log, &key, |_| true);
    assert_eq!(later.last().unwrap().sequence, 120 + 1 + 300 + 333 + 100);
    assert!(later.iter().all(|one| one.proof.verify(&[key.ed25519(), key.ecdsa()]).is_ok()));
}

/// Appends records that no other log of these tests has, and signs a checkpoint of the end.
fn append_other(folder: &Path, key: &Key, records: u64) {
    let disk = Folder::open(folder).unwrap();
    let (mut log, _) = Log::open(disk, support::CONFIG, Box::new(key.again())).unwrap();
    for number in 1..=records {
        log.append(&[record(1000 + number)], 1).unwrap();
    }
    log.checkpoint(1).unwrap();
}

#[test]
fn what_cannot_be_proved_says_why() {
    let (log, key) = (TempDir::new().unwrap(), Key::new(ORIGIN));
    append(log.path(), &key, 100);
    // Records after the last checkpoint.
    {
        let disk = Folder::open(log.path()).unwrap();
        let (mut log, _) = Log::open(disk, support::CONFIG, Box::new(key.again())).unwrap();
        log.append(&[record(101)], 1).unwrap();
    }
    let error = prove(log.path(), &key, None, |entry| entry.sequence == 101, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::Uncovered { sequence: 101, size: 100 }), "{error:?}");
    assert!(proved(&log, &key, |sequence| sequence == 102).is_empty());
    // All that is asked for is proved, or nothing: by the log, and by tiles.
    let of_both = |entry: &Entry| matches!(entry.sequence, 1 | 101);
    let error = prove(log.path(), &key, None, of_both, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::Uncovered { sequence: 101, size: 100 }), "{error:?}");
    let to = TempDir::new().unwrap();
    let note = write_tiles(log.path(), &key, to.path(), |_| {}).unwrap().note;
    Tiles::publish(to.path(), &note).unwrap();
    let mut tiles = Tiles::open(to.path()).unwrap().unwrap();
    let error = prove(log.path(), &key, Some(&mut tiles), of_both, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::Uncovered { sequence: 101, size: 100 }), "{error:?}");
    // Tiles of other records, whose checkpoint the same key has signed.
    let (other, of_other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    append_other(other.path(), &key, 100);
    let note = write_tiles(other.path(), &key, of_other.path(), |_| {}).unwrap().note;
    Tiles::publish(of_other.path(), &note).unwrap();
    let mut tiles = Tiles::open(of_other.path()).unwrap().unwrap();
    let one = |entry: &Entry| entry.sequence == 2;
    let error = prove(log.path(), &key, Some(&mut tiles), one, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::OtherTree { sequence: 2 }), "{error:?}");
    // Damage in the middle: nothing is proved past it, or before it.
    let name = log.path().join("00000000000000000001.log");
    let whole = fs::read(&name).unwrap();
    let mut damaged = whole.clone();
    damaged[2000] ^= 1;
    fs::write(&name, &damaged).unwrap();
    let error = prove(log.path(), &key, None, |entry| entry.sequence == 2, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::Log(ReadError::Damaged(_))), "{error:?}");
    // A log that was cut behind its checkpoint.
    fs::write(&name, &whole[..2000]).unwrap();
    let error = prove(log.path(), &key, None, |entry| entry.sequence == 2, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::Log(ReadError::Damaged(_))), "{error:?}");
    fs::write(&name, &whole).unwrap();
    // A checkpoint whose tree is another one: signed, but not of these records.
    let checkpoints = log.path().join("checkpoints.jsonl");
    let kept = fs::read_to_string(&checkpoints).unwrap();
    let forged = kept.replacen("\"root\":\"", "\"root\":\"A", 1);
    fs::write(&checkpoints, forged).unwrap();
    let error = prove(log.path(), &key, None, |entry| entry.sequence == 2, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::Log(ReadError::Damaged(_))), "{error:?}");
    fs::write(&checkpoints, kept).unwrap();
    // Without any note.
    fs::remove_file(&checkpoints).unwrap();
    let error = prove(log.path(), &key, None, |_| true, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::NoNote), "{error:?}");
    // More at once than are proved.
    let many = TempDir::new().unwrap();
    append(many.path(), &key, 1001);
    let error = prove(many.path(), &key, None, |_| true, |_| {}).unwrap_err();
    assert!(matches!(error, ProveError::TooMany), "{error:?}");
}
