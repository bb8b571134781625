//! The socket that an API server connects to.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixStream as Client;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The maximum of connections at a time. An API server has one.
const MAX_CONNECTIONS: usize = 64;

/// The time to wait after a connection could not be accepted, as where descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The place of a socket, and those who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketConfig {
    /// The path.
    pub path: PathBuf,
    /// The permissions: 0o600 or 0o660.
    pub mode: u32,
    /// The group, where it is another than this process's.
    pub group: Option<u32>,
    /// The users whose processes may connect.
    pub uids: Vec<u32>,
}

/// A socket that listens. Nobody else listens on its path until it is dropped, which removes it.
pub struct Socket {
    listener: UnixListener,
    config: SocketConfig,
    places: Arc<Semaphore>,
    /// Held, so that no other process takes the path.
    _lock: File,
}

/// A connection of a user that may connect.
pub(crate) struct Peer {
    pub(crate) stream: UnixStream,
    pub(crate) uid: u32,
    pub(crate) place: OwnedSemaphorePermit,
}

/// A socket that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SocketError {
    /// The folder, the lock or the socket could not be used.
    #[error("{}: {operation} failed", .path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// The operation.
        operation: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The folder is not one that only its owner can change.
    #[error("{}: {problem}; whoever can replace the socket gets the tokens that are to be signed", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The problem.
        problem: &'static str,
    },
    /// There is something else at the path.
    #[error("{}: {problem}; remove it, or give the socket another path", .path.display())]
    Occupied {
        /// The path.
        path: PathBuf,
        /// The problem.
        problem: &'static str,
    },
    /// Another process listens there.
    #[error("{}: another process listens here; stop it first", .path.display())]
    Listening {
        /// The path.
        path: PathBuf,
    },
}

impl Socket {
    /// Listens at a path. A socket that a process left behind is replaced; one that somebody listens on is not, and neither is
    /// anything else. Must be called within a runtime.
    ///
    /// # Errors
    /// When the folder can be written to by others, the path is taken, or the system refuses.
    pub fn open(config: SocketConfig) -> Result<Self, SocketError> {
        let path = config.path.clone();
        let failed = |operation| {
            let path = path.clone();
            move |source| SocketError::Io { path, operation, source }
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let private = folder_of_socket(&folder, &path)?;
        let own = private.owner;
        let lock = lock(&path)?;
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("looking at the socket")(error)),
            Ok(found) => {
                let problem = if !found.file_type().is_socket() {
                    Some("there is a file that is no socket")
                } else if found.uid() != own {
                    Some("there is a socket of another user")
                } else {
                    None
                };
                if let Some(problem) = problem {
                    return Err(SocketError::Occupied { path: path.clone(), problem });
                }
                // Whoever listens answers, also where it holds no lock of ours.
                match Client::connect(&path) {
                    Ok(_) => return Err(SocketError::Listening { path: path.clone() }),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                    Err(error) => return Err(failed("connecting to the socket there")(error)),
                }
            }
        }
        // In a folder of its own first: at its path it has its owner and mode from its first moment on.
        let bound = private.folder.join("socket");
        let listener = UnixListener::bind(&bound).map_err(failed("listening"))?;
        fs::set_permissions(&bound, Permissions::from_mode(config.mode))
            .map_err(failed("setting the mode"))?;
        if let Some(group) = config.group {
            std::os::unix::fs::chown(&bound, None, Some(group))
                .map_err(failed("setting the group"))?;
        }
        fs::rename(&bound, &path).map_err(failed("moving the socket to its path"))?;
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        Ok(Self { listener, config, places, _lock: lock })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    /// The next connection of a user that may connect; others are closed and logged.
    pub(crate) async fn accept(&self) -> Peer {
        loop {
            // It is never closed.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "failed to accept a connection of an API server");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            match stream.peer_cred() {
                Ok(peer) if self.config.uids.contains(&peer.uid()) => {
                    return Peer { stream, uid: peer.uid(), place };
                }
                Ok(peer) => {
                    let (uid, pid) = (peer.uid(), peer.pid());
                    tracing::warn!(
                        uid,
                        pid,
                        "closed a connection: the user is not in `socket-uids`"
                    );
                }
                Err(error) => tracing::error!(%error, "closed a connection: its user is unknown"),
            }
        }
    }
}

/// Nobody listens on it any more.
impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.config.path);
    }
}

/// A folder beside a socket's path that only this process can enter. Removed when dropped.
struct PrivateFolder {
    folder: PathBuf,
    /// The user that this process runs as.
    owner: u32,
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join("socket"));
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Checks the folder of a socket, and makes a private one in it.
fn folder_of_socket(folder: &Path, path: &Path) -> Result<PrivateFolder, SocketError> {
    let io = |operation| {
        let path = folder.to_owned();
        move |source| SocketError::Io { path, operation, source }
    };
    let found = fs::metadata(folder).map_err(io("looking at the folder of the socket"))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let private = folder.join(format!(".{name}.{}", std::process::id()));
    let made = DirBuilder::new().mode(0o700).create(&private);
    match made {
        // Left behind by a process of the same number.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let _ = fs::remove_file(private.join("socket"));
        }
        made => made.map_err(io("making a folder for the socket"))?,
    }
    let private_found = fs::symlink_metadata(&private).map_err(io("looking at the new folder"))?;
    let private = PrivateFolder { folder: private, owner: private_found.uid() };
    let problem = if !private_found.is_dir() || private_found.mode() & 0o077 != 0 {
        Some("the folder that was made here is not private")
    } else if found.uid() != private.owner && found.uid() != 0 {
        Some("the folder is another user's")
    } else if found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0 {
        Some("the folder can be written to by others")
    } else {
        None
    };
    match problem {
        Some(problem) => Err(SocketError::Folder { path: folder.to_owned(), problem }),
        None => Ok(private),
    }
}

/// Takes the lock beside a socket's path.
fn lock(path: &Path) -> Result<File, SocketError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock = PathBuf::from(name);
    let io = |operation| {
        let path = lock.clone();
        move |source| SocketError::Io { path, operation, source }
    };
    let file = File::options().write(true).create(true).truncate(false).open(&lock);
    let file = file.map_err(io("opening the lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(SocketError::Listening { path: path.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(io("locking")(error)),
    }
}
