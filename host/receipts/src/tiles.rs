//! The tree of a log as files that can be published (C2SP tlog-tiles), without the records.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use countersign_decision_log::{CheckpointKey, Peaks, ReadError, TreeHash, TreeReader};

use crate::note::{MAX_NOTE_BYTES, Note, NoteError};
use crate::subtree::{Subtrees, TreeError, full};
use crate::tree_checkpoint::TreeCheckpoint;
use crate::verifier_key::{VerifierKey, VerifierKeyError};

/// The file of the checkpoint.
const CHECKPOINT: &str = "checkpoint";
/// The hashes of a full tile.
const WIDTH: u64 = 256;
const HASH_BYTES: usize = 32;
/// The levels of tiles that a tree of any size has.
const LEVELS: u32 = 8;
/// The maximum number of tiles that are held.
const MAX_HELD: usize = 1024;

/// A folder with the tiles and the checkpoint of a log.
#[derive(Debug)]
pub struct Tiles {
    folder: PathBuf,
    note: String,
    checkpoint: TreeCheckpoint,
    held: HashMap<(u32, u64), Vec<TreeHash>>,
}

/// The outcome of [`write_tiles`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TilesReport {
    /// The origin of the log.
    pub origin: String,
    /// The number of records that the tiles had before.
    pub before: u64,
    /// The number of records that they have now.
    pub size: u64,
    /// The number of files that were written.
    pub files: u64,
    /// The signed checkpoint, which is not in the folder yet.
    pub note: String,
}

/// Tiles that cannot be written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TilesError {
    /// The log is damaged, or cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// A file could not be read or written.
    #[error("{}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The checkpoint in the folder is no note of the log.
    #[error("{}: not the checkpoint of this log", .file.display())]
    Note {
        /// The file.
        file: PathBuf,
        /// The reason.
        #[source]
        source: NoteError,
    },
    /// The key of the notes is of another form.
    #[error("the key of the log's notes cannot be used")]
    Key(#[from] VerifierKeyError),
    /// The checkpoint in the folder is of another log, or no checkpoint.
    #[error(
        "{}: the checkpoint of another log; the log of this folder is `{origin}`. A log that was restored or begun anew has \
         another origin, and needs a folder of its own",
        .file.display()
    )]
    OtherLog {
        /// The file.
        file: PathBuf,
        /// The log's origin.
        origin: String,
    },
    /// No checkpoint of the log has a note.
    #[error(
        "no checkpoint of this log has a signed note yet; a service signs one within a minute, and when it stops"
    )]
    NoNote,
    /// The folder has more than the log.
    #[error(
        "the folder has the tree of {there} records, the log's last checkpoint has {size}: the log was cut, or is an older copy"
    )]
    Behind {
        /// The number of records in the folder.
        there: u64,
        /// The number of records of the log's checkpoint.
        size: u64,
    },
    /// The log goes on from another tree than that of the folder.
    #[error("the tree in the folder is not that of the log's first {size} records")]
    OtherTree {
        /// The number of records in the folder.
        size: u64,
    },
    /// The log does not have the records that are missing in the folder.
    #[error(
        "the log begins with record {first}, the folder has the tree of {there} records: write the tiles of the archive first"
    )]
    Pruned {
        /// The first record of the log.
        first: u64,
        /// The number of records in the folder.
        there: u64,
    },
    /// A tile is missing or damaged.
    #[error("the tiles in the folder are not whole")]
    Damaged(#[from] TreeError),
    /// A file is there with other contents.
    #[error("{}: is there with other contents, and tiles are written once", .file.display())]
    Conflict {
        /// The file.
        file: PathBuf,
    },
}

/// The path of a tile below the folder's root. `width` is the number of its hashes: 256 in a full one.
pub fn tile_path(level: u32, index: u64, width: u64) -> String {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    let partial = if width < WIDTH { format!(".p/{width}") } else { String::new() };
    format!("tile/{level}/{}{partial}", groups.join("/"))
}

/// Writes the tiles of the tree up to the last note of the log in `folder` that the folder `to` does not have: each once,
/// and whole or not at all. What the folder has is continued from only if its own signed checkpoint has that root. `seen`
/// gets the sequence of each record that is read. The checkpoint itself is not written, but given back: after it was
/// cosigned, or at once, by [`Tiles::publish`].
///
/// # Errors
/// Returns an error if the log is damaged or cannot be read, the folder is of another log or is ahead of this one, or a
/// file cannot be written. Tiles that were written until then stay, and are continued from.
pub fn write_tiles(
    folder: &Path,
    key: &dyn CheckpointKey,
    to: &Path,
    mut seen: impl FnMut(u64),
) -> Result<TilesReport, TilesError> {
    let opened = TreeReader::open(folder, key, None)?;
    let (signed, note) = opened.noted().ok_or(TilesError::NoNote)?;
    let (note_key, text) = signed.note_text().ok_or(TilesError::NoNote)?;
    let own = TreeCheckpoint::parse(&text).ok_or(TilesError::NoNote)?;
    fs::create_dir_all(to).map_err(io_error(to))?;
    let (known, mut edges) = match Tiles::open(to)? {
        None => (Peaks::default(), vec![Vec::new(); LEVELS as usize]),
        Some(mut tiles) => {
            let (_, there) = tiles.verified(note_key)?;
            if there.size > own.size {
                return Err(TilesError::Behind { there: there.size, size: own.size });
            }
            if there.size == own.size && there.root != own.root {
                return Err(TilesError::OtherTree { size: own.size });
            }
            (tiles.peaks()?, tiles.edges()?)
        }
    };
    let (before, mut files) = (known.size(), 0);
    if before < own.size {
        let mut reader = TreeReader::open(folder, key, Some(known))?;
        let mut write = Ok(());
        loop {
            let size = reader.tree().map_or(before, Peaks::size);
            if size >= own.size {
                break;
            }
            let leaf = reader.read(|node| {
                // Those that were there before the first record are in tiles, or must be.
                let first = node.index << node.level;
                if node.level % LEVELS != 0 || write.is_err() || first + (1 << node.level) <= before
                {
                    return;
                }
                let level = node.level / LEVELS;
                let Some(edge) = edges.get_mut(level as usize) else { return };
                edge.push(node.hash);
                if edge.len() as u64 == WIDTH {
                    write = write_tile(to, level, node.index / WIDTH, edge, &mut files);
                    edge.clear();
                }
            });
            let leaf = match leaf {
                Err(ReadError::Damaged(countersign_decision_log::Damage::Beginning { first })) => {
                    return Err(TilesError::Pruned { first, there: before });
                }
                read => read?,
            };
            let Some(leaf) = leaf else { return Err(TilesError::OtherTree { size: before }) };
            // Without tiles before it, a log that was pruned begins in the middle of the tree.
            if before == 0 && size == 0 && leaf.record.sequence > 1 {
                return Err(TilesError::Pruned { first: leaf.record.sequence, there: 0 });
            }
            std::mem::replace(&mut write, Ok(()))?;
            seen(leaf.record.sequence);
        }
        let root = reader.tree().map(Peaks::root);
        if root != Some(own.root) {
            return Err(TilesError::OtherTree { size: before });
        }
        for (level, edge) in (0..).zip(&edges) {
            if !edge.is_empty() {
                let index = (own.size >> (LEVELS * level)) / WIDTH;
                write_tile(to, level, index, edge, &mut files)?;
            }
        }
    }
    Ok(TilesReport { origin: own.origin, before, size: own.size, files, note: note.to_owned() })
}

impl Tiles {
    /// Opens the folder; `None` if it has no checkpoint, and so nothing that could be continued from.
    ///
    /// # Errors
    /// Returns an error if the checkpoint cannot be read, or is none.
    pub fn open(folder: &Path) -> Result<Option<Self>, TilesError> {
        let path = folder.join(CHECKPOINT);
        let Some(bytes) = read_bounded(&path, MAX_NOTE_BYTES)? else { return Ok(None) };
        let note = Note::parse(&bytes);
        let note = note.map_err(|source| TilesError::Note { file: path.clone(), source })?;
        let checkpoint = TreeCheckpoint::parse(note.unverified_text()).ok_or_else(|| {
            let source = NoteError::Form { problem: "the text is not that of a checkpoint" };
            TilesError::Note { file: path, source }
        })?;
        let note = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Some(Self { folder: folder.to_owned(), note, checkpoint, held: HashMap::new() }))
    }

    /// The checkpoint, if the log's key has signed it. `note_key` is its vkey.
    ///
    /// # Errors
    /// Returns an error if it is of another log, or its signature is not the key's.
    pub fn verified(&self, note_key: &str) -> Result<(String, TreeCheckpoint), TilesError> {
        let (key, file) = (VerifierKey::parse(note_key)?, self.folder.join(CHECKPOINT));
        if key.name() != self.checkpoint.origin {
            let origin = key.name().to_owned();
            return Err(TilesError::OtherLog { file, origin });
        }
        let note = Note::parse(self.note.as_bytes());
        let verified = note.and_then(|note| note.verify(&[key]).map(drop));
        verified.map_err(|source| TilesError::Note { file, source })?;
        Ok((self.note.clone(), self.checkpoint.clone()))
    }

    /// The number of records.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// Makes a checkpoint the folder's, in one step. Its tiles must be there.
    ///
    /// # Errors
    /// Returns an error if it cannot be written.
    pub fn publish(folder: &Path, note: &str) -> Result<(), TilesError> {
        let path = folder.join(CHECKPOINT);
        replace(&path, note.as_bytes()).map_err(io_error(&path))
    }

    /// The tiles of a tree that has no checkpoint here yet: those that [`write_tiles`] has just written.
    pub fn of_report(folder: &Path, report: &TilesReport) -> Option<Self> {
        let note = Note::parse(report.note.as_bytes()).ok()?;
        let checkpoint = TreeCheckpoint::parse(note.unverified_text())?;
        let (folder, note) = (folder.to_owned(), report.note.clone());
        Some(Self { folder, note, checkpoint, held: HashMap::new() })
    }

    /// The peaks of the tree, which must be those of the checkpoint's root.
    fn peaks(&mut self) -> Result<Peaks, TilesError> {
        let size = self.checkpoint.size;
        let levels = (0..u64::BITS).rev().filter(|level| size >> level & 1 == 1);
        let hashes: Result<Vec<_>, _> =
            levels.map(|level| full(self, level, (size >> level) - 1)).collect();
        Peaks::new(size, hashes?)
            .filter(|peaks| peaks.root() == self.checkpoint.root)
            .ok_or(TilesError::OtherTree { size })
    }

    /// The hashes of the tile at the right edge of each level, as many as are not in a full tile.
    fn edges(&mut self) -> Result<Vec<Vec<TreeHash>>, TilesError> {
        let mut edges = Vec::new();
        for level in 0..LEVELS {
            let hashes = self.checkpoint.size >> (LEVELS * level);
            let first = hashes - hashes % WIDTH;
            let edge = (first..hashes).map(|index| full(self, LEVELS * level, index));
            edges.push(edge.collect::<Result<_, _>>()?);
        }
        Ok(edges)
    }

    /// The hashes of a tile, as many as the tree has; `None` if there is no such file, or it has another length.
    fn tile(&mut self, level: u32, index: u64) -> Result<Option<&[TreeHash]>, TreeError> {
        if !self.held.contains_key(&(level, index)) {
            let hashes = self.checkpoint.size >> (LEVELS * level);
            let width = hashes.saturating_sub(index * WIDTH).min(WIDTH);
            // A partial tile may be gone once the full one is there.
            let paths = [tile_path(level, index, width), tile_path(level, index, WIDTH)];
            let mut tile = None;
            for path in paths {
                let path = self.folder.join(path);
                let read = read_bounded(&path, WIDTH as usize * HASH_BYTES);
                let bytes = read.map_err(|error| match error {
                    TilesError::Io { file, source } => {
                        TreeError::Io { file: file.display().to_string(), source }
                    }
                    _ => TreeError::Missing { leaf: index },
                })?;
                let wanted = width as usize * HASH_BYTES;
                if let Some(bytes) = bytes.filter(|bytes| bytes.len() >= wanted) {
                    let hashes = bytes.chunks_exact(HASH_BYTES).take(width as usize);
                    tile = Some(
                        hashes.filter_map(|hash| hash.try_into().ok().map(TreeHash)).collect(),
                    );
                    break;
                }
            }
            let Some(tile) = tile else { return Ok(None) };
            if self.held.len() >= MAX_HELD {
                self.held.clear();
            }
            self.held.insert((level, index), tile);
        }
        Ok(self.held.get(&(level, index)).map(Vec::as_slice))
    }
}

impl Subtrees for Tiles {
    fn node(&mut self, level: u32, index: u64) -> Result<Option<TreeHash>, TreeError> {
        let (tile_level, height) = (level / LEVELS, level % LEVELS);
        let (first, count) = (index << height, 1 << height);
        if first + count > self.checkpoint.size >> (LEVELS * tile_level) {
            return Ok(None);
        }
        let Some(tile) = self.tile(tile_level, first / WIDTH)? else { return Ok(None) };
        // Below 256.
        let start = (first % WIDTH) as usize;
        let Some(hashes) = tile.get(start..start + count as usize) else { return Ok(None) };
        let mut peaks = Peaks::default();
        hashes.iter().for_each(|hash| peaks.push(*hash, |_| {}));
        Ok(Some(peaks.root()))
    }
}

/// Writes a tile, unless it is there.
fn write_tile(
    to: &Path,
    level: u32,
    index: u64,
    hashes: &[TreeHash],
    files: &mut u64,
) -> Result<(), TilesError> {
    let width = hashes.len() as u64;
    let path = to.join(tile_path(level, index, width));
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    match read_bounded(&path, WIDTH as usize * HASH_BYTES)? {
        Some(there) if there == bytes => return Ok(()),
        Some(_) => return Err(TilesError::Conflict { file: path }),
        None => {}
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io_error(folder))?;
    }
    replace(&path, &bytes).map_err(io_error(&path))?;
    *files += 1;
    Ok(())
}

/// Puts a file in its place, whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // An earlier attempt may have left one.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Reads a file of at most `max` bytes; `None` if it is not there. A longer one is read as one byte more.
fn read_bounded(path: &Path, max: usize) -> Result<Option<Vec<u8>>, TilesError> {
    let file = match File::open(path) {
        Ok(file) => file,
        // A file where a folder is expected has nothing below it.
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(io_error(path)(error)),
    };
    let mut bytes = Vec::new();
    let read = file.take(max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(io_error(path))?;
    Ok(Some(bytes))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> TilesError {
    move |source| TilesError::Io { file: path.to_owned(), source }
}
