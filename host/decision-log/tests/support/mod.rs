//! A fake key, and a disk that loses unsynced writes.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use countersign_decision_log::{CheckpointKey, Disk};

/// "Signs" by a checksum: these tests are not about signatures.
pub(crate) struct Key;

impl CheckpointKey for Key {
    fn kid(&self) -> &'static str {
        "test"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        let sum = message.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Some(format!("{sum:016x}"))
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.sign(message).as_deref() == Some(signature)
    }
}

/// An operation of a disk.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    Create(String),
    Append(String, Vec<u8>),
    /// Durable by itself.
    Replace(String, Vec<u8>),
    Remove(String),
    Sync(String),
    SyncNames,
    /// The sequence of a record that was acknowledged as durable.
    Acknowledged(u64),
}

pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A disk in memory that notes its operations, and can fail on demand.
#[derive(Clone, Default)]
pub(crate) struct FakeDisk(pub Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    pub(crate) files: Files,
    pub(crate) asked: Vec<Asked>,
    /// Fails that many calls from now; the failing operation is not noted and half done.
    pub(crate) fail_at: Option<usize>,
    /// A file that can be read that many times from now.
    pub(crate) readable: Option<(String, usize)>,
    /// Stops that many calls from now, as if the process was killed: no later operation has an effect.
    pub(crate) dies_at: Option<usize>,
}

impl FakeDisk {
    pub(crate) fn with(files: Files) -> Self {
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    pub(crate) fn files(&self) -> Files {
        self.0.lock().unwrap().files.clone()
    }

    fn ask(&self, asked: Asked) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        match &mut state.dies_at {
            Some(0) => return Err(io::Error::other("the process is gone")),
            Some(left) => *left -= 1,
            None => {}
        }
        let fails = match &mut state.fail_at {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if fails {
            state.fail_at = None;
            if let Asked::Append(name, bytes) = &asked {
                let half = &bytes[..bytes.len() / 2];
                state.files.get_mut(name).unwrap().extend_from_slice(half);
            }
            return Err(io::Error::other("the disk is on fire"));
        }
        apply(&mut state.files, &asked)?;
        state.asked.push(asked);
        Ok(())
    }
}

pub(crate) fn apply(files: &mut Files, asked: &Asked) -> io::Result<()> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    match asked {
        Asked::Create(name) => {
            if files.insert(name.clone(), Vec::new()).is_some() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
        }
        Asked::Append(name, bytes) => files.get_mut(name).ok_or_else(missing)?.extend(bytes),
        Asked::Replace(name, bytes) => {
            files.insert(name.clone(), bytes.clone());
        }
        Asked::Remove(name) => {
            files.remove(name).ok_or_else(missing)?;
        }
        Asked::Sync(_) | Asked::SyncNames | Asked::Acknowledged(_) => {}
    }
    Ok(())
}

impl Disk for FakeDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.0.lock().unwrap();
        match &mut state.readable {
            Some((file, 0)) if file == name => {
                return Err(io::Error::other("the disk is on fire"));
            }
            Some((file, left)) if file == name => *left -= 1,
            _ => {}
        }
        state.files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.ask(Asked::Create(name.to_owned()))
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ask(Asked::Append(name.to_owned(), bytes.to_vec()))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.ask(Asked::Sync(name.to_owned()))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.ask(Asked::SyncNames)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.ask(Asked::Replace(name.to_owned(), bytes.to_vec()))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.ask(Asked::Remove(name.to_owned()))
    }
}
