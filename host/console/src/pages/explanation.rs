//! The explanation of a decision: which claims determined it.

use std::sync::Arc;

use askama::Template;
use countersign::Digest;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::record::read;
use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::explain::{self, ExplanationView};
use crate::frame::Frame;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::record::{Parsed, ReasonView, RecordLine};
use crate::text::Text;

#[derive(Template, Serialize)]
#[template(path = "explanation.html")]
struct ExplainedView {
    log: Frame,
    sequence: u64,
    policy_set: Option<Text>,
    explanation: Option<ExplanationView>,
    /// The reason that there is no explanation.
    problem: Option<Text>,
    #[serde(skip)]
    line: RecordLine,
    #[serde(skip)]
    reasons: Vec<ReasonView>,
}

impl View for ExplainedView {
    fn lines(&self) -> Vec<Value> {
        vec![value(self)]
    }
}

pub(crate) async fn explanation(
    asked: &PageRequest<'_>,
    sequence: &str,
) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let read = read(asked, sequence).await?;
    let line = RecordLine::new(&read);
    let (explanation, problem) = match &read.record {
        Err(damage) => (None, Some(format!("the record is not what was verified: {damage}"))),
        Ok(record) => match explained(asked, record).await {
            Ok(explanation) => (Some(ExplanationView::clone(&explanation)), None),
            Err(problem) => (None, Some(problem)),
        },
    };
    let reasons = read.record.as_ref().map_or_else(
        |_| Vec::new(),
        |record| {
            let parsed = Parsed::of(record);
            let mut reasons = parsed.reasons("/decision/reasons");
            reasons.extend(parsed.reasons("/reasons"));
            reasons
        },
    );
    let view = ExplainedView {
        log: asked.frame("records"),
        sequence: read.sequence,
        policy_set: line.policy_set.clone(),
        explanation,
        problem: problem.map(Text::from),
        line,
        reasons,
    };
    respond(asked.format, &view)
}

/// The members of a record that its decision is found by.
#[derive(serde::Deserialize)]
struct DecisionMember<'r> {
    #[serde(borrow, default)]
    decision: Option<&'r serde_json::value::RawValue>,
}

async fn explained(asked: &PageRequest<'_>, record: &[u8]) -> Result<Arc<ExplanationView>, String> {
    let member: DecisionMember<'_> = serde_json::from_slice(record)
        .map_err(|_| "the record is not one that this version reads")?;
    let decision = member.decision.ok_or(
        "no policy was asked: the request was refused, or the change made, before that, so no claim determined it",
    )?;
    let decision = decision.get().to_owned();
    let recorded = explain::read(&decision)?;
    let (id, policy_set) = (recorded.id.to_string(), recorded.policy_set);
    let console = asked.console;
    if let Some(explanation) = console.explained(&id) {
        return Ok(explanation);
    }
    let turn = Arc::clone(&console.explaining).acquire_owned();
    let turn = turn.await.map_err(|_| "the console stops")?;
    if let Some(explanation) = console.explained(&id) {
        return Ok(explanation);
    }
    let policies = Arc::clone(&console.policies);
    let made = tokio::task::spawn_blocking(move || {
        // Kept until the end: a page that is given up does not end what was begun for it.
        let _turn = turn;
        let Some(known) = policies.find(policy_set)? else {
            return Err(gone(policy_set, policies.known().len()));
        };
        explain::explain_decision(&decision, &known)
    });
    let explanation = Arc::new(made.await.map_err(|_| "the explanation failed")??);
    console.keep_explained(id, Arc::clone(&explanation));
    Ok(explanation)
}

/// The advice where the components of a decision are gone.
fn gone(policy_set: Digest, known: usize) -> String {
    format!(
        "the policy set that decided is not available: {policy_set}, none of the {known} that this console was given. Start it \
         with `--policies` and the manifest that decided, with its components as they were then, or with `--config`, which \
         finds the releases of a service"
    )
}
