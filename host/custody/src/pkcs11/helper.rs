//! One helper process, as the service has it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use countersign_issuer::CustodyFailure;

use super::Pkcs11Config;
use super::protocol::{Answer, Failed, Request, read, write};
use crate::device::DeviceError;

/// The maximum time in which a helper loads the module and logs in.
const OPEN_TIME: Duration = Duration::from_secs(10);

/// The program that calls [`serve_pkcs11`](crate::serve_pkcs11).
#[derive(Debug, Clone)]
pub struct HelperProgram {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// A helper process that is logged in. It is killed when this is dropped.
pub(super) struct Helper {
    child: Child,
    stream: UnixStream,
}

impl HelperProgram {
    /// A program that calls [`serve_pkcs11`](crate::serve_pkcs11) when started with `arguments`.
    pub fn new<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments }
    }

    /// This program. On Linux that is the file that is running, also if it has been replaced since.
    ///
    /// # Errors
    /// When the path of this program cannot be determined.
    pub fn this<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> io::Result<Self> {
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Self::new(program, arguments))
    }

    /// Starts it with a socket as its standard input, which carries both ways, and no other file of ours: what a module
    /// prints goes nowhere.
    fn spawn(&self, environment: &BTreeMap<String, String>) -> io::Result<Helper> {
        let (stream, theirs) = UnixStream::pair()?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            // The environment of a service may have secrets.
            .env_clear()
            .envs(environment)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Helper { child, stream })
    }
}

impl Helper {
    /// Starts a helper, which loads the module and logs in.
    pub(super) fn open(config: &Pkcs11Config) -> Result<Self, Failed> {
        use super::protocol::FailedKind::Unreachable;
        let failed = |said: String| Failed { kind: Unreachable, said };
        let mut helper = config
            .helper
            .spawn(&config.environment)
            .map_err(|error| failed(format!("the helper process: {error}")))?;
        let text = |path: &PathBuf| path.to_str().map(str::to_owned);
        let paths = text(&config.module).zip(text(&config.pin_file));
        let (module, pin_file) =
            paths.ok_or_else(|| failed("a path that is not UTF-8".to_owned()))?;
        let (token, label) = (config.token.clone(), config.label.clone());
        let request = Request::Open { module, token, pin_file, label };
        match helper.ask(&request, Instant::now() + OPEN_TIME) {
            Ok(Answer::Opened) => Ok(helper),
            Ok(Answer::Failed(reason)) => Err(reason),
            Ok(_) => Err(failed("the helper answered something else".to_owned())),
            Err(error) => Err(failed(error.said)),
        }
    }

    /// Asks one thing, and waits for its answer. After an error the helper is of no use: an answer may come late.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Answer, DeviceError> {
        let asked = write(&mut self.stream, request, Some(deadline))
            .and_then(|()| read(&mut self.stream, Some(deadline)));
        asked.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                DeviceError::new(CustodyFailure::Slow, "the token did not answer in time")
            }
            io::ErrorKind::InvalidData => DeviceError::malformed(error.to_string()),
            _ => {
                let status = self.child.try_wait().ok().flatten();
                let status = status.map_or_else(String::new, |status| format!(" ({status})"));
                DeviceError::unreachable(format!("the helper process is gone{status}"))
            }
        })
    }

    /// True if the process has not ended.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // Both do nothing for a process that was already reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
