//! `cases.toml`: requests, each with the verdict that a policy must answer.

mod pointer;

use countersign::{
    Audience, ClaimName, Facts, MeshstackId, Run, RunnerId, Settings, SubjectFormat,
    SubjectTemplate, TokenRequest,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::pointer::set;
use crate::claim_mutation::{Claim, claim};
use crate::decision_input::DecisionInput;
use crate::nearest::did_you_mean;

/// Bytes of the largest file of cases that is parsed.
const MAX_CASES_BYTES: usize = 4 << 20;

/// 2026-09-21, 14:13:20 UTC: a Monday.
const NOW: u64 = 1_790_000_000;

const TTL_SECONDS: u32 = 7200;

const AUDIENCES: [&str; 2] = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];

/// The cases of a policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cases {
    /// `depends-on`: the claims that the verdict depends on, and no others. Where it is given, the cases must notice a
    /// change of each of them, and of no other claim.
    #[serde(default, deserialize_with = "claims")]
    pub depends_on: Option<Vec<Claim>>,
    /// `claims`: names of claims that the policy may add.
    #[serde(default, deserialize_with = "names")]
    pub claims: Vec<ClaimName>,
    /// `[[case]]`: at least one.
    #[serde(default)]
    pub case: Vec<Case>,
    /// `[[settings]]`: settings that the policy must reject.
    #[serde(default)]
    pub settings: Vec<SettingsCase>,
    /// Some cases of the file were left out, so that what all of them notice is not known.
    #[serde(skip)]
    pub(crate) is_selection: bool,
}

/// A request, and the verdict expected on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The case's name.
    pub name: String,
    /// Settings; those of the folder unless given.
    settings: Option<Value>,
    /// Changes to the settings, by JSON pointer (RFC 6901).
    #[serde(default, rename = "set-settings")]
    set_settings: Map<String, Value>,
    /// The data of the policy, for an engine whose settings have `data`, in place of the folder's.
    data: Option<Value>,
    /// The entities of the policy, for an engine whose settings have `entities`, in place of the folder's.
    entities: Option<Value>,
    /// Changes to the run, by JSON pointer (RFC 6901).
    #[serde(default)]
    set: Map<String, Value>,
    #[serde(default)]
    token: TokenTable,
    /// The runner that executes the run.
    #[serde(default)]
    runner: Option<String>,
    /// Facts of the run, beside those that the run object has.
    #[serde(default)]
    facts: std::collections::BTreeMap<String, String>,
    /// The expected verdict.
    pub expect: Expectation,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenTable {
    audiences: Option<Vec<String>>,
    ttl: Option<u32>,
    now: Option<u64>,
}

/// Settings that the policy must reject.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsCase {
    /// The case's name.
    pub name: String,
    settings: Value,
    /// The JSON pointer of the first problem that the policy finds.
    pub pointer: String,
}

/// An expected verdict.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expectation {
    /// `permit = {}`, or with the grant's members.
    Permit(ExpectedGrant),
    /// `restrict = {}`, or with the grant's members.
    Restrict(ExpectedGrant),
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

/// An expected grant: a member that is not given must be absent.
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

/// Reasons for which a file of cases is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CasesError {
    /// The file is too long.
    #[error("longer than {MAX_CASES_BYTES} bytes")]
    TooLarge,
    /// The file is not TOML, or has an unknown key. The message shows the line.
    #[error("{0}")]
    Toml(String),
    /// The file has no case, so it would test nothing.
    #[error("no `[[case]]`: add one with `name` and `expect`")]
    Empty,
    /// No case has a name that is selected.
    #[error("no case is named `{case}`{}", did_you_mean(.case, .names.iter().map(String::as_str)))]
    NoSuchCase {
        /// The name.
        case: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// A case makes no valid request.
    #[error("case `{case}`: {problem}")]
    Case {
        /// The case's name.
        case: String,
        /// The reason.
        problem: String,
    },
}

impl Cases {
    /// Parses a file of cases (TOML).
    ///
    /// # Errors
    /// When the file has another shape, or no case.
    pub fn parse(text: &str) -> Result<Self, CasesError> {
        if text.len() > MAX_CASES_BYTES {
            return Err(CasesError::TooLarge);
        }
        let cases: Self = toml::from_str(text).map_err(|error| {
            let mut message = countersign::visible(error.to_string().trim_end());
            if message.contains("unknown field `decides-on`") {
                message.push_str("\n`decides-on` is now called `depends-on`");
            }
            CasesError::Toml(message)
        })?;
        if cases.case.is_empty() {
            return Err(CasesError::Empty);
        }
        Ok(cases)
    }

    /// Puts the settings of each case under a key of an engine's settings. Authors write the settings of their policy
    /// alone, where the component takes the policy's text beside them.
    ///
    /// # Errors
    /// When the engine's settings are no JSON.
    pub fn within(mut self, engine: &Settings, key: &str) -> Result<Self, serde_json::Error> {
        let engine: Map<String, Value> = serde_json::from_str(engine.as_json())?;
        let put = |own: Value| {
            let mut all = engine.clone();
            all.insert(key.to_owned(), own);
            Value::Object(all)
        };
        for case in &mut self.case {
            case.settings = case.settings.take().map(put);
            let changes = std::mem::take(&mut case.set_settings).into_iter();
            case.set_settings =
                changes.map(|(pointer, value)| (format!("/{key}{pointer}"), value)).collect();
        }
        for case in &mut self.settings {
            case.settings = put(case.settings.take());
            case.pointer.insert_str(0, &format!("/{key}"));
        }
        Ok(self)
    }

    /// Keeps the cases with these names, those of settings included; all of them if no name is given.
    ///
    /// # Errors
    /// When no case has one of the names.
    pub fn select(mut self, names: &[String]) -> Result<Self, CasesError> {
        if names.is_empty() {
            return Ok(self);
        }
        let all = self.case.iter().map(|case| &case.name);
        let all: Vec<_> = all.chain(self.settings.iter().map(|case| &case.name)).collect();
        if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
            let names = all.into_iter().cloned().collect();
            return Err(CasesError::NoSuchCase { case: unknown.clone(), names });
        }
        self.case.retain(|case| names.contains(&case.name));
        self.settings.retain(|case| names.contains(&case.name));
        self.is_selection = true;
        Ok(self)
    }
}

impl Case {
    /// Returns the settings of the case: its own, or `default` where it has none, with its changes.
    ///
    /// # Errors
    /// When they are not an object, or a change leads nowhere in them.
    pub fn settings(&self, default: &Settings) -> Result<Settings, CasesError> {
        let own = self.settings.as_ref().map(|own| settings(&self.name, own)).transpose()?;
        let whole = own.unwrap_or_else(|| default.clone());
        let parts = [("data", &self.data), ("entities", &self.entities)];
        if self.set_settings.is_empty() && parts.iter().all(|(_, part)| part.is_none()) {
            return Ok(whole);
        }
        let error = |problem: String| CasesError::Case { case: self.name.clone(), problem };
        let mut changed: Value =
            serde_json::from_str(whole.as_json()).map_err(|e| error(e.to_string()))?;
        for (key, part) in parts {
            if let (Some(part), Value::Object(members)) = (part, &mut changed) {
                members.insert(key.to_owned(), part.clone());
            }
        }
        for (pointer, value) in &self.set_settings {
            set(&mut changed, pointer, value)
                .map_err(|problem| error(format!("set-settings: {problem}")))?;
        }
        settings(&self.name, &changed)
    }

    /// Makes the input of the decision: the run object `run`, changed as the case says. Unless the case says otherwise,
    /// the token is for AWS and Azure, for two hours, on 2026-09-21 at 14:13:20 UTC.
    ///
    /// # Errors
    /// When a pointer leads nowhere, or the changed object is not a run.
    pub fn input(&self, run: &Value) -> Result<DecisionInput, CasesError> {
        let error = |problem: String| CasesError::Case { case: self.name.clone(), problem };
        let mut run = run.clone();
        for (pointer, value) in &self.set {
            set(&mut run, pointer, value).map_err(|problem| error(format!("set: {problem}")))?;
        }
        let parsed = Run::parse_with_facts(run.to_string().as_bytes());
        let (run, own_facts) = parsed.map_err(|e| error(e.to_string()))?;
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
        let facts = Facts::new(facts).and_then(|facts| facts.with_others(&own_facts));
        let facts = facts.map_err(|e| error(format!("facts: {e}")))?;
        Ok(DecisionInput {
            run,
            runner: runner.map_err(|e| error(e.to_string()))?,
            facts,
            subject,
            token,
        })
    }
}

impl SettingsCase {
    /// Returns the settings.
    ///
    /// # Errors
    /// When they are not an object.
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
