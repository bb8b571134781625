//! The parent's side.

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

use crate::job::{COMPILED, EXHAUSTED, Job, REFUSED};

/// The most threads that a child compiles with, and no more than half of the processors: the others are
/// for decisions. Each thread has a stack that counts against the child's memory.
const MAX_THREADS: usize = 4;

/// How long a child that has ended may keep what it says to itself.
const MAX_WAIT_FOR_LAST_WORDS: Duration = Duration::from_secs(1);

/// How much of what a child says when it crashes is kept, in bytes.
const MAX_LAST_WORDS: u64 = 400;

/// Compiles in a child process with limits, a new one for each component.
///
/// Blocks the calling thread until the child is done or killed.
#[derive(Debug, Clone)]
pub struct ChildProcess {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// How a child ended.
struct Ended {
    status: ExitStatus,
    output: Vec<u8>,
    last_words: String,
}

impl ChildProcess {
    /// The child is a program that with `arguments` calls [`serve`](crate::serve). It must be built
    /// from the same version of this crate, and be as trusted as this program: it writes machine code
    /// that this process runs.
    pub fn of_program<A: Into<OsString>>(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { program: program.into(), arguments }
    }

    /// The child is this program again: with `arguments` it must call [`serve`](crate::serve).
    ///
    /// On Linux it is the very file that runs, also when another has been put in its place since.
    ///
    /// # Errors
    /// When the path of this program cannot be found out.
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
            // Nothing of the parent's is the child's, its secrets least of all.
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Runs a child to its end, or kills it: `None` when it took too long.
    ///
    /// The pipes are the threads' own, and nobody waits for a thread: should something else hold the
    /// other end of a pipe, the deadline still holds.
    fn run(&self, job: &Job, parts: &[&[u8]], limits: &Limits) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + Duration::from_millis(limits.prepare_ms.into());
        let mut child = Killed(self.spawn()?);
        let taken = child.0.stdin.take().zip(child.0.stdout.take()).zip(child.0.stderr.take());
        let Some(((mut stdin, stdout), mut stderr)) = taken else {
            return Err(io::Error::other("no pipes"));
        };
        let mut input = serde_json::to_vec(job)?;
        input.push(b'\n');
        parts.iter().for_each(|part| input.extend_from_slice(part));
        // A child that does not read on says why by its end.
        thread("input", move || stdin.write_all(&input))?;
        let last_words = thread("stderr", move || {
            let mut text = Vec::new();
            stderr.by_ref().take(MAX_LAST_WORDS).read_to_end(&mut text)?;
            // The rest is read too, so that the child does not wait for it.
            io::copy(&mut stderr, &mut io::sink())?;
            Ok(visible(String::from_utf8_lossy(&text).trim()))
        })?;
        let most = limits.prepare_memory_bytes;
        let output = thread("output", move || {
            let mut bytes = Vec::new();
            stdout.take(most + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        })?;
        let left = || deadline.saturating_duration_since(Instant::now());
        let Ok(output) = output.recv_timeout(left()) else { return Ok(None) };
        let Some(status) = wait(&mut child.0, deadline)? else { return Ok(None) };
        let last_words = last_words.recv_timeout(left().min(MAX_WAIT_FOR_LAST_WORDS));
        let last_words = last_words.ok().and_then(Result::ok).unwrap_or_default();
        Ok(Some(Ended { status, output: output?, last_words }))
    }
}

/// A child that does not outlive this: it is killed, unless it has ended, and waited for.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // A child that has ended and been waited for is not killed again: both then do nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Does something in a thread that nobody waits for, and sends the result.
fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<Receiver<io::Result<T>>> {
    let (send, receive) = mpsc::channel();
    thread::Builder::new().name(format!("countersign-child-{name}")).spawn(move || {
        // The receiver has gone when the child was killed.
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
        let job = Job {
            optimize: optimization == Optimization::Speed,
            observable: matches!(form, Form::Instrumented),
            state_bytes: state.as_ref().map(|state| state.len() as u64),
            bytes: component.len() as u64,
            component_bytes: limits.component_bytes,
            memory_bytes: limits.prepare_memory_bytes,
            processor_seconds: seconds * MAX_THREADS as u64,
        };
        match self.run(&job, &[component, &state.unwrap_or_default()], limits) {
            Ok(Some(ended)) => result(ended, limits),
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

/// Waits for a child that has closed its output: it is about to end.
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

fn result(ended: Ended, limits: &Limits) -> Result<CompiledCode, CompileError> {
    let Ended { status, mut output, last_words } = ended;
    if status.code() == Some(EXHAUSTED) {
        return Err(LoadError::PrepareMemory { limit: limits.prepare_memory_bytes }.into());
    }
    if output.len() as u64 > limits.prepare_memory_bytes {
        return Err(LoadError::PrepareMemory { limit: limits.prepare_memory_bytes }.into());
    }
    if !status.success() {
        return Err(failed(&format!("the child process ended with {status}: {last_words}")).into());
    }
    match output.first() {
        Some(&COMPILED) => {
            output.remove(0);
            // SAFETY: this same program compiled it just now, and nobody else could write to the
            // pipe that it came through.
            #[expect(unsafe_code, reason = "the code of a child of one's own")]
            Ok(unsafe { CompiledCode::from_bytes(output) })
        }
        Some(&REFUSED) => Err(output
            .get(1..)
            .and_then(|json| serde_json::from_slice(json).ok())
            .unwrap_or_else(|| failed("the child process gave an answer that is none").into())),
        _ => Err(failed("the child process gave no answer").into()),
    }
}

fn failed(problem: &str) -> LoadError {
    LoadError::PrepareFailed { problem: problem.to_owned() }
}
