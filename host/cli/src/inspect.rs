//! `countersign inspect`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use countersign::{Digest, Engine, Limits, LoadError, Policy, imports, visible};
use serde::Serialize;
use serde_json::Value;

use crate::files;
use crate::output::{self, BAD, DIM, Done, Format, GOOD, Styled};
use crate::progress;

/// Look at a component: what it is, and whether it would load as a policy
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign inspect target/policies/same-workspace.wasm
  countersign inspect --format json *.wasm | jq -r '.[] | [.file, .digest, .loads] | @tsv'

The JSON is an array with an object for each file: `file`, `bytes`, `digest`, `imports` (null when
they cannot be read), `loads`, and `description` with `name`, `version`, `summary` and
`settings_schema` when it loads, or `problem` with `code` and `message` when it does not.

Exit status: 0 when every component would load, 1 when one would not.")]
pub struct Inspect {
    /// The components
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print only the JSON Schema of the settings, of a single component
    #[arg(long)]
    settings_schema: bool,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

struct Inspected {
    file: String,
    bytes: usize,
    digest: Digest,
    imports: Result<Vec<String>, LoadError>,
    policy: Result<Policy, LoadError>,
}

/// What `--format json` prints of a component.
#[derive(Serialize)]
struct InspectedJson<'a> {
    file: &'a str,
    bytes: usize,
    digest: Digest,
    imports: Option<&'a [String]>,
    loads: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<DescriptionJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemJson>,
}

#[derive(Serialize)]
struct DescriptionJson<'a> {
    name: &'a str,
    version: &'a str,
    summary: &'a str,
    settings_schema: Option<Value>,
}

#[derive(Serialize)]
struct ProblemJson {
    code: &'static str,
    message: String,
}

impl Inspect {
    pub fn run(&self) -> Result<Done> {
        let engine = Engine::new()?;
        let inspected: Vec<Inspected> = progress::during("compiling", || {
            self.files.iter().map(|path| Inspected::new(&engine, path)).collect::<Result<_>>()
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
        let all_load = inspected.iter().all(|inspected| inspected.policy.is_ok());
        Ok(if all_load { Done::Fine } else { Done::Failed })
    }
}

fn settings_schema(inspected: &[Inspected]) -> Result<Done> {
    let [one] = inspected else { anyhow::bail!("--settings-schema takes one component") };
    match &one.policy {
        Ok(policy) => {
            let schema = policy.description().settings_schema.as_deref();
            output::print(&format!("{}\n", schema.unwrap_or("{}").trim_end()))?;
            Ok(Done::Fine)
        }
        Err(problem) => Err(anyhow::anyhow!("{}: {problem}", one.file)),
    }
}

impl Inspected {
    fn new(engine: &Engine, path: &std::path::Path) -> Result<Self> {
        let bytes = files::read_component(path, Limits::CEILING.component_bytes)?;
        Ok(Self {
            file: path.display().to_string(),
            bytes: bytes.len(),
            digest: Digest::of(&bytes),
            imports: imports(&bytes),
            policy: Policy::load(engine, &bytes, &Limits::DEFAULT),
        })
    }

    fn json(&self) -> InspectedJson<'_> {
        InspectedJson {
            file: &self.file,
            bytes: self.bytes,
            digest: self.digest,
            imports: self.imports.as_deref().ok(),
            loads: self.policy.is_ok(),
            description: self.policy.as_ref().ok().map(|policy| {
                let description = policy.description();
                let schema = description.settings_schema.as_deref();
                DescriptionJson {
                    name: &description.name,
                    version: &description.version,
                    summary: &description.summary,
                    // It was parsed when the policy was loaded.
                    settings_schema: schema.and_then(|schema| serde_json::from_str(schema).ok()),
                }
            }),
            problem: self
                .policy
                .as_ref()
                .err()
                .map(|problem| ProblemJson { code: problem.code(), message: problem.to_string() }),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {} {value}", Styled(DIM, format!("{name:<9}")));
        };
        let headline = match &self.policy {
            Ok(_) => format!("{}  {}", Styled(GOOD, "loads"), visible(&self.file)),
            Err(_) => format!("{}  {}", Styled(BAD, "does not load"), visible(&self.file)),
        };
        if let Err(problem) = &self.policy {
            line("why", &format!("{problem} ({})", problem.code()));
        }
        line("digest", &self.digest);
        line("size", &format!("{} bytes", self.bytes));
        match &self.imports {
            Ok(imports) if imports.is_empty() => line("imports", &"none"),
            Ok(imports) => line("imports", &visible(&imports.join(", "))),
            Err(_) => line("imports", &"cannot be read"),
        }
        if let Ok(policy) = &self.policy {
            let description = policy.description();
            line("policy", &format!("{} {}", description.name, description.version));
            line("summary", &description.summary);
            match &description.settings_schema {
                None => line("settings", &"none"),
                Some(schema) => {
                    let indented = schema.trim_end().replace('\n', "\n            ");
                    line("settings", &indented);
                }
            }
        }
        format!("{headline}\n{text}")
    }
}
