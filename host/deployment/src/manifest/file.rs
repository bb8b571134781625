//! The file as it is written, and the way from it to a [`Manifest`].

use std::collections::BTreeMap;

use countersign::{
    Audience, BindingName, ClaimName, DefinitionId, Digest, Limits, MeshstackId, Mode, Scope,
    Settings, SettingsError, SubjectFormat, SubjectFormats, Workspace, visible,
};
use countersign_clouds::{AudienceClouds, Cloud};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::json_settings::json_settings;
use super::limits::{LimitValue, LimitsTable};
use super::nesting::{MAX_BRACKETS, MAX_DOTS, too_deep};
use super::{
    BindingEntry, IssuerEntry, MAX_MANIFEST_BYTES, Manifest, PreparationEntry, SettingsSource, When,
};

/// Why a text is no manifest.
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
    /// An audience is said to be of another cloud than whose form it has.
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
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Settings are too large or too deep.
    #[error("binding `{binding}`: settings: {problem}")]
    Settings {
        /// The binding.
        binding: BindingName,
        /// What is wrong.
        problem: SettingsError,
    },
    /// A limit has a value that it cannot have.
    #[error("{place}.{problem}")]
    Limit {
        /// The table that it is in.
        place: String,
        /// The limit, and what it can have: up to the operator's ceiling, or the evaluator's.
        problem: LimitError,
    },
    /// A number is too low for anything.
    #[error("{place}.{limit}: {found} is less than {least}, which is needed for any policy")]
    TooLow {
        /// The table that it is in.
        place: String,
        /// The limit's key.
        limit: &'static str,
        /// What the manifest has.
        found: u64,
        /// The least that it can have.
        least: u64,
    },
}

const SCOPES: &str = "expected `\"all\"`, or a table with one of `definition-workspace`, \
                      `definition` and `owning-workspace`";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ManifestFile {
    issuer: Option<IssuerTable>,
    #[serde(default)]
    ceilings: LimitsTable,
    #[serde(default)]
    preparation: PreparationTable,
    #[serde(default)]
    binding: Vec<BindingTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IssuerTable {
    url: Option<String>,
    #[serde(deserialize_with = "parsed")]
    meshstack_id: MeshstackId,
    #[serde(default)]
    subject_profile: ProfileWord,
    #[serde(default)]
    subject_profiles: BTreeMap<ParsedDefinitionId, ProfileWord>,
    subject_moves: Option<String>,
    #[serde(default)]
    audiences: BTreeMap<ParsedAudience, ParsedCloud>,
}

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct ParsedAudience(#[serde(deserialize_with = "parsed")] Audience);

#[derive(Deserialize)]
#[serde(transparent)]
struct ParsedCloud(#[serde(deserialize_with = "parsed")] Cloud);

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct ParsedDefinitionId(#[serde(deserialize_with = "parsed")] DefinitionId);

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum ProfileWord {
    ByRunner,
    #[default]
    ByDefinition,
}

impl From<ProfileWord> for SubjectFormat {
    fn from(word: ProfileWord) -> Self {
        match word {
            ProfileWord::ByRunner => Self::ByRunner,
            ProfileWord::ByDefinition => Self::ByDefinition,
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PreparationTable {
    #[serde(default)]
    bindings: WhenWord,
    resident_bytes: Option<LimitValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum WhenWord {
    #[default]
    AtStart,
    WhenNeeded,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BindingTable {
    #[serde(deserialize_with = "parsed")]
    name: BindingName,
    policy: String,
    #[serde(default, deserialize_with = "parsed_digest")]
    digest: Option<Digest>,
    #[serde(deserialize_with = "scope")]
    scope: Scope,
    #[serde(default)]
    mode: ModeWord,
    settings: Option<toml::Table>,
    settings_file: Option<String>,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    claims: Vec<ParsedClaimName>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
enum ModeWord {
    #[default]
    Enforce,
    Shadow,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct ParsedClaimName(#[serde(deserialize_with = "parsed")] ClaimName);

pub(super) fn parse(text: &str) -> Result<Manifest, ManifestError> {
    if text.len() > MAX_MANIFEST_BYTES {
        let (bytes, limit) = (text.len(), MAX_MANIFEST_BYTES);
        return Err(ManifestError::TooLarge { bytes, limit });
    }
    if let Some(line) = too_deep(text) {
        return Err(ManifestError::TooDeep { line });
    }
    let file: ManifestFile = toml::from_str(text)
        .map_err(|error| ManifestError::Toml(visible(error.to_string().trim_end())))?;
    if file.binding.is_empty() {
        return Err(ManifestError::Empty);
    }
    let mut names = std::collections::BTreeSet::new();
    if let Some(twice) = file.binding.iter().find(|binding| !names.insert(&binding.name)) {
        return Err(ManifestError::DuplicateName { name: twice.name.clone() });
    }
    let issuer = file.issuer.map(issuer).transpose()?;
    let most = Limits::CEILING;
    let ceilings = file.ceilings.within(&|| "ceilings".to_owned(), &most, &most)?;
    let preparation = preparation(&file.preparation)?;
    let bindings = file
        .binding
        .into_iter()
        .map(|table| binding(table, &ceilings))
        .collect::<Result<_, _>>()?;
    Ok(Manifest { issuer, ceilings, preparation, bindings })
}

fn issuer(table: IssuerTable) -> Result<IssuerEntry, ManifestError> {
    let of_definitions = table.subject_profiles.into_iter();
    let audiences = table.audiences.into_iter().map(|(audience, cloud)| (audience.0, cloud.0));
    Ok(IssuerEntry {
        url: table.url,
        subjects: SubjectFormats {
            meshstack_id: table.meshstack_id,
            profile: table.subject_profile.into(),
            of_definitions: of_definitions.map(|(id, profile)| (id.0, profile.into())).collect(),
        },
        subject_moves: table.subject_moves,
        audiences: AudienceClouds::new(audiences.collect())?,
    })
}

fn preparation(table: &PreparationTable) -> Result<PreparationEntry, ManifestError> {
    let resident_bytes = table.resident_bytes.map(|LimitValue(found)| {
        let least = PreparationEntry::MIN_RESIDENT_BYTES;
        if found < least {
            let limit = "resident-bytes";
            return Err(ManifestError::TooLow {
                place: "preparation".to_owned(),
                limit,
                found,
                least,
            });
        }
        Ok(found)
    });
    Ok(PreparationEntry {
        bindings: match table.bindings {
            WhenWord::AtStart => When::AtStart,
            WhenWord::WhenNeeded => When::WhenNeeded,
        },
        resident_bytes: resident_bytes.transpose()?,
    })
}

fn binding(table: BindingTable, ceilings: &Limits) -> Result<BindingEntry, ManifestError> {
    let place = || format!("binding `{}`: limits", table.name);
    let default = Limits::DEFAULT.at_most(ceilings);
    Ok(BindingEntry {
        settings: settings(&table.name, table.settings, table.settings_file)?,
        limits: table.limits.within(&place, &default, ceilings)?,
        name: table.name,
        policy: table.policy,
        digest: table.digest,
        scope: table.scope,
        mode: match table.mode {
            ModeWord::Enforce => Mode::Enforce,
            ModeWord::Shadow => Mode::Shadow,
        },
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

/// Parses an identifier where it stands, so that an error has its line and column.
fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
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

fn parsed_digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Digest>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::parse(&text).map(Some).map_err(D::Error::custom)
}
