//! The tables of the file, and the way from them to a [`Manifest`].

use std::collections::BTreeMap;

use countersign::{
    Audience, BindingName, ClaimName, DefinitionId, LimitError, Limits, MeshstackId, Mode, Scope,
    Settings, SettingsError, SubjectFormat, SubjectFormats, Workspace, visible,
};
use countersign_clouds::{AudienceClouds, Cloud};
use countersign_registry::{Reference, ReferenceError};
use schemars::JsonSchema;
use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::json_settings::json_settings;
use super::limits::{LimitValue, LimitsTable};
use super::nesting::{MAX_BRACKETS, MAX_DOTS, too_deep};
use super::registries::{PolicyStoreTable, RegistryTable, TrustedSignerTable, registries, signers};
use super::schema;
use super::{
    BindingEntry, IssuerEntry, MAX_MANIFEST_BYTES, Manifest, PreparationEntry, PreparationTiming,
    SettingsSource,
};
use crate::parsed::{DigestText, Parsed};
use crate::renamed::name_the_new;

/// The reason that a text is not a manifest.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The text is longer than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Brackets are nested deeper than 32, or a key has more than 8 dots.
    #[error(
        "line {line}: nested too deep; at most {MAX_BRACKETS} brackets and {MAX_DOTS} dots in a key"
    )]
    TooDeep {
        /// The line.
        line: usize,
    },
    /// The text is not TOML, a key is unknown or missing, or a value is out of form. The message
    /// shows the line.
    #[error("{0}")]
    Toml(String),
    /// There is no binding.
    #[error("no `[[binding]]`: nothing could ever be approved")]
    Empty,
    /// An audience is assigned to another cloud than its form belongs to.
    #[error("issuer.audiences: {0}")]
    Audience(#[from] countersign_clouds::AudienceCloudsError),
    /// Two bindings have one name.
    #[error("two bindings have the name `{name}`")]
    DuplicateName {
        /// The name.
        name: BindingName,
    },
    /// A binding has both kinds of settings.
    #[error("binding `{binding}` has both `settings` and `settings-file`; keep one")]
    TwoSettings {
        /// The binding.
        binding: BindingName,
    },
    /// Settings have a value that JSON does not have.
    #[error("binding `{binding}`: settings{pointer}: {problem}")]
    NotJson {
        /// The binding.
        binding: BindingName,
        /// JSON pointer to the value.
        pointer: String,
        /// The problem.
        problem: &'static str,
    },
    /// Settings are too large or too deep.
    #[error("binding `{binding}`: settings: {problem}")]
    Settings {
        /// The binding.
        binding: BindingName,
        /// The problem.
        problem: SettingsError,
    },
    /// A reference to a policy of a registry is out of form.
    #[error("binding `{binding}`: policy: {problem}")]
    Reference {
        /// The binding.
        binding: BindingName,
        /// The problem.
        problem: ReferenceError,
    },
    /// A table about registries or signers has a value that it cannot have.
    #[error("{place}: {problem}")]
    Registry {
        /// The table.
        place: String,
        /// The problem.
        problem: String,
    },
    /// A limit has a value that it cannot have.
    #[error("{place}.{problem}")]
    Limit {
        /// The table.
        place: String,
        /// The limit, and what it can have: up to the operator's ceiling, or the evaluator's.
        problem: LimitError,
    },
    /// A number is too low for anything.
    #[error("{place}.{limit}: {found} is less than {min}, which is needed for any policy")]
    TooLow {
        /// The table.
        place: String,
        /// The limit's key.
        limit: &'static str,
        /// The value in the manifest.
        found: u64,
        /// The minimum.
        min: u64,
    },
}

const SCOPES: &str = "expected `\"all\"`, or a table with one of `definition-workspace`, \
                      `definition` and `owning-workspace`";

/// The policies that decide about tokens, binding by binding.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(title = "countersign.toml", extend("required" = ["binding"]))]
pub(super) struct ManifestFile {
    /// The issuer of the tokens.
    issuer: Option<IssuerTable>,
    /// The highest limits that a binding can have in its `limits`.
    #[serde(default)]
    ceilings: LimitsTable,
    /// The time when bindings are prepared, and the memory for them.
    #[serde(default)]
    preparation: PreparationTable,
    /// The folder of policies that came from registries.
    #[serde(default)]
    policy_store: PolicyStoreTable,
    /// The way to a registry, where it is not the usual one.
    #[serde(default)]
    registry: Vec<RegistryTable>,
    /// The keys that may sign the policies of a repository and of those below it. Of several tables, the most specific one
    /// counts alone.
    #[serde(default)]
    trusted_signer: Vec<TrustedSignerTable>,
    /// The use of a policy for some runs. All bindings whose scope contains a run are evaluated.
    #[serde(default)]
    #[schemars(length(min = 1))]
    binding: Vec<BindingTable>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IssuerTable {
    /// The issuer identifier: `iss` of every token.
    url: Option<String>,
    /// The installation that stands in every subject.
    #[schemars(schema_with = "schema::name")]
    meshstack_id: Parsed<MeshstackId>,
    /// The format of subjects: by-definition unless given.
    #[serde(default = "by_definition")]
    #[schemars(schema_with = "schema::subject_format", extend("default" = "by-definition"))]
    subject_profile: Parsed<SubjectFormat>,
    /// Definitions whose subjects have another format, by UUID.
    #[serde(default)]
    #[schemars(schema_with = "schema::subject_formats")]
    subject_profiles: BTreeMap<Parsed<DefinitionId>, Parsed<SubjectFormat>>,
    /// The file of definitions that migrate from one format to the other; `countersign subjects` writes it.
    subject_migrations: Option<String>,
    /// The cloud that takes each audience of no usual form.
    #[serde(default)]
    #[schemars(schema_with = "schema::audiences")]
    audiences: BTreeMap<Parsed<Audience>, Parsed<Cloud>>,
}

fn by_definition() -> Parsed<SubjectFormat> {
    Parsed(SubjectFormat::ByDefinition)
}

#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PreparationTable {
    /// The time: before anything is decided, or when a run first needs a binding.
    #[serde(default)]
    bindings: TimingWord,
    /// The maximum of compiled code in memory, in bytes.
    #[schemars(range(min = PreparationEntry::MIN_RESIDENT_BYTES, max = i64::MAX))]
    resident_bytes: Option<LimitValue>,
}

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
enum TimingWord {
    #[default]
    AtStart,
    OnDemand,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[schemars(extend("not" = { "required": ["settings", "settings-file"] }))]
struct BindingTable {
    /// The name, unique in the manifest.
    #[schemars(schema_with = "schema::name")]
    name: Parsed<BindingName>,
    /// The component; a path relative to the manifest. Or a policy of a registry: `oci://host/repository@sha256:…`, or a tag
    /// that countersign.lock pins.
    policy: String,
    /// The digest that the component must have; `countersign inspect` prints it.
    #[serde(default)]
    #[schemars(schema_with = "schema::digest")]
    digest: Option<Parsed<DigestText>>,
    /// The runs that it applies to.
    #[serde(deserialize_with = "scope")]
    #[schemars(schema_with = "schema::scope")]
    scope: Scope,
    /// The mode: whether it decides, or is only evaluated and recorded.
    #[serde(default)]
    mode: ModeWord,
    /// Counts a permit of the policy as one; if false, it counts as a restriction.
    #[serde(default = "yes")]
    may_permit: bool,
    /// The settings of the policy.
    #[serde(default)]
    #[schemars(schema_with = "schema::table")]
    settings: Option<toml::Table>,
    /// A JSON file in the place of `settings`; a path relative to the manifest.
    settings_file: Option<String>,
    /// The limits of the policy.
    #[serde(default)]
    limits: LimitsTable,
    /// The names of claims that the policy may add to a token; none unless given.
    #[serde(default)]
    #[schemars(schema_with = "schema::claims")]
    claims: Vec<Parsed<ClaimName>>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize, Serialize, JsonSchema, Default)]
#[serde(rename_all = "kebab-case")]
enum ModeWord {
    #[default]
    Enforce,
    Shadow,
}

/// Keys and words that have another name now.
const RENAMED: [(&str, &str); 2] =
    [("subject-moves", "subject-migrations"), ("when-needed", "on-demand")];

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    if text.len() > MAX_MANIFEST_BYTES {
        let (bytes, limit) = (text.len(), MAX_MANIFEST_BYTES);
        return Err(ManifestError::TooLarge { bytes, limit });
    }
    if let Some(line) = too_deep(text) {
        return Err(ManifestError::TooDeep { line });
    }
    let file: ManifestFile = toml::from_str(text)
        .map_err(|error| name_the_new(error.to_string().trim_end(), &RENAMED))
        .map_err(|error| ManifestError::Toml(visible(&error)))?;
    if file.binding.is_empty() {
        return Err(ManifestError::Empty);
    }
    let mut names = std::collections::BTreeSet::new();
    if let Some(twice) = file.binding.iter().find(|binding| !names.insert(&binding.name.0)) {
        return Err(ManifestError::DuplicateName { name: twice.name.0.clone() });
    }
    let issuer = file.issuer.map(issuer).transpose()?;
    let max = Limits::CEILING;
    let ceilings = file.ceilings.within(&|| "ceilings".to_owned(), &max, &max)?;
    let preparation = preparation(&file.preparation)?;
    let bindings = file
        .binding
        .into_iter()
        .map(|table| binding(table, &ceilings))
        .collect::<Result<_, _>>()?;
    Ok(Manifest {
        issuer,
        ceilings,
        preparation,
        policy_store: file.policy_store.folder,
        registries: registries(file.registry)?,
        trusted_signers: signers(file.trusted_signer)?,
        bindings,
    })
}

fn issuer(table: IssuerTable) -> Result<IssuerEntry, ManifestError> {
    let overrides = table.subject_profiles.into_iter();
    let overrides = overrides.map(|(definition, format)| (definition.0, format.0)).collect();
    let audiences = table.audiences.into_iter().map(|(audience, cloud)| (audience.0, cloud.0));
    Ok(IssuerEntry {
        url: table.url,
        subjects: SubjectFormats {
            meshstack_id: table.meshstack_id.0,
            profile: table.subject_profile.0,
            overrides,
        },
        subject_migrations: table.subject_migrations,
        audiences: AudienceClouds::new(audiences.collect())?,
    })
}

fn preparation(table: &PreparationTable) -> Result<PreparationEntry, ManifestError> {
    let resident_bytes = table.resident_bytes.map(|LimitValue(found)| {
        let min = PreparationEntry::MIN_RESIDENT_BYTES;
        if found < min {
            let limit = "resident-bytes";
            return Err(ManifestError::TooLow {
                place: "preparation".to_owned(),
                limit,
                found,
                min,
            });
        }
        Ok(found)
    });
    Ok(PreparationEntry {
        bindings: match table.bindings {
            TimingWord::AtStart => PreparationTiming::AtStart,
            TimingWord::OnDemand => PreparationTiming::Lazy,
        },
        resident_bytes: resident_bytes.transpose()?,
    })
}

fn binding(table: BindingTable, ceilings: &Limits) -> Result<BindingEntry, ManifestError> {
    let name = table.name.0;
    let place = || format!("binding `{name}`: limits");
    let default = Limits::DEFAULT.at_most(ceilings);
    let reference = match Reference::is_meant_by(&table.policy) {
        false => None,
        true => Some(
            table
                .policy
                .parse()
                .map_err(|problem| ManifestError::Reference { binding: name.clone(), problem })?,
        ),
    };
    Ok(BindingEntry {
        reference,
        settings: settings(&name, table.settings, table.settings_file)?,
        limits: table.limits.within(&place, &default, ceilings)?,
        name,
        policy: table.policy,
        digest: table.digest.map(|digest| digest.0.0),
        scope: table.scope,
        mode: match table.mode {
            ModeWord::Enforce => Mode::Enforce,
            ModeWord::Shadow => Mode::Shadow,
        },
        may_permit: table.may_permit,
        claims: table.claims.into_iter().map(|name| name.0).collect(),
    })
}

fn settings(
    binding: &BindingName,
    inline: Option<toml::Table>,
    file: Option<String>,
) -> Result<SettingsSource, ManifestError> {
    match (inline, file) {
        (Some(_), Some(_)) => Err(ManifestError::TwoSettings { binding: binding.clone() }),
        (None, Some(path)) => Ok(SettingsSource::File(path)),
        (None, None) => Ok(SettingsSource::Inline(Settings::default())),
        (Some(table), None) => {
            let json = json_settings(table).map_err(|not_json| ManifestError::NotJson {
                binding: binding.clone(),
                pointer: not_json.pointer,
                problem: not_json.problem,
            })?;
            let settings = Settings::from_json(&json)
                .map_err(|problem| ManifestError::Settings { binding: binding.clone(), problem })?;
            Ok(SettingsSource::Inline(settings))
        }
    }
}

/// Parses `"all"`, or a table with one key.
fn scope<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Scope, D::Error> {
    let scope = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(word) if word == "all" => return Ok(Scope::All),
        toml::Value::Table(table) => {
            let mut members = table.iter();
            match (members.next(), members.next()) {
                (Some((key, toml::Value::String(text))), None) => match key.as_str() {
                    "definition-workspace" => {
                        Workspace::parse(text).map(Scope::DefinitionWorkspace)
                    }
                    "owning-workspace" => Workspace::parse(text).map(Scope::OwningWorkspace),
                    "definition" => DefinitionId::parse(text).map(Scope::Definition),
                    _ => return Err(D::Error::custom(SCOPES)),
                },
                _ => return Err(D::Error::custom(SCOPES)),
            }
        }
        _ => return Err(D::Error::custom(SCOPES)),
    };
    scope.map_err(D::Error::custom)
}
