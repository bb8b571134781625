//! Files in: regular, bounded, and named in every error.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use countersign::{MAX_RUN_BYTES, MAX_SETTINGS_BYTES, Run, SubjectFormats};

use crate::manifest::{BindingEntry, MAX_MANIFEST_BYTES, Manifest, SettingsSource};
use crate::manifest_files::ManifestFiles;
use crate::subject_migration::MAX_MOVES_BYTES;

/// A link that was put in a file's place is not followed.
#[cfg(unix)]
const NO_LINK: i32 = libc::O_NOFOLLOW;
#[cfg(not(unix))]
const NO_LINK: i32 = 0;

/// A manifest and the bytes of all files that it names.
pub struct Loaded {
    pub manifest: Manifest,
    pub files: ManifestFiles,
}

impl Loaded {
    /// The settings of a binding, as JSON text.
    pub fn settings_of<'l>(&'l self, entry: &'l BindingEntry) -> Result<&'l str> {
        match &entry.settings {
            SettingsSource::Inline(settings) => Ok(settings.as_json()),
            SettingsSource::File(path) => {
                let bytes = self.files.get(path).context("a settings file was not read")?;
                Ok(std::str::from_utf8(bytes)?)
            }
        }
    }

    /// How subjects are made, where the manifest has an issuer.
    pub fn subjects(&self) -> Result<Option<SubjectFormats>> {
        let subjects =
            self.manifest.issuer.as_ref().map(|issuer| issuer.subjects_with(&self.files));
        subjects.transpose().context("issuer.subject-moves")
    }
}

/// Reads a file of at most `limit` bytes. Symbolic links are followed.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_opened(path, limit, 0)
}

/// Reads a component of at most `limit` bytes: a regular file and no link to one, so that what a
/// manifest names is what is there.
pub fn read_component(path: &Path, limit: u64) -> Result<Vec<u8>> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        bail!("{}: a symbolic link; name the file that it points to", path.display());
    }
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > limit {
        bail!(
            "{}: {bytes} bytes, at most {limit} are allowed; a binding can raise `limits.component-bytes`, or say \
             `limits = {{ profile = \"interpreter\" }}` where the policy has an engine or an interpreter in it",
            path.display()
        );
    }
    // A link that was put there since is not followed either.
    read_opened(path, limit, NO_LINK)
}

/// Makes a folder that only its owner can look into, where there is none.
pub fn private_folder(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).with_context(|| path.display().to_string())
}

/// Reads the file of moves.
pub fn read_moves(path: &Path) -> Result<Vec<u8>> {
    read(path, MAX_MOVES_BYTES as u64).map_err(|error| {
        let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if io == Some(io::ErrorKind::NotFound) {
            return error.context(
                "`countersign subjects begin --create` makes it; a lost one must be restored",
            );
        }
        error
    })
}

/// Reads a small text, such as a token: without the white space around it.
pub fn read_text(path: &Path, limit: u64) -> Result<String> {
    let bytes = zeroize::Zeroizing::new(read(path, limit)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| anyhow::anyhow!("not UTF-8"));
    Ok(text.with_context(|| path.display().to_string())?.trim().to_owned())
}

/// Puts a file with these bytes in the place of a file, or where there is none: whoever reads it has the old one
/// or the new one. On Unix only its owner can read it, if it is `private`.
pub fn replace(path: &Path, bytes: &[u8], private: bool) -> Result<()> {
    let name = || path.display().to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".countersign-");
    #[cfg(unix)]
    if !private {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = private;
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new("."))).with_context(name)?;
    file.write_all(bytes).with_context(name)?;
    file.as_file().sync_all().with_context(name)?;
    file.persist(path).map_err(|error| error.error).with_context(name)?;
    Ok(())
}

fn read_opened(path: &Path, limit: u64, flags: i32) -> Result<Vec<u8>> {
    let name = || path.display().to_string();
    let mut options = OpenOptions::new();
    options.read(true);
    // Opening a pipe would wait for someone to write. What was opened is what is asked and read.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | flags);
    #[cfg(not(unix))]
    let _ = flags;
    let file = options.open(path).with_context(name)?;
    if !file.metadata().with_context(name)?.is_file() {
        bail!("{}: not a regular file", name());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).with_context(name)?;
    if bytes.len() as u64 > limit {
        bail!("{}: larger than {limit} bytes", name());
    }
    Ok(bytes)
}

/// Reads and parses a run object; `-` is stdin.
pub fn read_run(path: &Path) -> Result<Run> {
    let (name, bytes) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin()
            .take(MAX_RUN_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .context("standard input")?;
        ("standard input".to_owned(), bytes)
    } else {
        (path.display().to_string(), read(path, MAX_RUN_BYTES as u64)?)
    };
    Run::parse(&bytes).context(name)
}

/// Reads and parses a manifest, and none of the files that it names.
pub fn read_manifest_alone(path: &Path) -> Result<Manifest> {
    let name = || path.display().to_string();
    let bytes = read(path, MAX_MANIFEST_BYTES as u64)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| {
            anyhow::anyhow!("not UTF-8 from byte {} on", error.utf8_error().valid_up_to())
        })
        .with_context(name)?;
    Manifest::parse(&text).with_context(name)
}

/// Reads a manifest and every file that it names, whose paths are relative to it.
pub fn read_manifest(path: &Path) -> Result<Loaded> {
    let name = || path.display().to_string();
    let manifest = read_manifest_alone(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = ManifestFiles::new();
    if let Some(file) = manifest.issuer.as_ref().and_then(|issuer| issuer.subject_moves.as_ref()) {
        let place = || format!("{}: issuer.subject-moves", name());
        let bytes = read_moves(&folder.join(file)).with_context(place)?;
        files.insert(file.clone(), bytes);
    }
    for binding in &manifest.bindings {
        let place = || format!("{}: binding `{}`", name(), binding.name);
        let policy = &binding.policy;
        if !files.contains_key(policy) {
            let limit = binding.limits.component_bytes;
            let bytes = read_component(&folder.join(policy), limit).with_context(place)?;
            files.insert(policy.clone(), bytes);
        }
        if let SettingsSource::File(file) = &binding.settings
            && !files.contains_key(file)
        {
            let bytes = read(&folder.join(file), MAX_SETTINGS_BYTES as u64).with_context(place)?;
            files.insert(file.clone(), bytes);
        }
    }
    Ok(Loaded { manifest, files })
}
