//! The child's side.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use countersign::{CompileError, CompiledCode, Form, Limits, Optimization, State};

use crate::exhaustion::exit_when_exhausted;
use crate::job::{COMPILED, Job, REFUSED};

/// The longest line that a parent writes, in bytes.
const MAX_JOB_BYTES: u64 = 4096;

/// `(component (core module (func) (func)))`
const TWO_FUNCTIONS: &[u8] = b"\0asm\x0d\0\x01\0\x01\x1c\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x0a\x07\x02\x02\0\x0b\x02\0\x0b";

/// Does what a [`ChildProcess`](crate::ChildProcess) asks for on standard input, and answers on
/// standard output: what a program calls when it was started as a child, and ends with.
///
/// Limits itself first. Status 86 when there is no memory left (see
/// [`ExitWhenExhausted`](crate::ExitWhenExhausted)), 1 when what it reads is no job, or the answer
/// cannot be written.
#[must_use]
pub fn serve() -> ExitCode {
    match answer(&mut BufReader::new(io::stdin().lock()), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to be done when this cannot be written.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_JOB_BYTES).read_until(b'\n', &mut line)?;
    let job: Job = serde_json::from_slice(&line)?;
    // The compiler's threads start now: that they cannot start is not the component's doing.
    let _ =
        CompiledCode::compile(TWO_FUNCTIONS, Form::Original, Optimization::None, &Limits::DEFAULT);
    limit(&job)?;
    let component = exactly(input, job.bytes)?;
    let state = match job.state_bytes {
        Some(bytes) => {
            Some(State::from_bytes(&exactly(input, bytes)?).ok_or(io::ErrorKind::InvalidData)?)
        }
        None => None,
    };
    let form = match &state {
        Some(state) => Form::Snapshot(state),
        None if job.observable => Form::Instrumented,
        None => Form::Original,
    };
    let limits = Limits { component_bytes: job.component_bytes, ..Limits::CEILING };
    let (word, bytes) = match CompiledCode::compile(&component, form, job.optimization(), &limits) {
        Ok(code) => (COMPILED, code.into_bytes()),
        Err(error) => (REFUSED, refusal(&error)?),
    };
    output.write_all(&[word])?;
    output.write_all(&bytes)?;
    output.flush()
}

fn exactly(input: &mut impl BufRead, bytes: u64) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    input.take(bytes).read_to_end(&mut read)?;
    if read.len() as u64 == bytes { Ok(read) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn refusal(error: &CompileError) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(error)?)
}

/// Limits this process, for good.
#[cfg(unix)]
fn limit(job: &Job) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let lower = |resource, limit: u64| {
        // A limit that is lower already stays.
        let Rlimit { current, maximum } = getrlimit(resource);
        let least = |old: Option<u64>| Some(old.map_or(limit, |old| old.min(limit)));
        setrlimit(resource, Rlimit { current: least(current), maximum: least(maximum) })
    };
    exit_when_exhausted();
    #[cfg(target_os = "linux")]
    lower(Resource::Data, job.memory_bytes)?;
    // For the case that the parent is no more.
    lower(Resource::Cpu, job.processor_seconds)?;
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, 0)?;
    Ok(())
}

#[cfg(not(unix))]
fn limit(_: &Job) -> io::Result<()> {
    exit_when_exhausted();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_that_starts_the_threads_compiles() {
        let code = CompiledCode::compile(
            TWO_FUNCTIONS,
            Form::Original,
            Optimization::None,
            &Limits::DEFAULT,
        );
        assert!(code.is_ok(), "{code:?}");
    }
}
