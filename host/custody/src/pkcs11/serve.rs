//! The helper's side: the one process that loads the module.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::thread;

use rustix::process::{Resource, Rlimit, Signal, getpid, kill_process, setrlimit};
use zeroize::Zeroizing;

use super::protocol::{Answer, Failed, FailedKind, Request, read, write};
use super::token::Token;

/// Reads the file with the PIN, which nobody but its owner may be able to open.
pub type ReadPin = fn(&Path) -> Result<Zeroizing<String>, String>;

/// Serves the requests of a service over standard input, a socket, until its other end is closed. A program that was
/// started as the helper calls this and exits with its result.
///
/// It ends with its service, also while the module is in the middle of something.
#[must_use]
pub fn serve_pkcs11(read_pin: ReadPin) -> ExitCode {
    match serve(read_pin) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(read_pin: ReadPin) -> io::Result<()> {
    // The PIN is in no core file.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut reading = stream.try_clone()?;
    let (send, requests) = sync_channel::<Request>(1);
    thread::Builder::new().spawn(move || {
        // A message that is out of form ends it as well: nobody but the service writes here, and it does not.
        while let Ok(request) = read(&mut reading, None) {
            if send.send(request).is_err() {
                break;
            }
        }
        // Without the handlers of a module that is being used by another thread.
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    let mut token = None;
    for request in requests {
        let answer = match (request, token.as_mut()) {
            (Request::Open { module, token: name, pin_file, label }, None) => {
                let opened = read_pin(Path::new(&pin_file))
                    .map_err(|said| Failed { kind: FailedKind::Refused, said })
                    .and_then(|pin| Token::open(&module, &name, pin, label));
                opened.map(|opened| {
                    token = Some(opened);
                    Answer::Opened
                })
            }
            (request, Some(token)) => token.answer(request),
            (_, None) => {
                let said = "nothing is open".to_owned();
                Err(Failed { kind: FailedKind::Malformed, said })
            }
        };
        write(&mut stream, &answer.unwrap_or_else(Answer::Failed), None)?;
    }
    Ok(())
}
