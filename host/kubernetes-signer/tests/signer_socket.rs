//! The socket: its owner, its mode, and everybody who may not listen or connect.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use countersign_kubernetes_signer::{Socket, SocketConfig, SocketError};
use support::api_server::ApiServer;
use support::{Running, folder};

fn config(path: &Path) -> SocketConfig {
    let uid = fs::metadata(path.parent().unwrap()).unwrap().uid();
    SocketConfig { path: path.to_owned(), mode: 0o600, group: None, uids: vec![uid] }
}

fn refused(config: SocketConfig) -> String {
    match Socket::open(config) {
        Ok(_) => String::new(),
        Err(error @ SocketError::Listening { .. }) => format!("listening {error}"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn a_socket_has_its_mode_from_its_first_moment_and_goes_with_its_process() {
    let folder = folder();
    let path = folder.path().join("socket");
    let socket = Socket::open(config(&path)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(socket.path(), path);
    // A second listener, while the first one is there.
    assert!(refused(config(&path)).starts_with("listening"), "{}", refused(config(&path)));
    drop(socket);
    assert!(!path.exists());
    let socket = Socket::open(SocketConfig { mode: 0o660, ..config(&path) }).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    drop(socket);
    // Nothing else is left behind but the lock.
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|of| of.unwrap().file_name()).collect();
    assert_eq!(left, ["socket.lock"]);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let folder = folder();
    let path = folder.path().join("socket");
    // As after a process that was killed.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(Socket::open(config(&path)).unwrap());
    // Another program, which knows no lock.
    let other = UnixListener::bind(&path).unwrap();
    assert!(refused(config(&path)).starts_with("listening"));
    drop(other);
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    assert!(refused(config(&path)).contains("no socket"), "{}", refused(config(&path)));
    fs::remove_file(&path).unwrap();
    symlink("elsewhere", &path).unwrap();
    assert!(refused(config(&path)).contains("no socket"));
    assert!(path.is_symlink(), "what is not ours stays");
}

#[tokio::test]
async fn a_folder_that_others_write_to_is_refused() {
    let folder = folder();
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let error = refused(config(&open.join("socket")));
    assert!(error.contains("can be written to by others"), "{error}");
    assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
    let error = refused(SocketConfig { path: folder.path().join("no/socket"), ..config(&open) });
    assert!(error.contains("looking at the folder"), "{error}");
    // Only root can give files away.
    let own = fs::metadata(folder.path()).unwrap().uid();
    if own == 0 {
        let theirs = folder.path().join("theirs");
        fs::create_dir(&theirs).unwrap();
        chown(&theirs, Some(12_345), None).unwrap();
        assert!(refused(config(&theirs.join("socket"))).contains("another user's"));
        let path = folder.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        chown(&path, Some(12_345), None).unwrap();
        let error = refused(SocketConfig { path: path.clone(), ..config(&open) });
        assert!(error.contains("a socket of another user"), "{error}");
        assert!(path.exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_is_not_listed_gets_no_answer() {
    let folder = folder();
    let running = Running::start(folder.path()).await;
    assert!(ApiServer::start(&running.socket).await.is_ok());
    let signer = running.signer.clone();
    running.stop().await;
    let path = folder.path().join("other.sock");
    let own = config(&path).uids.first().copied().unwrap();
    let socket = Socket::open(SocketConfig { uids: vec![own + 1], ..config(&path) }).unwrap();
    let serving = tokio::spawn(async move {
        countersign_kubernetes_signer::serve(signer, socket, std::future::pending()).await
    });
    assert!(ApiServer::start(&path).await.is_err());
    serving.abort();
}
