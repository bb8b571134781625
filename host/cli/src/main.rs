//! `countersign`: the command line.
//!
//! Exit status: 0 approved or done, 2 refused, 1 anything else, usage errors included. Output goes
//! to stdout, status and errors to stderr.

#![forbid(unsafe_code)]

mod api_key;
mod backup;
mod base_directory;
mod bounds;
mod cache;
mod can_permit;
mod check;
mod clock;
mod completions;
mod console;
mod decision_text;
mod demo;
mod env;
mod evaluate;
mod explain;
mod impact;
mod inspect;
mod keys;
mod limits_text;
mod log;
mod migrate;
mod output;
mod policy;
mod progress;
mod release;
mod replay;
mod replayed_log;
mod replicas;
mod request;
mod runs;
mod schema;
mod serve;
mod sign;
mod subjects;
mod token;
mod trust;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use countersign_compiler_worker::ExitOnOom;
use output::Exit;

/// The system allocator; in a compiler worker, it reports the exhaustion of memory.
#[global_allocator]
static ALLOCATOR: ExitOnOom = ExitOnOom;

/// Decides, before a token is signed, whether a workload-identity token may be issued for a run.
#[derive(Parser)]
#[command(name = "countersign", version, propagate_version = true)]
#[command(after_help = "\
Exit status: 0 approved or done, 2 refused, 1 anything else.

Begin with `countersign demo`; `countersign help evaluate` has examples of your own.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Evaluate(evaluate::Evaluate),
    Explain(explain::Explain),
    Impact(Box<impact::Impact>),
    Replay(replay::Replay),
    Sign(sign::Sign),
    Policy(policy::PolicyCommands),
    Fetch(policy::Fetch),
    Inspect(inspect::Inspect),
    Schema(schema::Schema),
    Verify(verify::Verify),
    Check(check::Check),
    Serve(serve::Serve),
    Release(release::Release),
    Backup(backup::Backup),
    Restore(backup::Restore),
    Migrate(migrate::Migrate),
    Replicas(replicas::Replicas),
    Token(token::Token),
    Runs(runs::Runs),
    Env(env::Env),
    Trust(trust::Trust),
    Subjects(subjects::Subjects),
    Log(log::LogCommands),
    Console(Box<console::Console>),
    Keys(keys::Keys),
    ApiKey(api_key::ApiKey),
    Cache(cache::Cache),
    Demo(demo::Demo),
    Completions(completions::Completions),
    /// Compile for the parent process; not for interactive use
    #[command(name = countersign_deployment::engine::CHILD, hide = true)]
    CompileForParent,
    /// Hold the session of a PKCS #11 token for the parent process; not for interactive use
    #[cfg(unix)]
    #[command(name = countersign_deployment::KEY_HELPER, hide = true)]
    HoldKeysForParent,
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // There is nowhere left to report a failure to write this.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let done = match arguments.command {
        Command::Evaluate(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Impact(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Sign(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Fetch(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Release(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Migrate(command) => command.run(),
        Command::Replicas(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Runs(command) => command.run(),
        Command::Env(command) => command.run(),
        Command::Trust(command) => command.run(),
        Command::Subjects(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Console(command) => command.run(),
        Command::Keys(command) => command.run(),
        Command::ApiKey(command) => command.run(),
        Command::Cache(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::CompileForParent => return countersign_compiler_worker::serve(),
        #[cfg(unix)]
        Command::HoldKeysForParent => {
            return countersign_custody::serve_pkcs11(countersign_deployment::read_pin);
        }
    };
    match done {
        Ok(Exit::Success) => ExitCode::SUCCESS,
        Ok(Exit::Refused) => ExitCode::from(2),
        Ok(Exit::Failed) => ExitCode::FAILURE,
        Err(error) if output::is_closed_pipe(&error) => ExitCode::FAILURE,
        Err(error) => {
            output::error(&error);
            ExitCode::FAILURE
        }
    }
}
