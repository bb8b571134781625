//! STACKIT: reads federated identity providers of service accounts.

use countersign_clouds::Cloud;

use super::note_unknown;
use crate::node::{Node, Value};
use crate::trust_statement::{MatchKind, Test, TrustStatement, UnknownEffect};

/// Reads a provider; `None` if the node is not one.
pub(super) fn provider(node: &Node) -> Option<Vec<TrustStatement>> {
    node.get("assertions")?;
    resource(node)
}

/// Reads a provider that is known to be one: without assertions it admits every token of the issuer.
pub(super) fn resource(node: &Node) -> Option<Vec<TrustStatement>> {
    let issuer = node.get("issuer")?;
    let owner = node
        .any(&["service_account_email", "serviceAccountEmail", "email"])
        .and_then(Node::text)
        .map(|text| text.text);
    let mut statement =
        TrustStatement::new(Cloud::Stackit, node.place.clone(), owner.unwrap_or_default());
    statement.issuer = issuer.text();
    if let Some(Node { value: Value::Unknown(unknown), place }) = node.get("assertions") {
        statement.note(UnknownEffect::HidesTests, place, format!("`{}`", unknown.written));
    }
    let assertions = node.get("assertions").map(Node::elements).unwrap_or_default();
    for assertion in assertions.iter().filter(|assertion| assertion.written().is_none()) {
        let text = |name| assertion.get(name).and_then(Node::text);
        let (Some(item), Some(operator)) = (text("item"), text("operator")) else {
            statement.note(UnknownEffect::HidesTests, &assertion.place, "an assertion");
            continue;
        };
        let kind = if operator.text == "equals" { MatchKind::Exact } else { MatchKind::Other };
        let values = assertion.get("value").map(Node::texts).unwrap_or_default();
        let place = assertion.place.clone();
        // Each token of the issuer has its name.
        let is_issuer = |test: &Test| {
            let issuer = statement.issuer.as_ref().filter(|issuer| issuer.known);
            let is_same = |value: &crate::node::Text| {
                issuer.is_some_and(|i| value.known && i.text == value.text)
            };
            test.kind == MatchKind::Exact && test.values.iter().any(is_same)
        };
        let is_other_issuer = |test: &Test| {
            let is_known = statement.issuer.as_ref().is_some_and(|issuer| issuer.known);
            let all_known = !test.values.is_empty() && test.values.iter().all(|value| value.known);
            test.kind == MatchKind::Exact && is_known && all_known && !is_issuer(test)
        };
        let test = Test::new(kind, values, place, &operator.text);
        match item.text.as_str() {
            "sub" => statement.subjects.push(test),
            "aud" => statement.audiences.push(test),
            "iss" if is_issuer(&test) => {}
            "iss" if is_other_issuer(&test) => {
                let named = test.values.first().map(|value| value.text.as_str());
                let what = format!(
                    "no token of the provider has the issuer `{}`, so nobody is admitted: write the provider's own",
                    named.unwrap_or_default()
                );
                statement.never.push((test.place, what));
            }
            other => {
                let what = format!("an assertion on `{other}`");
                statement.note(UnknownEffect::Narrows, &test.place, what);
            }
        }
    }
    note_unknown(&mut statement);
    Some(vec![statement])
}
