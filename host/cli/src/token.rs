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

use self::client::{Client, Given, Refused, TokenResponse};
pub(crate) use self::client::{body, http_client, service_url, whole};
use crate::output::{self, Exit, FAILURE, Styled};
use crate::serve::Stop;
use countersign_deployment::files;

/// The maximum length of a token file, in bytes.
const MAX_TOKEN_FILE: u64 = 32 << 10;

/// The bounds of the backoff between attempts.
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The fraction of a token's lifetime after which the next one is fetched.
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

With --write, the token is refreshed at 80% of its lifetime, each time by a new decision, and the file
is replaced atomically; only its owner can read it. The command runs until the run ends, policies refuse
it, a signal stops it (SIGTERM, SIGINT), or its token expires without a successor, and then removes the
file that it wrote. After every other answer of the service, or none, it retries after 1 to 30 seconds,
and the file stays until its token has expired; only for the first token, an answer that no retry would
change is an error at once. Without --write, or with --once, it exits after the first token, which
stays. Proxies are not used.

Exit status: 0 done, or the run has ended; 2 refused; 1 anything else.")]
pub(crate) struct Token {
    /// The URL of the service
    #[arg(long, value_name = "URL")]
    url: String,

    /// The run
    #[arg(long, value_name = "UUID")]
    run: RunId,

    /// The audience of the token (`aud`)
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: Audience,

    /// The requested lifetime, in seconds [default: the service's]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,

    /// The file with the run token
    #[arg(long, value_name = "FILE", required_unless_present = "identity_file")]
    run_token_file: Option<PathBuf>,

    /// The file with the runner's own token, instead of the run token; read for each request
    #[arg(long, value_name = "FILE", conflicts_with = "run_token_file")]
    identity_file: Option<PathBuf>,

    /// Certificate authorities (PEM) to verify the service with, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Write the token to this file and keep it fresh
    #[arg(long, short, value_name = "PATH")]
    write: Option<PathBuf>,

    /// Exit after the first token
    #[arg(long)]
    once: bool,

    /// The time to wait for the first token while the service is unavailable, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,

    /// The token in the file, if this process wrote it.
    #[arg(skip)]
    written: RefCell<Option<Zeroizing<String>>>,
}

/// The reason that refreshing ended.
enum Ended {
    Stopped,
    RunFinished,
    Refused(Refused),
}

impl Token {
    pub(crate) fn run(&self) -> Result<Exit> {
        let authorities = self.ca_file.as_deref().map(|file| files::read(file, 1 << 20));
        let client = Client::new(&self.url, authorities.transpose()?.as_deref())?;
        if let Some(path) = &self.write {
            // Checked first: a token that cannot be written would be issued in vain.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            if !folder.is_dir() {
                bail!("--write: the folder {} does not exist", folder.display());
            }
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(async {
            let stop = Stop::listen().context("failed to listen for signals")?;
            tokio::select! {
                () = stop.recv() => Ok(Ended::Stopped),
                ended = self.refresh(&client) => ended,
            }
        });
        let stays = matches!(&ended, Ok(Ended::Stopped)) && self.ends_at_once();
        // A file that is no longer refreshed must not be mistaken for a fresh one. A file that another process wrote
        // meanwhile stays.
        if let (Some(path), Some(written), false) = (&self.write, self.written.take(), stays) {
            remove(path, &written)?;
        }
        match ended? {
            Ended::Stopped => Ok(Exit::Success),
            Ended::RunFinished => {
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

    /// Fetches tokens until the run ends, is refused, or fails.
    async fn refresh(&self, client: &Client) -> Result<Ended> {
        let mut deadline = Instant::now() + Duration::from_secs(self.wait);
        loop {
            let given = match self.fetch(client, deadline).await? {
                TokenResponse::Given(given) => given,
                TokenResponse::RunEnded => return Ok(Ended::RunFinished),
                TokenResponse::Refused(refused) => return Ok(Ended::Refused(refused)),
                TokenResponse::Later(..) => bail!("no token before the deadline"),
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
            let lifetime = Duration::from_secs(given.expires_in.clamp(1, MAX_TTL_SECONDS.into()));
            let now = Instant::now();
            deadline = now + lifetime;
            sleep_until(now + lifetime.mul_f64(REFRESH_AT)).await;
        }
    }

    /// Requests a token, and retries until the service decides or the deadline has passed.
    ///
    /// A token that is still good is the job's until it has expired: nothing but the end of the run, or the policies'
    /// refusal, takes it away. Until there is one, an error that stays is reported at once.
    async fn fetch(&self, client: &Client, deadline: Instant) -> Result<TokenResponse> {
        let mut wait = MIN_WAIT;
        loop {
            let has_token = self.written.borrow().is_some();
            let (why, after) = match self.request(client).await {
                Ok(TokenResponse::Later(why, after)) => (why, after),
                Ok(TokenResponse::Refused(refused)) if has_token && refused.depends_on_machine => {
                    (refused.reasons.join("; "), None)
                }
                Ok(response) => return Ok(response),
                Err(error) if has_token => (format!("{error:#}"), None),
                Err(error) => return Err(error),
            };
            let pause = after.unwrap_or(wait).clamp(MIN_WAIT, MAX_WAIT);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("no token before the deadline: {why}");
            }
            // The last attempt is at the deadline.
            let pause = pause.min(left);
            output::status(&countersign::visible(&format!("retrying in {pause:?}: {why}")));
            sleep(pause).await;
            wait = (wait * 2).min(MAX_WAIT);
        }
    }

    /// Requests a token once, with the credential as it is in its file now.
    async fn request(&self, client: &Client) -> Result<TokenResponse> {
        let credential = match (&self.run_token_file, &self.identity_file) {
            (Some(file), _) => Credential::RunToken(files::read_text(file, MAX_TOKEN_FILE)?),
            (None, Some(file)) => Credential::Identity(files::read_text(file, MAX_TOKEN_FILE)?),
            (None, None) => bail!("give --run-token-file or --identity-file"),
        };
        client.request_token(&self.run, &self.audience, self.ttl, &credential).await
    }
}

/// The credential that authenticates the request.
enum Credential {
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
