//! `countersign keys`

mod probe;
mod ring;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use countersign_signing::{Algorithm, KeySet, PrivateKeyPem, SigningKey};
use serde::Serialize;

use crate::output::{self, Exit, Format};
use crate::sign::read_key;

/// Generate signing keys, publish their public halves, and rotate those of a service
#[derive(Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Subcommand)]
enum KeysCommand {
    Generate(Generate),
    Jwks(Jwks),
    List(ring::List),
    Rotate(ring::Rotate),
    Probe(probe::Probe),
}

/// Generate a private key
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keys generate --algorithm rs256 --out key.pem

Entra accepts only RS256; AWS and GCP also accept ES256, which is smaller and faster.
The file is readable by its owner alone, and an existing one is never overwritten. With
`--format json`, stdout has `file`, `algorithm` and `kid`.")]
struct Generate {
    /// The signature algorithm of the key
    #[arg(long, value_enum, default_value_t = AlgorithmWord::Rs256)]
    algorithm: AlgorithmWord,

    /// The file to write (PKCS #8 in PEM)
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The output of `--format json` for a new key.
#[derive(Serialize)]
struct Generated<'a> {
    file: &'a str,
    algorithm: &'static str,
    kid: &'a str,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum AlgorithmWord {
    /// RSA of 2048 bits
    Rs256,
    /// ECDSA on P-256
    Es256,
}

impl From<AlgorithmWord> for Algorithm {
    fn from(word: AlgorithmWord) -> Self {
        match word {
            AlgorithmWord::Rs256 => Self::Rs256,
            AlgorithmWord::Es256 => Self::Es256,
        }
    }
}

/// Print the JWK Set (RFC 7517) of private keys, for verifiers
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keys jwks key.pem next-key.pem > jwks.json

Only public halves are printed. Each `kid` is the key's thumbprint (RFC 7638).")]
struct Jwks {
    /// The private keys
    #[arg(required = true, value_name = "FILE")]
    keys: Vec<PathBuf>,
}

impl Keys {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            KeysCommand::Generate(command) => command.run(),
            KeysCommand::Jwks(command) => command.run(),
            KeysCommand::List(command) => command.run(),
            KeysCommand::Rotate(command) => command.run(),
            KeysCommand::Probe(command) => command.run(),
        }
    }
}

impl Generate {
    fn run(&self) -> Result<Exit> {
        let (key, text) = SigningKey::generate(self.algorithm.into())?;
        write_private(&self.out, &text).with_context(|| self.out.display().to_string())?;
        let (file, algorithm, kid) =
            (&*self.out.to_string_lossy(), key.public().algorithm().as_str(), key.public().kid());
        match self.format {
            Format::Human => {
                let file = countersign::visible(file);
                output::status(&format!("wrote {file}: {algorithm} key {kid}"));
            }
            Format::Json => output::print_json(&Generated { file, algorithm, kid })?,
        }
        Ok(Exit::Success)
    }
}

impl Jwks {
    fn run(&self) -> Result<Exit> {
        let keys = self.keys.iter().map(|path| read_key(path)).collect::<Result<Vec<_>>>()?;
        output::print_json(&KeySet::new(keys.iter().map(SigningKey::public)))?;
        Ok(Exit::Success)
    }
}

/// Creates a file that only its owner can read.
fn write_private(path: &Path, text: &PrivateKeyPem) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.expose().as_bytes())?;
    file.sync_all()
}
