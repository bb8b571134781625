//! One log: its files, its index, and how far it is verified.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use countersign_decision_log::{
    ChainHash, Checkpoint, CheckpointKey, FramePlace, PlacedReader, Pruned, ReadError,
};

use crate::index::{Index, IndexError};
use crate::text::is_segment;

/// A log that is to be shown.
pub struct LogSource {
    /// Its name in paths.
    pub name: LogName,
    /// Its folder, or that of an archive.
    pub folder: PathBuf,
    /// The key that verifies its checkpoints.
    pub key: Arc<dyn CheckpointKey>,
    /// The file of its index, which is made where there is none.
    pub index: PathBuf,
}

/// The name of a log in paths: lower-case letters, digits and hyphens, 32 at most.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogName(String);

/// A text that is no name of a log.
#[derive(Debug, thiserror::Error)]
#[error("`{0}`: expected a name of lower-case letters, digits and hyphens, 32 at most")]
pub struct LogNameError(String);

/// One log that is shown.
pub(crate) struct ConsoleLog {
    pub(crate) name: LogName,
    pub(crate) folder: PathBuf,
    pub(crate) key: Arc<dyn CheckpointKey>,
    pub(crate) index: Index,
    state: RwLock<Arc<LogState>>,
    files: Mutex<PlacedReader>,
}

/// The extent to which a log is verified. Only that part is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogState {
    /// The first record; 0 while none is known.
    pub(crate) first: u64,
    /// The last record that is verified and in the index; 0 while there is none.
    pub(crate) last: u64,
    /// The hash of the last record.
    pub(crate) hash: Option<ChainHash>,
    /// The hash of the record before the first one.
    pub(crate) before: Option<ChainHash>,
    /// The last record that a signed checkpoint covers; 0 if there is none.
    pub(crate) covered: u64,
    /// The checkpoints that agree with the records.
    pub(crate) checkpoints: Arc<Vec<Checkpoint>>,
    /// The statement of the records that were removed on purpose.
    pub(crate) pruned: Option<Pruned>,
    /// While the log is read from its beginning: the number of its records, as far as it can be told.
    pub(crate) expected: Option<u64>,
    /// The damage that ends what is shown, in words.
    pub(crate) damage: Option<String>,
    /// The reason that the index does not go on, in words.
    pub(crate) problem: Option<String>,
}

/// A record that was read from the log and verified.
#[derive(Debug, Clone)]
pub(crate) struct ReadRecord {
    pub(crate) sequence: u64,
    pub(crate) place: FramePlace,
    pub(crate) hash: ChainHash,
    pub(crate) previous: ChainHash,
    /// Its bytes, or the reason that they are not what was verified, in words.
    pub(crate) record: Result<Vec<u8>, String>,
}

impl LogName {
    /// Parses a name.
    ///
    /// # Errors
    /// When it has other characters, or too many.
    pub fn parse(text: &str) -> Result<Self, LogNameError> {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=32).contains(&text.len()) && text.bytes().all(is_plain) && is_segment(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(LogNameError(countersign::visible(text)))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ConsoleLog {
    pub(crate) async fn open(source: LogSource) -> Result<Self, IndexError> {
        let index = Index::open(&source.index).await?;
        let files = Mutex::new(PlacedReader::new(&source.folder));
        let LogSource { name, folder, key, .. } = source;
        Ok(Self { name, folder, key, index, state: RwLock::default(), files })
    }

    /// The extent to which it is verified now.
    pub(crate) fn state(&self) -> Arc<LogState> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change_state(&self, change: impl FnOnce(&mut LogState)) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let mut changed = LogState::clone(&state);
        change(&mut changed);
        *state = Arc::new(changed);
    }

    /// Reads records, each verified against the hash of the one before it, as it was when the chain was. Those that are not
    /// in the index are left out.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn read(
        self: &Arc<Self>,
        state: &LogState,
        sequences: Vec<u64>,
    ) -> Result<Vec<ReadRecord>, IndexError> {
        let frames = self.index.frames(&sequences).await?;
        let (first, before) = (state.first, state.before);
        let log = Arc::clone(self);
        let read = move || {
            let mut files = log.files.lock().unwrap_or_else(PoisonError::into_inner);
            let mut records = Vec::with_capacity(sequences.len());
            for sequence in sequences {
                let previous = match frames.get(&sequence.wrapping_sub(1)) {
                    Some(frame) if sequence > first => Some(frame.hash),
                    _ => before,
                };
                let (Some(frame), Some(previous)) = (frames.get(&sequence), previous) else {
                    continue;
                };
                let mut read = files.read(sequence, frame.place, previous);
                if read.is_err() {
                    // The segment may have been compressed or replaced since it was opened.
                    files.refresh();
                    read = files.read(sequence, frame.place, previous);
                }
                let record = match read {
                    Ok(entry) if entry.hash == frame.hash => Ok(entry.record),
                    Ok(_) => Err("it is not the record that was verified".to_owned()),
                    Err(error) => Err(with_sources(&error)),
                };
                let (place, hash) = (frame.place, frame.hash);
                records.push(ReadRecord { sequence, place, hash, previous, record });
            }
            records
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| IndexError::Database(sqlx::Error::WorkerCrashed))
    }
}

impl LogState {
    /// The range of records that are shown.
    pub(crate) fn range(&self) -> (u64, u64) {
        (self.first, self.last)
    }

    /// The last checkpoint that covers what is shown.
    pub(crate) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoints.iter().rev().find(|checkpoint| checkpoint.sequence <= self.covered)
    }
}

/// An error with what led to it, safe to show.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    countersign::visible(&text)
}

/// The words of a log's damage.
pub(crate) fn damage_text(error: &ReadError) -> String {
    with_sources(error)
}
