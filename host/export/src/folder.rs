//! An export to a folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::destination::{Destination, DestinationError, Put};

/// Counts the files of this process, so that no two have one name while they are written.
static CREATED: AtomicUsize = AtomicUsize::new(0);

/// A folder, which is created if missing. On Unix only its owner can read what is written.
#[derive(Debug)]
pub struct FolderDestination {
    root: PathBuf,
}

impl FolderDestination {
    /// The folder at `root`.
    ///
    /// # Errors
    /// Returns an error if it cannot be created.
    pub fn open(root: &Path) -> Result<Self, DestinationError> {
        create_folder(root).map_err(error_at(root))?;
        Ok(Self { root: root.to_owned() })
    }
}

impl Destination for FolderDestination {
    fn list(&mut self, prefix: &str) -> Result<Vec<String>, DestinationError> {
        let folder = self.root.join(prefix);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(error_at(&folder))?,
        };
        let names = entries.map(|entry| {
            let name = entry.map_err(error_at(&folder))?.file_name();
            Ok(name.to_str().map(|name| format!("{prefix}{name}")))
        });
        names.filter_map(Result::transpose).collect()
    }

    fn read(&mut self, name: &str, max: usize) -> Result<Vec<u8>, DestinationError> {
        let path = self.root.join(name);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(error_at(&path))?;
        file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(error_at(&path))?;
        if bytes.len() > max {
            let problem = format!("longer than {max} bytes");
            return Err(DestinationError::new(path.display().to_string(), problem));
        }
        Ok(bytes)
    }

    fn exists(&mut self, name: &str) -> Result<bool, DestinationError> {
        let path = self.root.join(name);
        path.try_exists().map_err(error_at(&path))
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<Put, DestinationError> {
        let path = self.root.join(name);
        let create = || {
            let folder = path.parent().unwrap_or(&self.root);
            create_folder(folder)?;
            // Hidden, so that no reader of the folder takes it for a file of the export.
            let mut file = OpenOptions::new();
            file.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(path.file_name().unwrap_or_default());
            let number = CREATED.fetch_add(1, Ordering::Relaxed);
            hidden.push(format!(".{}.{number}.new", std::process::id()));
            let new = path.with_file_name(hidden);
            // One that an earlier process of this id left.
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = file.open(&new)?;
            let written = file.write_all(bytes).and_then(|()| file.sync_all());
            // A link, since a rename would replace what another exporter wrote meanwhile.
            let linked = written.and_then(|()| fs::hard_link(&new, &path));
            fs::remove_file(&new)?;
            match linked {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
                linked => {
                    linked?;
                    #[cfg(unix)]
                    File::open(folder)?.sync_all()?;
                    Ok(Put::Created)
                }
            }
        };
        create().map_err(error_at(&path))
    }

    fn name(&self) -> String {
        self.root.display().to_string()
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn error_at(path: &Path) -> impl Fn(io::Error) -> DestinationError {
    let object = path.display().to_string();
    move |error| DestinationError::new(object.clone(), error)
}
