//! Evaluates policies by `regorus` and `cedar-policy` as libraries, without a sandbox and without the components'
//! code: the reference that the components are compared with.
//!
//! The first line of the input is `{"rego": settings}` or `{"cedar": settings}`, each further one `{"run": …,
//! "token": …}`. The answer to each of those is a line of JSON: the codes of a denial, sorted, in a list; the grant of
//! a permit or a restriction, with its `verdict`; `"abstain"`; or `"fault"`.

#![allow(clippy::indexing_slicing, reason = "absent members of JSON are null; for tests")]

use std::error::Error;
use std::io::{self, BufRead, BufWriter, Write};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityId, EntityTypeName, EntityUid, PolicySet,
    Request,
};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Answers one question.
type Engine = Box<dyn FnMut(&Value) -> Result<Value>>;

fn main() -> Result<()> {
    let mut lines = io::stdin().lock().lines();
    let setup: Value = serde_json::from_str(&lines.next().ok_or("no first line")??)?;
    let mut engine: Engine = match (setup.get("rego"), setup.get("cedar")) {
        (Some(settings), None) => rego(settings)?,
        (None, Some(settings)) => cedar(settings)?,
        _ => return Err("expected `rego` or `cedar`".into()),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for line in lines {
        writeln!(out, "{}", engine(&serde_json::from_str(&line?)?)?)?;
    }
    Ok(out.flush()?)
}

fn rego(settings: &Value) -> Result<Engine> {
    let mut engine = regorus::Engine::new();
    let text = settings["policy"].as_str().ok_or("no policy")?;
    engine.add_policy("policy.rego".to_owned(), text.to_owned())?;
    if let Some(data) = settings.get("data") {
        engine.add_data_json(&data.to_string())?;
    }
    Ok(Box::new(move |asked| {
        engine.set_input_json(&asked.to_string())?;
        // The package as a whole, where the component evaluates rule by rule.
        let Ok(results) = engine.eval_query("data.countersign".to_owned(), false) else {
            return Ok(json!("fault"));
        };
        let package = results.result.first().and_then(|result| result.expressions.first());
        let package: Value = match package {
            Some(expression) => serde_json::from_str(&expression.value.to_json_str()?)?,
            None => json!({}),
        };
        let mut codes: Vec<&str> = Vec::new();
        for reason in package["deny"].as_array().into_iter().flatten() {
            codes.push(reason["code"].as_str().ok_or("no code")?);
        }
        let nothing = json!({});
        let grant = |rule: &str| match &package[rule] {
            Value::Bool(true) => Some(nothing.clone()),
            grant @ Value::Object(_) => Some(grant.clone()),
            _ => None,
        };
        let (verdict, grant) = match (grant("permit"), grant("restrict")) {
            (Some(_), Some(_)) => return Ok(json!("fault")),
            _ if !codes.is_empty() => {
                codes.sort_unstable();
                return Ok(json!(codes));
            }
            (Some(grant), None) => ("permit", grant),
            (None, Some(grant)) => ("restrict", grant),
            (None, None) => return Ok(json!("abstain")),
        };
        let seconds = grant["max_ttl"].as_u64().into_iter();
        granted(verdict, asked, seconds, grant["audiences"].as_array(), &grant["claims"])
    }))
}

fn cedar(settings: &Value) -> Result<Engine> {
    let policies: PolicySet = settings["policies"].as_str().ok_or("no policies")?.parse()?;
    let entities = settings.get("entities").cloned().unwrap_or_else(|| json!([]));
    let entities = Entities::from_json_value(entities, None)?;
    let authorizer = Authorizer::new();
    let default = settings.get("default-verdict").cloned().unwrap_or_else(|| json!("deny"));
    Ok(Box::new(move |asked| {
        let text = |pointer: &str| -> Result<String> {
            Ok(asked.pointer(pointer).and_then(Value::as_str).ok_or("no text")?.to_owned())
        };
        let mut context = asked.clone();
        let run = context["run"].as_object_mut().ok_or("no run")?;
        // In Cedar the behavior is the action, and facts are a set.
        run.remove("behavior");
        run.insert("facts".to_owned(), json!([]));
        let request = Request::new(
            entity("Workspace", &text("/run/building_block/workspace")?)?,
            entity("Action", &text("/run/behavior")?)?,
            entity("Definition", &text("/run/definition/id")?)?,
            Context::from_json_value(context, None)?,
            None,
        )?;
        let response = authorizer.is_authorized(&request, &policies, &entities);
        if response.diagnostics().errors().next().is_some() {
            return Ok(json!("fault"));
        }
        let annotation = |key: &str| -> Vec<String> {
            let policies = response.diagnostics().reason().filter_map(|id| policies.policy(id));
            let mut found: Vec<_> =
                policies.filter_map(|policy| Some(policy.annotation(key)?.to_owned())).collect();
            found.sort_unstable();
            found
        };
        Ok(match response.decision() {
            Decision::Allow => {
                let ceilings = annotation("max_ttl");
                let ceilings = ceilings.into_iter().filter_map(|text| text.parse().ok());
                let allowing = response.diagnostics().reason().count();
                let restricts = annotation("restrict").len() == allowing;
                let verdict = if restricts { "restrict" } else { "permit" };
                granted(verdict, asked, ceilings, None, &Value::Null)?
            }
            Decision::Deny => match (annotation("code"), default.as_str()) {
                (codes, _) if !codes.is_empty() => json!(codes),
                (_, Some("restrict")) => {
                    granted("restrict", asked, std::iter::empty(), None, &Value::Null)?
                }
                (_, Some("abstain")) => json!("abstain"),
                _ => json!(["no-policy-permits"]),
            },
        })
    }))
}

/// A permit or a restriction: the lowest ceiling, and those of the requested audiences that are kept.
fn granted(
    verdict: &str,
    asked: &Value,
    ceilings: impl Iterator<Item = u64>,
    kept: Option<&Vec<Value>>,
    claims: &Value,
) -> Result<Value> {
    let requested = asked["token"]["ttl_seconds"].as_u64().ok_or("no ttl_seconds")?;
    let audiences = asked["token"]["audiences"].as_array().ok_or("no audiences")?;
    let mut audiences: Vec<_> = audiences
        .iter()
        .filter(|audience| kept.is_none_or(|kept| kept.contains(audience)))
        .filter_map(Value::as_str)
        .collect();
    audiences.sort_unstable();
    let claims = claims.as_object().cloned().unwrap_or_default();
    Ok(json!({
        "verdict": verdict,
        "seconds": ceilings.fold(requested, u64::min),
        "audiences": audiences,
        "claims": claims,
    }))
}

fn entity(kind: &str, id: &str) -> Result<EntityUid> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}
