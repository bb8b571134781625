//! `countersign token`

mod client;

use std::cell::RefCell;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Audience, MAX_TTL_SECONDS, RunId};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};
use zeroize::Zeroizing;

pub use self::client::service_url;
use self::client::{Client, Given, Refused, TokenResponse};
use crate::output::{self, Exit, FAILURE, Styled};
use crate::serve::Stop;
use countersign_deployment::files;

/// The longest file of a token that is read, in bytes.
const MAX_TOKEN_FILE: u64 = 32 << 10;

/// The shortest and the longest time after which it is asked again when there was no answer.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// At which part of a token's life the next one is fetched.
const REFRESH_AT: f64 = 0.8;

/// Fetch a token for a run, and keep the file that a job reads it from fresh
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign token --url https://oidc.example.com --run b3116611-e08b-4b00-91c5-10365b25a6ef \\
      --run-token-file run-token --audience aws-workload-identity-provider:demo \\
      --write /var/run/secrets/workload-identity/aws/token
  countersign token --url http://127.0.0.1:8080 --run \"$RUN\" --run-token-file run-token \\
      --audience api://AzureADTokenExchange --once > token

With --write, the token is fetched again at 80% of its life, each time by a decision of its own, and
the file is replaced as a whole; only its owner can read it. It goes on until the run ends or is
refused, it is stopped (SIGTERM, SIGINT), or something is wrong; a file that it wrote is removed then.
While the service cannot be reached it is asked again, after 1 to 30 seconds, and the file stays until
its token has expired. Without --write, or with --once, it ends after the first token, which stays.
Proxies are not used.

Exit status: 0 done, or the run has ended; 2 refused; 1 anything else.")]
pub struct Token {
    /// The URL of the service
    #[arg(long, value_name = "URL")]
    url: String,

    /// The run
    #[arg(long, value_name = "UUID")]
    run: RunId,

    /// The audience of the token (`aud`)
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Audience,

    /// The life that is asked for, in seconds [default: the service's]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,

    /// The file with the run token
    #[arg(long, value_name = "FILE", required_unless_present = "identity_file")]
    run_token_file: Option<PathBuf>,

    /// The file with the runner's own token, in the place of the run token; read anew each time
    #[arg(long, value_name = "FILE", conflicts_with = "run_token_file")]
    identity_file: Option<PathBuf>,

    /// Certificates, in PEM, that the service is verified with, in the place of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Keep the token in this file
    #[arg(long, short, value_name = "PATH")]
    write: Option<PathBuf>,

    /// End after the first token
    #[arg(long)]
    once: bool,

    /// For how long to wait for the first token while the service cannot be reached, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,

    /// The token that is in the file, if this wrote it.
    #[arg(skip)]
    written: RefCell<Option<Zeroizing<String>>>,
}

/// The reason that refreshing ended.
enum Ended {
    Stopped,
    WithItsRun,
    Refused(Refused),
}

impl Token {
    pub fn run(&self) -> Result<Exit> {
        let authorities = self.ca_file.as_deref().map(|file| files::read(file, 1 << 20));
        let client = Client::new(&self.url, authorities.transpose()?.as_deref())?;
        if let Some(path) = &self.write {
            // Before anything is asked for that could not be kept.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.is_dir() {
                bail!("--write: there is no folder {}", folder.display());
            }
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(async {
            let stop = Stop::listen().context("the system gives no signals")?;
            tokio::select! {
                () = stop.recv() => Ok(Ended::Stopped),
                ended = self.keep(&client) => ended,
            }
        });
        let stays = matches!(&ended, Ok(Ended::Stopped)) && self.ends_at_once();
        // What is not kept fresh any more is not left to be used. Another's is another's business.
        if let (Some(path), Some(written), false) = (&self.write, self.written.take(), stays) {
            remove(path, &written)?;
        }
        match ended? {
            Ended::Stopped => Ok(Exit::Success),
            Ended::WithItsRun => {
                output::status("the run has ended");
                Ok(Exit::Success)
            }
            Ended::Refused(refused) => {
                for reason in &refused.reasons {
                    let text = countersign::visible(reason);
                    output::status(&format!("{} {text}", Styled(FAILURE, "refused")));
                }
                if let Some(decision) = &refused.decision {
                    output::status(&format!("decision {}", countersign::visible(decision)));
                }
                Ok(Exit::Refused)
            }
        }
    }

    fn ends_at_once(&self) -> bool {
        self.once || self.write.is_none()
    }

    /// Fetches token after token, until there is to be none.
    async fn keep(&self, client: &Client) -> Result<Ended> {
        let mut give_up = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let given = match self.fetch(client, give_up).await? {
                TokenResponse::Given(given) => given,
                TokenResponse::RunEnded => return Ok(Ended::WithItsRun),
                TokenResponse::Refused(refused) => return Ok(Ended::Refused(refused)),
                TokenResponse::Later(..) => bail!("no token in time"),
            };
            match &self.write {
                Some(path) => {
                    files::replace(path, given.token.as_bytes(), true)?;
                    self.written.replace(Some(given.token.clone()));
                }
                None => print(&given)?,
            }
            if self.ends_at_once() {
                return Ok(Ended::Stopped);
            }
            let life = Duration::from_secs(given.expires_in.clamp(1, MAX_TTL_SECONDS.into()));
            let now = Instant::now();
            give_up = now + life;
            sleep_until(now + life.mul_f64(REFRESH_AT)).await;
        }
    }

    /// Asks until there is an answer that stands, or there is no time left.
    async fn fetch(&self, client: &Client, give_up: Instant) -> Result<TokenResponse> {
        let mut wait = MIN_WAIT;
        loop {
            let shown = match (&self.run_token_file, &self.identity_file) {
                (Some(file), _) => Shown::RunToken(files::read_text(file, MAX_TOKEN_FILE)?),
                (None, Some(file)) => Shown::Identity(files::read_text(file, MAX_TOKEN_FILE)?),
                (None, None) => bail!("give --run-token-file or --identity-file"),
            };
            let answer = client.ask(&self.run, &self.audience, self.ttl, &shown).await?;
            let TokenResponse::Later(why, after) = answer else { return Ok(answer) };
            let pause = after.unwrap_or(wait).clamp(MIN_WAIT, MAX_WAIT);
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no token, and no more time to wait for one: {why}");
            }
            // Once more at the end of the time.
            let pause = pause.min(left);
            output::status(&countersign::visible(&format!("asking again in {pause:?}: {why}")));
            sleep(pause).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }
}

/// The credential that authenticates the request.
enum Shown {
    RunToken(String),
    Identity(String),
}

fn print(given: &Given) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(given.token.as_bytes())?;
    stdout.write_all(b"\n")?;
    Ok(stdout.flush()?)
}

fn remove(path: &Path, written: &str) -> Result<()> {
    if !files::read_text(path, MAX_TOKEN_FILE).is_ok_and(|there| there == written) {
        return Ok(());
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}
