//! `cases.toml`: what a policy is to answer.

use countersign::{
    Audience, ClaimName, Facts, MeshstackId, Run, RunnerId, Settings, SubjectFormat, SubjectTemplate,
    TokenRequest,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::asked::Asked;
use crate::variation::{Claim, claim};

/// The longest file of cases that is parsed, in bytes.
const MAX_CASES_BYTES: usize = 4 << 20;

/// 2026-09-21, 14:13:20 UTC: a Monday.
const NOW: u64 = 1_790_000_000;

const TTL_SECONDS: u32 = 7200;

const AUDIENCES: [&str; 2] = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];

/// The cases of a policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cases {
    /// `decides-on`: the claims that the policy decides on, and no others. Where it is given, the cases must notice a
    /// change of each of these, and of nothing else.
    #[serde(default, deserialize_with = "claims")]
    pub decides_on: Option<Vec<Claim>>,
    /// `claims`: the names of claims that the policy may add.
    #[serde(default, deserialize_with = "names")]
    pub claims: Vec<ClaimName>,
    /// `[[case]]`: at least one.
    #[serde(default)]
    pub case: Vec<Case>,
    /// `[[settings]]`: settings that the policy must not take.
    #[serde(default)]
    pub settings: Vec<SettingsCase>,
}

/// What is asked, and the verdict on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// The settings; those of the folder unless given.
    settings: Option<Value>,
    /// Changes to the run, by JSON pointer (RFC 6901).
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    token: TokenTable,
    /// The runner that executes the run.
    #[serde(default)]
    runner: Option<String>,
    /// Facts of the run.
    #[serde(default)]
    facts: std::collections::BTreeMap<String, String>,
    /// The verdict.
    pub expect: Expectation,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenTable {
    audiences: Option<Vec<String>>,
    ttl: Option<u32>,
    now: Option<u64>,
}

/// Settings that do not fit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsCase {
    /// What it shows.
    pub name: String,
    settings: Value,
    /// Where the policy finds the first problem: a JSON pointer.
    pub pointer: String,
}

/// The verdict that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// `permit = {}`, or with what the grant narrows and adds.
    Permit(ExpectedGrant),
    /// `deny = "code"`, or a list of codes in their order.
    Deny(Codes),
    /// `"abstain"`
    Abstain,
    /// `fault = "code"`
    Fault(String),
}

/// One code, or several.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Codes {
    /// One.
    One(String),
    /// Several, in their order.
    Several(Vec<String>),
}

/// The grant that is expected: what is not given must not be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ExpectedGrant {
    /// `max-ttl`
    pub max_ttl: Option<u32>,
    /// `audiences`
    pub audiences: Option<Vec<String>>,
    /// `claims`
    #[serde(default)]
    pub claims: std::collections::BTreeMap<String, String>,
}

/// Why a file has no cases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CasesError {
    /// The file is too long.
    #[error("longer than {MAX_CASES_BYTES} bytes")]
    TooLarge,
    /// It is no TOML, or has a key that is not known. The message shows the line.
    #[error("{0}")]
    Toml(String),
    /// There is no case: a test that tests nothing.
    #[error("no `[[case]]`: add one with `name` and `expect`")]
    Empty,
    /// A case cannot be asked.
    #[error("case `{case}`: {problem}")]
    Case {
        /// Its name.
        case: String,
        /// Why not.
        problem: String,
    },
}

impl Cases {
    /// Parses a file of cases (TOML).
    ///
    /// # Errors
    /// When it has another shape, or no case.
    pub fn parse(text: &str) -> Result<Self, CasesError> {
        if text.len() > MAX_CASES_BYTES {
            return Err(CasesError::TooLarge);
        }
        let cases: Self = toml::from_str(text).map_err(|error| {
            CasesError::Toml(countersign::visible(error.to_string().trim_end()))
        })?;
        if cases.case.is_empty() {
            return Err(CasesError::Empty);
        }
        Ok(cases)
    }
}

impl Case {
    /// The settings, as JSON text: `default` where the case has none.
    ///
    /// # Errors
    /// When they are no object.
    pub fn settings(&self, default: &Settings) -> Result<Settings, CasesError> {
        match &self.settings {
            Some(own) => settings(&self.name, own),
            None => Ok(default.clone()),
        }
    }

    /// What is asked: the run object in `run`, changed as the case has it. Unless it says otherwise, for AWS and Azure,
    /// for two hours, on 2026-09-21 at 14:13:20 UTC.
    ///
    /// # Errors
    /// When a pointer leads nowhere, or what comes of it is no run.
    pub fn asked(&self, run: &Value) -> Result<Asked, CasesError> {
        let error = |problem: String| CasesError::Case { case: self.name.clone(), problem };
        let mut run = run.clone();
        for (pointer, value) in &self.set {
            set(&mut run, pointer, value).map_err(error)?;
        }
        let run = Run::parse(run.to_string().as_bytes()).map_err(|e| error(e.to_string()))?;
        let audiences = self.token.audiences.clone();
        let audiences = audiences.unwrap_or_else(|| AUDIENCES.map(ToOwned::to_owned).to_vec());
        let audiences = audiences.iter().map(|audience| Audience::parse(audience));
        let audiences = audiences.collect::<Result<_, _>>().map_err(|e| error(e.to_string()))?;
        let ttl = self.token.ttl.unwrap_or(TTL_SECONDS);
        let now = self.token.now.unwrap_or(NOW);
        let token = TokenRequest::new(audiences, ttl, now).map_err(|e| error(e.to_string()))?;
        let runner = self.runner.as_deref().map(RunnerId::parse).transpose();
        let meshstack_id = MeshstackId::parse("demo").map_err(|e| error(e.to_string()))?;
        let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
        let facts = self.facts.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let facts = Facts::new(facts).map_err(|e| error(format!("facts: {e}")))?;
        Ok(Asked { run, runner: runner.map_err(|e| error(e.to_string()))?, facts, subject, token })
    }
}

impl SettingsCase {
    /// The settings, as JSON text.
    ///
    /// # Errors
    /// When they are no object.
    pub fn settings(&self) -> Result<Settings, CasesError> {
        settings(&self.name, &self.settings)
    }
}

impl Codes {
    /// The codes.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(several) => several,
        }
    }
}

fn settings(case: &str, value: &Value) -> Result<Settings, CasesError> {
    Settings::from_json(&value.to_string()).map_err(|error| CasesError::Case {
        case: case.to_owned(),
        problem: format!("settings: {error}"),
    })
}

/// Sets a value by its pointer: the last step may be new, those before it must be there. An empty table in the cases
/// stands for what TOML does not have: null, which takes the member away.
fn set(run: &mut Value, pointer: &str, value: &Value) -> Result<(), String> {
    let nowhere = || format!("set: `{pointer}` leads nowhere in the run");
    let (parent, key) = pointer.rsplit_once('/').ok_or_else(nowhere)?;
    let key = key.replace("~1", "/").replace("~0", "~");
    let removed = matches!(value, Value::Object(members) if members.is_empty());
    match run.pointer_mut(parent).ok_or_else(nowhere)? {
        Value::Object(members) if removed => {
            members.remove(&key);
        }
        Value::Object(members) => {
            members.insert(key, value.clone());
        }
        Value::Array(values) => {
            let at =
                key.parse::<usize>().ok().and_then(|at| values.get_mut(at)).ok_or_else(nowhere)?;
            *at = value.clone();
        }
        _ => return Err(nowhere()),
    }
    Ok(())
}

fn claims<'de, D>(deserializer: D) -> Result<Option<Vec<Claim>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let names = Vec::<String>::deserialize(deserializer)?;
    let claims = names.iter().map(|name| claim(name).map_err(serde::de::Error::custom));
    claims.collect::<Result<_, _>>().map(Some)
}

fn names<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<ClaimName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().map(|name| name.parse().map_err(serde::de::Error::custom)).collect()
}
