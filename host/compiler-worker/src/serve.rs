//! The child's side.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::panic;
use std::process::ExitCode;

use countersign::{CompileError, CompiledCode, Form, Limits, Optimization, State};

use crate::compile_request::{COMPILED, CompileRequest, REFUSED};
use crate::exit_on_oom::enable_exit_on_oom;

/// The maximum length of a request's header line, in bytes.
const MAX_REQUEST_BYTES: u64 = 4096;

/// `(component (core module (func) (func)))`
const TWO_FUNCTIONS: &[u8] = b"\0asm\x0d\0\x01\0\x01\x1c\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x0a\x07\x02\x02\0\x0b\x02\0\x0b";

/// Serves one request of a [`ChildProcess`](crate::ChildProcess): reads it from standard input, compiles, and writes the
/// result to standard output. A program that was started as the child calls this and exits with its result.
///
/// Sets its own limits before it reads the component. The exit status is 86 when memory runs out (see
/// [`ExitOnOom`](crate::ExitOnOom)), and 1 for an invalid request or a result that cannot be written.
#[must_use]
pub fn serve() -> ExitCode {
    // The place of a panic is one of the machine that built this program, and says nothing to whoever reads the error.
    panic::set_hook(Box::new(|info| {
        let message = info.payload_as_str().unwrap_or("without a message");
        let _ = writeln!(io::stderr(), "panicked: {message}");
    }));
    match answer(&mut BufReader::new(io::stdin().lock()), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The exit status says the same, should this not be written.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(input: &mut impl BufRead, output: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    input.by_ref().take(MAX_REQUEST_BYTES).read_until(b'\n', &mut line)?;
    let request: CompileRequest = serde_json::from_slice(&line)?;
    // The compiler's threads start before the limits apply: if they cannot, that is not the component's fault.
    let _ =
        CompiledCode::compile(TWO_FUNCTIONS, Form::Original, Optimization::None, &Limits::DEFAULT);
    limit(&request)?;
    let component = exactly(input, request.bytes)?;
    let state = match request.state_bytes {
        Some(bytes) => {
            Some(State::from_bytes(&exactly(input, bytes)?).ok_or(io::ErrorKind::InvalidData)?)
        }
        None => None,
    };
    let form = match &state {
        Some(state) => Form::Snapshot(state),
        None if request.observable => Form::Instrumented,
        None => Form::Original,
    };
    let limits = Limits { component_bytes: request.component_bytes, ..Limits::CEILING };
    let (word, bytes) =
        match CompiledCode::compile(&component, form, request.optimization(), &limits) {
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

/// Limits this process irrevocably.
#[cfg(unix)]
fn limit(request: &CompileRequest) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let lower = |resource, limit: u64| {
        // A limit that is already lower stays.
        let Rlimit { current, maximum } = getrlimit(resource);
        let min = |old: Option<u64>| Some(old.map_or(limit, |old| old.min(limit)));
        setrlimit(resource, Rlimit { current: min(current), maximum: min(maximum) })
    };
    enable_exit_on_oom();
    #[cfg(target_os = "linux")]
    lower(Resource::Data, request.memory_bytes)?;
    // The parent's deadline does not hold if the parent dies; this does.
    lower(Resource::Cpu, request.processor_seconds)?;
    lower(Resource::Core, 0)?;
    lower(Resource::Fsize, 0)?;
    Ok(())
}

#[cfg(not(unix))]
fn limit(_: &CompileRequest) -> io::Result<()> {
    enable_exit_on_oom();
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
