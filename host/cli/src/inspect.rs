//! `countersign inspect`

mod bindings;
mod component;

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use countersign::Optimization;

use self::component::{Inspected, PrepareArguments};
use crate::bounds::TotalPrepareTime;
use crate::cache::CacheArguments;
use crate::can_permit::PermitArguments;
use crate::output::{self, Exit, Format};
use crate::progress;
use countersign_deployment::engine;

/// Inspect components, or a manifest's bindings: their metadata, whether they load, and the resources
/// that they use
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign inspect target/policies/same-workspace.wasm
  countersign inspect who-may/policy.wasm --profile interpreter
  countersign inspect --format json *.wasm | jq -r '.[] | [.file, .digest, .loads] | @tsv'
  countersign inspect --policies countersign.toml

The JSON of components is an array with an object for each file: `file`, `bytes`, `digest`, `imports`
(null if unreadable), `loads`, and, if it loads, `description` with `name`, `version`, `summary`,
`settings_schema` and `schema_not_used` (the reason that the schema is not used, or null), `limits`, `profile` and
`needs`; otherwise `problem` with `code` and `message`. A component is loaded under the ceilings, but with the
stack and the limits of preparing of its profile: --profile, or `interpreter` for a component that is larger than
a compiled policy may be, as `policy build` loads an engine. --prepare-ms and --prepare-memory-bytes are always tried
anew and not taken from the cache. `needs` has the limits that `describe` exceeds by default, by their keys in a
manifest; evaluations may need more.

The JSON of bindings has `bindings`, an array with an object for each: `binding`, `mode`, `may_permit`,
`scope`, `file`, `digest`, `policy`, `snapshot` (true if the policy is configured once, and not in each
evaluation), `no_snapshot` (the reason, or null) and `limits`. `can_permit` and `redundant` are those of
`countersign check`: the bindings that can permit the runs of each given definition and of each scope in
the manifest, and those that add nothing. All bindings are prepared as by a service, but without the
cache. The first binding that cannot be prepared is an error, and nothing is printed.

`limits` has an object for each limit: `limit`, the default or the binding's own, and `used`, null
if unknown before an evaluation or unreadable. Components and bindings are compiled in a child process,
which `prepare_ms` and `prepare_memory_bytes` limit.

Each component is bounded by --prepare-ms, each binding by its `prepare-ms` for each time that it is compiled (the
component, and with its settings), and by `configure-fuel`; all together by --total-prepare-ms, after which no
other begins: then those of components that were inspected are printed, and of bindings nothing.

Exit status: 0 everything loads; 1 something does not, or was not come to, or, with --strict, no binding can permit the runs of a
given definition or of a scope.")]
pub(crate) struct Inspect {
    /// The components
    #[arg(required_unless_present = "policies", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Inspect the bindings of this manifest instead
    #[arg(long, short, value_name = "FILE", conflicts_with = "files")]
    policies: Option<PathBuf>,

    #[command(flatten)]
    permits: PermitArguments,

    #[command(flatten)]
    prepare: PrepareArguments,

    #[command(flatten)]
    total_prepare_time: TotalPrepareTime,

    /// Print only the JSON Schema of the settings, of a single component
    #[arg(long, conflicts_with = "policies")]
    settings_schema: bool,

    #[command(flatten)]
    cache: CacheArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Inspect {
    pub(crate) fn run(&self) -> Result<Exit> {
        if let Some(manifest) = &self.policies {
            return bindings::inspect(
                manifest,
                &self.permits,
                self.total_prepare_time,
                self.format,
            );
        }
        if self.permits.strict || !self.permits.definitions.is_empty() {
            anyhow::bail!("--definition and --strict require --policies");
        }
        // Other limits are given to learn whether they are enough.
        let cache = if self.prepare.are_given() { None } else { self.cache.open()? };
        let engine = engine::engine(Optimization::None, cache, output::warn_or_log)?;
        let clock = self.total_prepare_time.start();
        let inspected = progress::with_progress("compiling", "components", |progress| {
            progress.set_of(self.files.len());
            let mut inspected = Vec::new();
            for path in self.files.iter().take_while(|_| clock.is_left()) {
                inspected.push(Inspected::new(&engine, path, &self.prepare)?);
                progress.set(inspected.len());
            }
            anyhow::Ok(inspected)
        })?;
        if self.settings_schema {
            return settings_schema(&inspected);
        }
        match self.format {
            Format::Human => {
                let texts: Vec<_> = inspected.iter().map(Inspected::text).collect();
                output::print(&texts.join("\n"))?;
            }
            Format::Json => {
                output::print_json(&inspected.iter().map(Inspected::json).collect::<Vec<_>>())?;
            }
        }
        if let Some(next) = self.files.get(inspected.len()) {
            let of = self.files.len();
            anyhow::bail!(
                "{}: stopped before it, after {} of {of} components: {}",
                next.display(),
                inspected.len(),
                clock.end()
            );
        }
        let all_load = inspected.iter().all(|inspected| inspected.policy.is_ok());
        Ok(if all_load { Exit::Success } else { Exit::Failed })
    }
}

fn settings_schema(inspected: &[Inspected]) -> Result<Exit> {
    let [one] = inspected else { anyhow::bail!("--settings-schema expects one component") };
    match &one.policy {
        Ok(policy) => {
            let schema = policy.description().settings_schema.as_deref();
            output::print(&format!("{}\n", schema.unwrap_or("{}").trim_end()))?;
            Ok(Exit::Success)
        }
        Err(problem) => Err(anyhow::anyhow!("{}: {problem}", one.file)),
    }
}
