//! Bodies of registrations: the run object alone, or with facts beside it.

use countersign::{Facts, MAX_RUN_BYTES, MAX_RUN_DEPTH, Run, check_json_with_run};
use countersign_issuer::{Problem, SecretHash, run_token_of};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The media type of a run object with facts beside it.
pub(super) const REGISTRATION_TYPE: &str = "application/vnd.countersign.registration+json";

/// The room in bytes for facts, beside the run object: as many as are allowed, with every byte escaped.
pub(super) const MAX_FACTS_BYTES: usize = 512 << 10;

/// A run object, and what the control plane knows beyond it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistrationBody<'b> {
    #[serde(borrow)]
    run: &'b RawValue,
    #[serde(borrow, default)]
    facts: Option<&'b RawValue>,
}

/// A body, parsed. Its secrets are dropped; of the run token there is a hash.
pub(super) struct Registered {
    pub(super) run: Run,
    pub(super) run_token: Option<SecretHash>,
    pub(super) facts: Facts,
}

/// Parses a bare run object.
pub(super) fn run_object(object: &[u8]) -> Result<Registered, Problem> {
    registered(object, "", Facts::default())
}

/// Parses `{"run": <run object>, "facts": {"name": "value"}}`; both are read as strictly as they are alone.
pub(super) fn registration(body: &[u8]) -> Result<Registered, Problem> {
    check_json_with_run(body, MAX_RUN_BYTES + MAX_FACTS_BYTES, MAX_RUN_DEPTH + 1)
        .map_err(|error| Problem::invalid(error.to_string()))?;
    let body: RegistrationBody<'_> = serde_json::from_slice(body).map_err(|_| {
        // serde's own message could repeat a value.
        Problem::invalid("expected an object with `run` and, where there are some, `facts`")
    })?;
    registered(body.run.get().as_bytes(), "/run", facts(body.facts)?)
}

/// Parses the member `facts` of a request.
pub(super) fn facts(facts: Option<&RawValue>) -> Result<Facts, Problem> {
    facts.map_or_else(
        || Ok(Facts::default()),
        |facts| {
            let facts = Facts::from_json(facts.get().as_bytes());
            facts
                .and_then(|facts| facts.check_registered().map(|()| facts))
                .map_err(|error| Problem::invalid(format!("/facts: {error}")))
        },
    )
}

/// Parses a run object, and puts the facts that it has beside the registered ones.
pub(super) fn with_facts(
    object: &[u8],
    place: &str,
    registered: &Facts,
) -> Result<(Run, Facts), Problem> {
    let parsed = Run::parse_with_facts(object);
    let (run, own) = parsed.map_err(|error| Problem::invalid(format!("{place}{error}")))?;
    let facts = registered.with_others(&own);
    Ok((run, facts.map_err(|error| Problem::invalid(format!("/facts: {error}")))?))
}

fn registered(object: &[u8], place: &str, facts: Facts) -> Result<Registered, Problem> {
    let (run, facts) = with_facts(object, place, &facts)?;
    let run_token =
        run_token_of(object).map_err(|error| Problem::invalid(format!("{place}{error}")))?;
    Ok(Registered { run, run_token, facts })
}
