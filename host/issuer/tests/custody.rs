//! The plan of keys and their custody: what one names, the other has, or nothing signs.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_issuer::{
    CustodyError, KeyCustody, KeyFolder, KeyFolderError, KeyRing, KeyRingError, KeySealer,
    KeyTimes, Keys,
};
use countersign_signing::{Algorithm, SigningKey};
use support::{ISSUER, MemoryCustody, START, folder};

const DAY: u64 = 86_400;
const TIMES: KeyTimes =
    KeyTimes { verifier_cache: DAY, max_token_lifetime: 7200, rotate_every: Some(30 * DAY) };
const BOTH: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Es256];

fn load(ring: &KeyRing, now: u64) -> Result<Keys, KeyRingError> {
    ring.load(&ISSUER.parse().unwrap(), now)
}

/// A plan in one folder, and keys in a custody that is not a folder.
fn ring(folder: &std::path::Path) -> (KeyRing, MemoryCustody) {
    let custody = MemoryCustody::default();
    let ring = KeyRing::open(&folder.join("plan"), Arc::new(custody.clone())).unwrap();
    assert!(ring.keep_schedule(&BOTH, &TIMES, START, START).unwrap());
    (ring, custody)
}

#[test]
fn every_custody_goes_through_the_same_plan() {
    let folder = folder();
    let (in_memory, _) = ring(folder.path());
    let keys = KeyFolder::open(&folder.path().join("keys")).unwrap();
    let in_folder = KeyRing::in_folder(&keys);
    in_folder.keep_schedule(&BOTH, &TIMES, START, START).unwrap();
    let sealed = KeyFolder::open(&folder.path().join("sealed")).unwrap().encrypted(sealer(1));
    let encrypted = KeyRing::in_folder(&sealed);
    encrypted.keep_schedule(&BOTH, &TIMES, START, START).unwrap();
    for ring in [in_memory, in_folder, encrypted] {
        let first = ring.plan().unwrap().keys;
        assert_eq!(first.len(), 2);
        let loaded = load(&ring, START).unwrap();
        for algorithm in BOTH {
            let issuer = loaded.active(algorithm, START).unwrap();
            assert_eq!(issuer.signer().public().algorithm(), algorithm);
            assert!(issuer.signer().sign(b"x").is_ok());
        }
        // The next ones are published, sign, and have those before destroyed.
        let due = START + 29 * DAY;
        assert!(ring.keep_schedule(&BOTH, &TIMES, due, due).unwrap());
        assert_eq!(ring.plan().unwrap().keys.len(), 4);
        assert!(!ring.keep_schedule(&BOTH, &TIMES, due + 1, due + 1).unwrap());
        let error = ring.rotate(Algorithm::Rs256, &TIMES, false, due + 1).unwrap_err();
        assert!(matches!(error, KeyRingError::Rotate(_)), "{error}");
        assert!(ring.unplanned().unwrap().is_empty(), "no key is made for a rotation that is not");
        let after = due + DAY + TIMES.overlap();
        assert!(ring.keep_schedule(&BOTH, &TIMES, after, after).unwrap());
        let left = ring.plan().unwrap().keys;
        assert!(left.len() == 2 && left.iter().all(|key| !first.contains(key)), "{left:?}");
        assert!(ring.unplanned().unwrap().is_empty());
        load(&ring, after).unwrap();
    }
}

/// A key that encrypts, of bytes that differ.
fn sealer(first: u8) -> KeySealer {
    let bytes: Vec<u8> = (0..32).map(|byte| byte + first).collect();
    KeySealer::parse(BASE64_STANDARD.encode(bytes).as_bytes()).unwrap()
}

#[test]
fn an_encrypted_folder_is_read_by_its_key_alone() {
    let folder = folder();
    let plain = KeyFolder::open(folder.path()).unwrap();
    let ring = KeyRing::in_folder(&plain);
    ring.keep_schedule(&BOTH, &TIMES, START, START).unwrap();
    let own = plain.key_of_its_own("checkpoint").unwrap().public().kid().to_owned();
    let kids: Vec<_> = ring.plan().unwrap().keys.into_iter().map(|key| key.kid).collect();

    // The texts of a folder that was not encrypted are, once.
    let encrypted = KeyFolder::existing(folder.path()).unwrap().encrypted(sealer(1));
    assert_eq!(encrypted.encrypt_texts().unwrap(), 3);
    assert_eq!(encrypted.encrypt_texts().unwrap(), 0);
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(7).any(|part| part == b"PRIVATE"), "{}", path.display());
    }
    load(&KeyRing::in_folder(&encrypted), START).unwrap();
    assert_eq!(encrypted.key_of_its_own("checkpoint").unwrap().public().kid(), own);
    encrypted.check_place().unwrap();

    // By another key, or as texts, nothing is read, and nothing is made in the place of what is there.
    let other = KeyFolder::existing(folder.path()).unwrap().encrypted(sealer(2));
    for kid in &kids {
        let error = other.signer(kid).err().unwrap();
        assert!(matches!(error, CustodyError::Folder(KeyFolderError::Sealed { .. })), "{error}");
        let error = plain.signer(kid).err().unwrap();
        assert!(matches!(error, CustodyError::Folder(KeyFolderError::Encrypted { .. })), "{error}");
    }
    assert!(other.key_of_its_own("checkpoint").is_err());
    assert!(plain.key_of_its_own("checkpoint").is_err());

    // One in the place of another is not opened: each is encrypted for its name.
    let file = |kid: &str| folder.path().join(format!("{kid}.sealed"));
    let before = fs::read(file(&kids[0])).unwrap();
    fs::copy(file(&kids[1]), file(&kids[0])).unwrap();
    assert!(encrypted.signer(&kids[0]).is_err());
    assert!(encrypted.check_place().is_err());
    for cut in [0, 1, 12, before.len() - 1] {
        fs::write(file(&kids[0]), &before[..cut]).unwrap();
        assert!(encrypted.signer(&kids[0]).is_err(), "{cut}");
    }
    fs::write(file(&kids[0]), &before).unwrap();
    encrypted.signer(&kids[0]).unwrap();

    // A crash between the two files leaves both; another text in that place is somebody's doing.
    let (stray, text) = SigningKey::generate(Algorithm::Es256).unwrap();
    let path = folder.path().join(format!("{}.pem", stray.public().kid()));
    write_private(&path, text.expose());
    assert_eq!(encrypted.encrypt_texts().unwrap(), 1);
    write_private(&path, text.expose());
    assert_eq!(encrypted.encrypt_texts().unwrap(), 1);
    let path = folder.path().join(format!("{}.pem", kids[0]));
    write_private(&path, text.expose());
    let error = encrypted.encrypt_texts().unwrap_err();
    assert!(matches!(error, KeyFolderError::Twice { .. }), "{error}");
    assert!(path.exists());

    // A copy for a backup has them as they are.
    fs::remove_file(&path).unwrap();
    let copy = support::folder();
    encrypted.copy_to(copy.path(), None).unwrap();
    let copied = KeyFolder::existing(copy.path()).unwrap().encrypted(sealer(1));
    load(&KeyRing::in_folder(&copied), START).unwrap();
}

fn write_private(path: &std::path::Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn a_key_that_the_custody_does_not_have_is_an_error() {
    let folder = folder();
    let (ring, custody) = ring(folder.path());
    let kid = ring.plan().unwrap().keys[0].kid.clone();
    custody.destroy(&kid).unwrap();
    let error = load(&ring, START).err().unwrap();
    assert!(
        matches!(&error, KeyRingError::Custody(CustodyError::Missing { kid: of, .. }) if *of == kid),
        "{error}"
    );
    let keys = KeyFolder::open(&folder.path().join("keys")).unwrap();
    let ring = KeyRing::in_folder(&keys);
    ring.keep_schedule(&BOTH, &TIMES, START, START).unwrap();
    let kid = ring.plan().unwrap().keys[0].kid.clone();
    fs::remove_file(keys.path().join(format!("{kid}.pem"))).unwrap();
    let error = load(&ring, START).err().unwrap();
    assert!(matches!(error, KeyRingError::Custody(CustodyError::Missing { .. })), "{error}");
    // Nor does a plan that was tampered with reach a file that is no key of the folder.
    assert!(matches!(keys.signer("../keys/x").err(), Some(CustodyError::Missing { .. })));
    assert!(keys.destroy("../keys.json").is_err());
}

#[test]
fn another_key_under_the_name_of_one_is_an_error() {
    let folder = folder();
    let (ring, custody) = ring(folder.path());
    for (index, algorithm) in BOTH.into_iter().enumerate() {
        // Of the same kind, and of another.
        for other in BOTH {
            let kid = ring.plan().unwrap().keys[index].kid.clone();
            custody.put(&kid, SigningKey::generate(other).unwrap().0);
            let error = load(&ring, START).err().unwrap();
            assert!(matches!(error, KeyRingError::OtherKey { .. }), "{algorithm:?} {error}");
        }
    }
    // A plan with another algorithm than the key's.
    let folder = support::folder();
    let (ring, _) = self::ring(folder.path());
    let path = folder.path().join("plan/keys.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("RS256", "ES256")).unwrap();
    assert!(matches!(load(&ring, START).err(), Some(KeyRingError::OtherKey { .. })));
    // In a folder the name of the file is not enough either.
    let keys = KeyFolder::open(&folder.path().join("keys")).unwrap();
    let ring = KeyRing::in_folder(&keys);
    ring.keep_schedule(&BOTH, &TIMES, START, START).unwrap();
    let plan = ring.plan().unwrap().keys;
    let file = |kid: &str| keys.path().join(format!("{kid}.pem"));
    fs::copy(file(&plan[0].kid), file(&plan[1].kid)).unwrap();
    assert!(load(&ring, START).err().unwrap().to_string().contains("holds another key"));
}

#[test]
fn a_custody_that_fails_changes_no_plan() {
    let folder = folder();
    let (ring, custody) = ring(folder.path());
    let before = ring.plan().unwrap();
    custody.device().fails.store(true, Ordering::SeqCst);
    for at_once in [false, true] {
        let error = ring.rotate(Algorithm::Rs256, &TIMES, at_once, START + 1).unwrap_err();
        assert!(matches!(error, KeyRingError::Custody(CustodyError::Failed { .. })), "{error}");
    }
    assert!(ring.keep_schedule(&BOTH, &TIMES, START + 29 * DAY, START + 29 * DAY).is_err());
    assert!(load(&ring, START).is_err());
    assert_eq!(ring.plan().unwrap(), before);
    // It answers again, and so does the schedule.
    custody.device().fails.store(false, Ordering::SeqCst);
    assert!(ring.keep_schedule(&BOTH, &TIMES, START + 29 * DAY, START + 29 * DAY).unwrap());
    // Keys of others are named, and left alone.
    let (other, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let kid = other.public().kid().to_owned();
    custody.put(&kid, other);
    assert_eq!(ring.unplanned().unwrap(), std::slice::from_ref(&kid));
    ring.keep_schedule(&BOTH, &TIMES, START + 400 * DAY, START + 400 * DAY).unwrap();
    assert!(custody.list().unwrap().contains(&kid));
}
