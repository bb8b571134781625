//! The parent's side: starts a child, enforces its deadline, and reads its result.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{
    Compile, CompileError, CompiledCode, Form, Limits, LoadError, Optimization, visible,
};

use crate::compile_request::{COMPILED, CompileRequest, OUT_OF_MEMORY, REFUSED};

/// The maximum number of threads that a child compiles with. It also gets at most half of the processors, since the
/// others evaluate. Each thread's stack counts against the child's memory.
const MAX_THREADS: usize = 4;

/// The time to wait for the standard error of a child that has exited: another process may hold the pipe open.
const MAX_STDERR_WAIT: Duration = Duration::from_secs(1);

/// The maximum length of a child's standard error in a message, in bytes.
const MAX_STDERR_BYTES: u64 = 400;

/// Compiles each component in a new child process with limits.
///
/// Blocks the calling thread until the child exits or is killed.
#[derive(Debug, Clone)]
pub struct ChildProcess {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// The result of a child that exited.
struct Exited {
    status: ExitStatus,
    output: Vec<u8>,
    stderr_tail: String,
}

impl ChildProcess {
    /// Uses a program that calls [`serve`](crate::serve) when started with `arguments`. It must be built from the
    /// same version of this crate and be as trusted as this program: this process runs the machine code that it
    /// writes.
    pub fn of_program<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments }
    }

    /// Uses this program, which must call [`serve`](crate::serve) when started with `arguments`.
    ///
    /// On Linux this is the file that is running, even if it has been replaced since: an upgrade in place never starts
    /// a child of another version.
    ///
    /// # Errors
    /// Returns an error if the path of this program cannot be determined.
    pub fn of_this_program<A: Into<OsString>>(
        arguments: impl IntoIterator<Item = A>,
    ) -> io::Result<Self> {
        let program = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe()?
        };
        Ok(Self::of_program(program, arguments))
    }

    fn spawn(&self) -> io::Result<Child> {
        let processors = thread::available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).clamp(1, MAX_THREADS);
        Command::new(&self.program)
            .args(&self.arguments)
            // The parent's environment may contain secrets.
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Runs a child until it exits, or kills it at the deadline and returns `None`.
    ///
    /// Each pipe belongs to a thread that is never joined, so that the deadline holds even if another process keeps
    /// the other end of a pipe open.
    fn run(
        &self,
        request: &CompileRequest,
        parts: &[&[u8]],
        limits: &Limits,
    ) -> io::Result<Option<Exited>> {
        let deadline = Instant::now() + Duration::from_millis(limits.prepare_ms.into());
        let mut child = KillOnDrop(self.spawn()?);
        let taken = child.0.stdin.take().zip(child.0.stdout.take()).zip(child.0.stderr.take());
        let Some(((mut stdin, stdout), mut stderr)) = taken else {
            return Err(io::Error::other("no pipes"));
        };
        let mut input = serde_json::to_vec(request)?;
        input.push(b'\n');
        parts.iter().for_each(|part| input.extend_from_slice(part));
        // A failed write is not an error here: a child that stops reading reports why by its exit.
        thread("input", move || stdin.write_all(&input))?;
        let stderr_tail = thread("stderr", move || {
            let mut text = Vec::new();
            stderr.by_ref().take(MAX_STDERR_BYTES).read_to_end(&mut text)?;
            // The rest is read as well, or the child would block on a full pipe.
            io::copy(&mut stderr, &mut io::sink())?;
            Ok(visible(String::from_utf8_lossy(&text).trim()))
        })?;
        let max = limits.prepare_memory_bytes;
        let output = thread("output", move || {
            let mut bytes = Vec::new();
            stdout.take(max + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        })?;
        let left = || deadline.saturating_duration_since(Instant::now());
        let Ok(output) = output.recv_timeout(left()) else { return Ok(None) };
        let Some(status) = wait(&mut child.0, deadline)? else { return Ok(None) };
        let stderr_tail = stderr_tail.recv_timeout(left().min(MAX_STDERR_WAIT));
        let stderr_tail = stderr_tail.ok().and_then(Result::ok).unwrap_or_default();
        Ok(Some(Exited { status, output: output?, stderr_tail }))
    }
}

/// Kills and reaps a child when dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // Both do nothing for a child that was already reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `work` in a detached thread, and sends its result.
fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Receiver<io::Result<T>>> {
    let (send, receive) = mpsc::channel();
    thread::Builder::new().name(format!("countersign-child-{name}")).spawn(move || {
        // The receiver is gone if the child was killed.
        let _ = send.send(work());
    })?;
    Ok(receive)
}

impl Compile for ChildProcess {
    fn compile(
        &self,
        component: &[u8],
        form: Form<'_>,
        optimization: Optimization,
        limits: &Limits,
    ) -> Result<CompiledCode, CompileError> {
        let state = match form {
            Form::Snapshot(state) => Some(state.to_bytes()),
            Form::Original | Form::Instrumented => None,
        };
        let seconds = u64::from(limits.prepare_ms.div_ceil(1000));
        let request = CompileRequest {
            optimize: optimization == Optimization::Speed,
            observable: matches!(form, Form::Instrumented),
            state_bytes: state.as_ref().map(|state| state.len() as u64),
            bytes: component.len() as u64,
            component_bytes: limits.component_bytes,
            memory_bytes: limits.prepare_memory_bytes,
            processor_seconds: seconds * MAX_THREADS as u64,
        };
        match self.run(&request, &[component, &state.unwrap_or_default()], limits) {
            Ok(Some(exited)) => result(exited, limits),
            Ok(None) => Err(LoadError::PrepareTime { limit_ms: limits.prepare_ms }.into()),
            Err(error) => {
                let program = visible(&self.program.display().to_string());
                Err(failed(&format!("the child process `{program}`: {error}")).into())
            }
        }
    }

    fn name(&self) -> &'static str {
        "a child process"
    }
}

/// Waits for a child that has closed its output, and so is about to exit.
///
/// Polling needs neither a `SIGCHLD` handler, which would be the embedding program's to install, nor file descriptors,
/// of which it may have none left.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        thread::sleep(Duration::from_micros(200));
    }
}

fn result(exited: Exited, limits: &Limits) -> Result<CompiledCode, CompileError> {
    let Exited { status, mut output, stderr_tail } = exited;
    if status.code() == Some(OUT_OF_MEMORY) {
        return Err(LoadError::PrepareMemory { limit: limits.prepare_memory_bytes }.into());
    }
    if output.len() as u64 > limits.prepare_memory_bytes {
        return Err(LoadError::PrepareMemory { limit: limits.prepare_memory_bytes }.into());
    }
    if !status.success() {
        return Err(
            failed(&format!("the child process exited with {status}: {stderr_tail}")).into()
        );
    }
    match output.first() {
        Some(&COMPILED) => {
            output.remove(0);
            // SAFETY: the child is this program or one as trusted (see `of_program`), and only the child had the
            // other end of the pipe.
            #[expect(unsafe_code, reason = "the code of our own child")]
            Ok(unsafe { CompiledCode::from_bytes(output) })
        }
        Some(&REFUSED) => Err(output
            .get(1..)
            .and_then(|json| serde_json::from_slice(json).ok())
            .unwrap_or_else(|| failed("the child process gave an invalid answer").into())),
        _ => Err(failed("the child process gave no answer").into()),
    }
}

fn failed(problem: &str) -> LoadError {
    LoadError::PrepareFailed { problem: problem.to_owned() }
}
