//! Copies full segments to another folder, compressed, where the chain can be read and verified as in the log.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::checkpoint;
use crate::disk::{self, private, write_private};
use crate::segment::{self, COMPRESSED, Segment, segments};

/// The outcome of [`archive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveReport {
    /// The segments that were copied, in order.
    pub copied: Vec<String>,
    /// The bytes that they have in the log.
    pub bytes: u64,
    /// The bytes that they have in the archive.
    pub compressed: u64,
    /// The last record in the archive; 0 if it has none.
    pub last: u64,
}

/// Copies every full segment of the log in `folder` that the archive in `to` does not have, in gzip's format
/// (RFC 1952), and the checkpoints. Each copy is read back and compared before it gets its name. The last segment, which
/// is being written, is never copied. Another process may be writing the log.
///
/// # Errors
/// Returns an error if a file cannot be read or written, or a copy is not what was written. Copies that were made until
/// then stay.
pub fn archive(folder: &Path, to: &Path) -> io::Result<ArchiveReport> {
    let mut report = ArchiveReport { copied: Vec::new(), bytes: 0, compressed: 0, last: 0 };
    let (in_log, in_archive) = (segments(disk::list(folder)?), segments(disk::list(to)?));
    let Some((open, full)) = in_log.split_last() else { return Ok(report) };
    for Segment { first, name } in full {
        if in_archive.iter().any(|segment| segment.first == *first) {
            continue;
        }
        let bytes = segment::read(folder, name)?;
        let copy = format!("{name}{COMPRESSED}");
        report.compressed += write_compressed(to, &copy, &bytes)?;
        report.bytes += bytes.len() as u64;
        report.copied.push(copy);
    }
    // After the segments: those copied are covered by them, and a checkpoint beyond is no contradiction to be found.
    let checkpoints =
        fs::read(folder.join(checkpoint::FILE)).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(error),
        })?;
    report.last = if full.is_empty() && in_archive.is_empty() { 0 } else { open.first - 1 };
    let covered = checkpoint::up_to(&checkpoints, report.last);
    write_private(to, checkpoint::FILE, &covered)?;
    Ok(report)
}

/// Writes a compressed file, and returns its length.
fn write_compressed(to: &Path, name: &str, bytes: &[u8]) -> io::Result<u64> {
    let path = to.join(format!("{name}.new"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = private().write(true).create_new(true).open(&path)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    encoder.write_all(bytes)?;
    let file: File = encoder.finish()?;
    file.sync_all()?;
    let length = file.metadata()?.len();
    if segment::decompressed(File::open(&path)?)? != bytes {
        return Err(io::Error::other(format!("{name} cannot be read back as it was written")));
    }
    fs::rename(&path, to.join(name))?;
    disk::sync_folder(to)?;
    Ok(length)
}
