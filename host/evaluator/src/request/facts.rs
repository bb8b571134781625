//! Facts of a run: what the control plane says beyond the fields that the contract has a place for.

use std::collections::BTreeMap;

use super::identifier::{FactName, IdentifierError, Workspace};
use super::object_facts::OBJECT_FACTS;
use crate::strict_json::{self, JsonError, JsonLimits, Value};

/// The maximum number of facts of a run.
pub const MAX_FACTS: usize = 64;

/// The facts that a host with configured runners adds about the runner of a run: the words `shared` or `dedicated`, and
/// the owning workspace. Nobody can register them.
pub const RUNNER_FACTS: [&str; 2] = ["runner-kind", "runner-workspace"];

/// The maximum number of facts that can be registered with a run: [`RUNNER_FACTS`] and [`OBJECT_FACTS`] come to them.
pub const MAX_REGISTERED_FACTS: usize = MAX_FACTS - RUNNER_FACTS.len() - OBJECT_FACTS.len();

/// The maximum length of a fact's value, in bytes.
pub const MAX_FACT_VALUE_BYTES: usize = 1024;

/// The maximum length of the JSON text of facts, in bytes: ample for as many as are allowed, escaped.
const MAX_FACTS_BYTES: usize = 1 << 20;

/// Named values that a policy sees as `run.facts`: at most [`MAX_FACTS`], each name once, in the order of names.
///
/// Whoever registers the run vouches for them. The names that the contract keeps for the host are refused, so that
/// nobody else can speak in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(BTreeMap<FactName, Box<str>>);

/// The reason that facts are refused. No message repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactsError {
    /// The text is too large, not JSON, too deep, or has a key twice.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The text is not an object.
    #[error("expected an object of texts, found {found}")]
    NotObject {
        /// The kind of value that was found.
        found: &'static str,
    },
    /// There are more than [`MAX_FACTS`].
    #[error("{found} facts, at most {MAX_FACTS} are allowed")]
    TooMany {
        /// The number of facts.
        found: usize,
    },
    /// More than [`MAX_REGISTERED_FACTS`] are registered.
    #[error("{found} facts, at most {MAX_REGISTERED_FACTS} can be registered")]
    TooManyRegistered {
        /// The number of facts.
        found: usize,
    },
    /// A fact is registered that only the host gives.
    #[error("/{0}: a fact of the host, which `[[runner]]` in its configuration gives")]
    OfTheHost(FactName),
    /// A fact is registered that comes from the run object ([`OBJECT_FACTS`]).
    #[error("/{0}: a fact of the run object, which nobody registers beside it")]
    OfTheObject(FactName),
    /// A name is not that of a fact.
    #[error("/{}: {problem}", .problem.found)]
    Name {
        /// The problem with it.
        problem: IdentifierError,
    },
    /// Two facts have one name.
    #[error("/{0}: the fact is given twice")]
    Duplicate(FactName),
    /// A value is not a text.
    #[error("/{name}: expected a text, found {found}")]
    NotText {
        /// The fact.
        name: FactName,
        /// The kind of value that was found.
        found: &'static str,
    },
    /// A value is too long.
    #[error("/{name}: expected at most {MAX_FACT_VALUE_BYTES} bytes, found {bytes}")]
    TooLong {
        /// The fact.
        name: FactName,
        /// Length of its value.
        bytes: usize,
    },
    /// A value has a control character.
    #[error("/{name}: expected a text without control characters")]
    ControlCharacter {
        /// The fact.
        name: FactName,
    },
}

impl Facts {
    /// Parses names and values.
    ///
    /// # Errors
    /// When there are too many, a name or a value is out of its bounds, or a name is given twice.
    pub fn new<'f>(
        facts: impl IntoIterator<Item = (&'f str, &'f str)>,
    ) -> Result<Self, FactsError> {
        let mut all = Self::default();
        for (name, value) in facts {
            all.insert(fact_name(name)?, value)?;
        }
        all.bounded()
    }

    /// Parses a JSON object whose members are the facts. A key that appears twice refuses the whole.
    ///
    /// # Errors
    /// When the text is not such an object, or the facts are refused.
    pub fn from_json(text: &[u8]) -> Result<Self, FactsError> {
        Self::from_value(&strict_json::parse(
            text,
            JsonLimits { bytes: MAX_FACTS_BYTES, depth: 2 },
        )?)
    }

    pub(crate) fn from_value(value: &Value<'_>) -> Result<Self, FactsError> {
        let Value::Object(members) = value else {
            return Err(FactsError::NotObject { found: value.kind() });
        };
        let mut all = Self::default();
        for (name, value) in members.iter() {
            let name = fact_name(name)?;
            match value {
                Value::String(value) => all.insert(name, value)?,
                other => return Err(FactsError::NotText { name, found: other.kind() }),
            }
        }
        all.bounded()
    }

    fn insert(&mut self, name: FactName, value: &str) -> Result<(), FactsError> {
        if value.len() > MAX_FACT_VALUE_BYTES {
            return Err(FactsError::TooLong { name, bytes: value.len() });
        }
        if value.contains(char::is_control) {
            return Err(FactsError::ControlCharacter { name });
        }
        match self.0.insert(name.clone(), value.into()) {
            None => Ok(()),
            Some(_) => Err(FactsError::Duplicate(name)),
        }
    }

    fn bounded(self) -> Result<Self, FactsError> {
        match self.0.len() {
            0..=MAX_FACTS => Ok(self),
            found => Err(FactsError::TooMany { found }),
        }
    }

    /// Checks facts that somebody registers.
    ///
    /// # Errors
    /// When there are more than [`MAX_REGISTERED_FACTS`], or one is of the host ([`RUNNER_FACTS`]) or of the run object
    /// ([`OBJECT_FACTS`]).
    pub fn check_registered(&self) -> Result<(), FactsError> {
        if let Some(name) = self.0.keys().find(|name| RUNNER_FACTS.contains(&name.as_str())) {
            return Err(FactsError::OfTheHost(name.clone()));
        }
        let of_object =
            |name: &&FactName| OBJECT_FACTS.iter().any(|fact| fact.name == name.as_str());
        if let Some(name) = self.0.keys().find(of_object) {
            return Err(FactsError::OfTheObject(name.clone()));
        }
        match self.0.len() {
            0..=MAX_REGISTERED_FACTS => Ok(()),
            found => Err(FactsError::TooManyRegistered { found }),
        }
    }

    /// The same facts with those of the runner ([`RUNNER_FACTS`]): its workspace and its kind; or with none of them, where
    /// the host does not know the runner.
    ///
    /// # Errors
    /// When there would be more than [`MAX_FACTS`].
    pub fn with_runner(&self, runner: Option<(&Workspace, &str)>) -> Result<Self, FactsError> {
        let mut facts = self.clone();
        facts.0.retain(|name, _| !RUNNER_FACTS.contains(&name.as_str()));
        if let Some((workspace, kind)) = runner {
            for (name, value) in RUNNER_FACTS.into_iter().zip([kind, workspace.as_str()]) {
                facts.insert(fact_name(name)?, value)?;
            }
        }
        facts.bounded()
    }

    /// The same facts, with those of `others` that have another name.
    ///
    /// # Errors
    /// When there would be more than [`MAX_FACTS`].
    pub fn with_others(&self, others: &Self) -> Result<Self, FactsError> {
        let mut all = others.0.clone();
        all.extend(self.0.clone());
        Self(all).bounded()
    }

    /// The facts, in the order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&FactName, &str)> {
        self.0.iter().map(|(name, value)| (name, &**value))
    }

    /// The value of a fact.
    pub fn get(&self, name: &FactName) -> Option<&str> {
        self.0.get(name).map(|value| &**value)
    }

    /// Returns true if there is no fact.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of facts.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The same facts without one.
    #[must_use]
    pub fn without(&self, name: &FactName) -> Self {
        let mut others = self.clone();
        others.0.remove(name);
        others
    }

    /// The same facts with one changed or added.
    ///
    /// # Errors
    /// When the value is out of its bounds, or there would be too many.
    pub fn with(&self, name: FactName, value: &str) -> Result<Self, FactsError> {
        let mut others = self.without(&name);
        others.insert(name, value)?;
        others.bounded()
    }
}

fn fact_name(text: &str) -> Result<FactName, FactsError> {
    FactName::parse(text).map_err(|problem| FactsError::Name { problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refuses(text: &str, expected: &str) {
        let error = Facts::from_json(text.as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }

    #[test]
    fn facts_are_bounded_and_kept_in_the_order_of_names() {
        let facts = Facts::from_json(br#"{"b": "", "a": "1", "Cost.Centre/x:y_z-1": "\u00fc"}"#);
        let facts = facts.unwrap();
        let all: Vec<_> = facts.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert_eq!(all, [("Cost.Centre/x:y_z-1", "ü"), ("a", "1"), ("b", "")]);
        assert_eq!(Facts::new(all.iter().copied()), Ok(facts.clone()));
        let (a, long) = (FactName::parse("a").unwrap(), "x".repeat(MAX_FACT_VALUE_BYTES));
        assert_eq!(facts.with(a.clone(), &long).unwrap().get(&a), Some(&*long));
        assert_eq!(facts.without(&a).len(), 2);

        let many = |count: usize| {
            let facts: Vec<_> = (0..count).map(|n| format!(r#""f{n}": """#)).collect();
            Facts::from_json(format!("{{{}}}", facts.join(",")).as_bytes())
        };
        assert_eq!(many(MAX_FACTS).unwrap().len(), MAX_FACTS);
        assert_eq!(many(MAX_FACTS + 1), Err(FactsError::TooMany { found: 65 }));
        assert!(many(MAX_FACTS).unwrap().with(a, "").is_err());
        assert!(Facts::from_json(b"{}").unwrap().is_empty());
    }

    #[test]
    fn facts_of_the_runner_are_the_hosts_alone() {
        let workspace = Workspace::parse("platform").unwrap();
        let registered = Facts::from_json(br#"{"a": "1"}"#).unwrap();
        assert_eq!(registered.check_registered(), Ok(()));
        let known = registered.with_runner(Some((&workspace, "dedicated"))).unwrap();
        let all: Vec<_> = known.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let of_runner = [("runner-kind", "dedicated"), ("runner-workspace", "platform")];
        assert_eq!(all, [&[("a", "1")][..], &of_runner].concat());
        for (name, value) in of_runner {
            let pretended = Facts::new([(name, value)]).unwrap();
            let error = pretended.check_registered().unwrap_err();
            assert!(matches!(error, FactsError::OfTheHost(_)), "{error}");
            // Also where an earlier version took it.
            assert!(pretended.with_runner(None).unwrap().is_empty());
            assert_eq!(pretended.with_runner(Some((&workspace, "shared"))).unwrap().len(), 2);
        }
        let many = |count: usize| {
            let names: Vec<_> = (0..count).map(|n| format!("f{n}")).collect();
            Facts::new(names.iter().map(|name| (name.as_str(), ""))).unwrap()
        };
        assert_eq!(many(MAX_REGISTERED_FACTS).check_registered(), Ok(()));
        let found = MAX_FACTS - 1;
        let too_many = Err(FactsError::TooManyRegistered { found });
        assert_eq!(many(found).check_registered(), too_many);
        assert!(many(found).with_runner(Some((&workspace, "shared"))).is_err());
        // With those of the run object, there is room for all.
        let of_object = Facts::new(OBJECT_FACTS.iter().map(|fact| (fact.name, "x"))).unwrap();
        let registered = many(MAX_REGISTERED_FACTS).with_others(&of_object).unwrap();
        assert_eq!(registered.with_runner(Some((&workspace, "shared"))).unwrap().len(), MAX_FACTS);
        assert!(many(MAX_REGISTERED_FACTS + 3).with_others(&of_object).is_err());
        let error = of_object.check_registered().unwrap_err().to_string();
        let expected =
            "/building-block-name: a fact of the run object, which nobody registers beside it";
        assert_eq!(error, expected);
    }

    #[test]
    fn what_is_no_fact_refuses() {
        refuses("[]", "expected an object of texts, found an array");
        refuses("{", "line 1");
        refuses(r#"{"a": "1", "a": "2"}"#, "line 1, column 14: the key `a` appears twice");
        refuses(r#"{"a": "1", "\u0061": "2"}"#, "line 1");
        refuses(r#"{"a": 1}"#, "/a: expected a text, found a number");
        refuses(r#"{"a": null}"#, "/a: expected a text, found null");
        refuses(r#"{"a": {}}"#, "/a: expected a text, found an object");
        refuses(r#"{"a": {"b": {}}}"#, "line 1, column 14: nested deeper than 2 levels");
        refuses(r#"{"a": "s3cr3t\n"}"#, "/a: expected a text without control characters");
        refuses(r#"{"a": "\u0085"}"#, "/a: expected a text without control characters");
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(MAX_FACT_VALUE_BYTES + 1));
        refuses(&long, "/a: expected at most 1024 bytes, found 1025");
        for name in ["", "1a", "-a", "a b", "ä", "implementation-type", "author-kind"] {
            refuses(&format!(r#"{{"{name}": ""}}"#), &format!("/{name}: expected a fact name"));
        }
        assert!(Facts::from_json(format!(r#"{{"{}": ""}}"#, "a".repeat(128)).as_bytes()).is_ok());
        assert!(Facts::from_json(format!(r#"{{"{}": ""}}"#, "a".repeat(129)).as_bytes()).is_err());
        let twice = Facts::new([("a", "1"), ("a", "1")]).unwrap_err();
        assert_eq!(twice.to_string(), "/a: the fact is given twice");
    }
}
