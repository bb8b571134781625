//! GCP: providers of workload identity pools, and bindings of their principals.

use countersign::Cloud;

use super::note_unknown;
use crate::condition::Condition;
use crate::grant::{Grant, How, May, Part, Test};
use crate::node::{Node, Text};

/// A provider; `None` where it is none.
pub(super) fn provider(node: &Node) -> Option<Vec<Grant>> {
    let oidc = node.get("oidc")?.elements().first()?;
    let issuer = oidc.any(&["issuerUri", "issuer_uri"])?;
    let mut grant = Grant::new(Cloud::Gcp, node.place.clone(), "providers of pools".to_owned());
    grant.part = Part::Provider;
    grant.issuer = issuer.text();
    if let Some(audiences) = oidc.any(&["allowedAudiences", "allowed_audiences"]) {
        let values = audiences.texts();
        if !values.is_empty() {
            grant.audiences.push(Test::exact(values, audiences.place.clone()));
        }
    }
    let mapping = node.any(&["attributeMapping", "attribute_mapping"]);
    let subject = mapping.and_then(|mapping| mapping.get("google.subject")).and_then(Node::text);
    let condition = node.any(&["attributeCondition", "attribute_condition"]);
    if let Some((at, text)) = condition.and_then(|node| Some((node, node.text()?))) {
        match Condition::parse(&text, subject.as_ref(), &at.place) {
            Ok(mut condition) => {
                grant.subjects.append(&mut condition.subjects);
                grant.audiences.append(&mut condition.audiences);
                grant.condition = Some(condition);
            }
            Err(problem) => grant.note(May::Hide, &at.place, problem),
        }
    }
    note_unknown(&mut grant);
    Some(vec![grant])
}

/// Bindings of principals of pools; `None` where there are none.
pub(super) fn bindings(node: &Node) -> Option<Vec<Grant>> {
    let members = node.any(&["members", "member"])?;
    let grants: Vec<_> = members.elements().iter().filter_map(binding).collect();
    (!grants.is_empty()).then_some(grants)
}

/// `principal://iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/subject/S`, and sets of
/// them: `principalSet://…/P/*`, `…/P/attribute.NAME/VALUE`.
fn binding(member: &Node) -> Option<Grant> {
    let Text { text, known } = member.text()?;
    let (kind, rest) = text.split_once("://")?;
    let (_, principal) = rest.split_once("/subject/").or_else(|| {
        // What names the pool may not be known.
        rest.split_once("/workloadIdentityPools/").map(|(pools, pool)| {
            let within = pool.split_once('/').map(|(_, within)| within);
            (pools, within.unwrap_or_default())
        })
    })?;
    let mut grant = Grant::new(Cloud::Gcp, member.place.clone(), "principals of pools".to_owned());
    grant.part = Part::Binding;
    let test = |how, written: &str, value: &str| Test {
        how,
        values: vec![Text { text: value.to_owned(), known: known || !value.contains("${") }],
        place: member.place.clone(),
        written: written.to_owned(),
    };
    match kind {
        "principal" => grant.subjects.push(test(How::Exact, "principal", principal)),
        "principalSet" if principal == "*" => {}
        "principalSet" => grant.subjects.push(test(How::Other, "principalSet", principal)),
        _ => return None,
    }
    note_unknown(&mut grant);
    Some(grant)
}
