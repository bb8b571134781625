//! `countersign keys probe`

use std::fmt::Write as _;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign_deployment::{ExistingKeys, existing_keys};
use countersign_issuer::Phase;
use countersign_signing::Signer;
use serde::Serialize;

use crate::clock;
use crate::output::{self, Exit, Format};

/// Sign with each key of a service where it is, verify the signatures, and measure the time that they take
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keys probe --config issuer.toml
  countersign keys probe --config issuer.toml --seconds 10 --threads 8 --format json

Each key that is not removed signs for a time, and each signature is verified with its public half. No token is signed.
A device counts these signatures as any other, and AWS KMS has its price for each.

The JSON is a list with `kid`, `algorithm`, `signatures`, `per_second`, and the times `median_microseconds`,
`p99_microseconds` and `max_microseconds`. The exit status is 1 when a key gives no signature, or one that is wrong.")]
pub(super) struct Probe {
    /// The configuration of the service, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The time for each key
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// The number of signatures at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=256))]
    threads: u64,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The signatures of a key, as `--format json` prints them.
#[derive(Serialize)]
struct Probed {
    kid: String,
    algorithm: &'static str,
    signatures: usize,
    per_second: f64,
    median_microseconds: u128,
    p99_microseconds: u128,
    max_microseconds: u128,
}

impl Probe {
    pub(super) fn run(&self) -> Result<Exit> {
        let ExistingKeys { ring, .. } = &existing_keys(&self.config)?;
        let now = clock::now(None)?;
        let mut probed = Vec::new();
        for entry in ring.plan()?.keys.iter().filter(|entry| entry.phase(now) != Phase::Removed) {
            let signer = ring.custody().signer(&entry.kid)?;
            probed.push(self.probe(&*signer).with_context(|| format!("key {}", entry.kid))?);
        }
        match self.format {
            Format::Json => output::print_json(&probed)?,
            Format::Human => output::print(&text(&probed))?,
        }
        Ok(Exit::Success)
    }

    fn probe(&self, signer: &dyn Signer) -> Result<Probed> {
        let (public, begun) = (signer.public(), Instant::now());
        let end = begun + Duration::from_secs(self.seconds);
        let mut times = thread::scope(|scope| {
            let sign = |thread| scope.spawn(move || sign_until(signer, end, thread));
            let threads: Vec<_> = (0..self.threads).map(sign).collect();
            let mut times = Vec::new();
            for thread in threads {
                let Ok(found) = thread.join() else { bail!("a thread panicked") };
                times.extend(found?);
            }
            Ok(times)
        })?;
        let elapsed = begun.elapsed();
        times.sort_unstable();
        let at = |percent: usize| {
            let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times.get(index).map_or(0, Duration::as_micros)
        };
        Ok(Probed {
            kid: public.kid().to_owned(),
            algorithm: public.algorithm().as_str(),
            signatures: times.len(),
            per_second: times.len() as f64 / elapsed.as_secs_f64(),
            median_microseconds: at(50),
            p99_microseconds: at(99),
            max_microseconds: at(100),
        })
    }
}

/// Signs what no token is, again and again, and gives the time of each signature.
fn sign_until(signer: &dyn Signer, end: Instant, thread: u64) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        let input = format!("countersign keys probe {thread} {}", times.len());
        let begun = Instant::now();
        let signature = signer.sign(input.as_bytes())?;
        let elapsed = begun.elapsed();
        if signer.public().verified(input.as_bytes(), &signature).is_none() {
            bail!("the key does not verify what it signed");
        }
        times.push(elapsed);
    }
    Ok(times)
}

fn text(probed: &[Probed]) -> String {
    let mut text = String::new();
    for key in probed {
        let _ = writeln!(
            text,
            "{} {}: {:.0} signatures a second ({} signed and verified), median {} µs, 99% within {} µs",
            key.kid,
            key.algorithm,
            key.per_second,
            key.signatures,
            key.median_microseconds,
            key.p99_microseconds
        );
    }
    text
}
