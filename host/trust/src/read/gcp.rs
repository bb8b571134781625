//! GCP: reads providers of workload identity pools.

mod binding;

use countersign_clouds::Cloud;

use super::note_unknown;
use crate::condition::Condition;
use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{MatchKind, Pool, StatementKind, Test, TrustStatement, UnknownEffect};

pub(super) use binding::{bindings, policy, policy_data};

/// The part of a name before the pool's id.
const POOLS: &str = "/workloadIdentityPools/";

/// Reads a provider; `None` if the node is not one.
pub(super) fn provider(node: &Node) -> Option<Vec<TrustStatement>> {
    let Some(oidc) = node.get("oidc").and_then(|oidc| oidc.elements().first()) else {
        // Providers for AWS, SAML and X.509 take no tokens of an OpenID Connect issuer.
        let is_other = node.any(&["aws", "saml", "x509"]).is_some()
            && node
                .any(&[
                    "attributeMapping",
                    "attribute_mapping",
                    "workload_identity_pool_provider_id",
                    "name",
                ])
                .is_some();
        return is_other.then(Vec::new);
    };
    let issuer = oidc.any(&["issuerUri", "issuer_uri"])?;
    let named =
        node.any(&["workload_identity_pool_provider_id", "workloadIdentityPoolProviderId", "name"]);
    let owner = named.and_then(Node::text).map(|text| text.text).unwrap_or_default();
    let mut statement = TrustStatement::new(Cloud::Gcp, node.place.clone(), owner);
    for (name, off) in [("disabled", "true"), ("state", "DELETED")] {
        let Some(member) = node.any(&[name]) else { continue };
        match member.known() {
            Some(value) if value == off => return Some(Vec::new()),
            Some(_) => {}
            None => {
                statement.note(UnknownEffect::NarrowsAside, &member.place, format!("`{name}`"));
            }
        }
    }
    statement.kind = StatementKind::Provider;
    statement.issuer = issuer.text();
    let id =
        node.any(&["workload_identity_pool_id", "workloadIdentityPoolId"]).and_then(Node::text);
    let of_name = node.any(&["name"]).and_then(Node::text);
    statement.pool = id.as_ref().and_then(pool).or_else(|| of_name.as_ref().and_then(pool_of_path));
    if let Some(audiences) = oidc.any(&["allowedAudiences", "allowed_audiences"]) {
        let values = audiences.texts();
        if !values.is_empty() {
            statement.audiences.push(Test::exact(values, audiences.place.clone()));
        }
    }
    let attribute_mapping = node.any(&["attributeMapping", "attribute_mapping"]);
    if let Some(Node { value: Value::Unknown(unknown), place }) = attribute_mapping {
        let what = format!("`{}`", unknown.written);
        statement.note(UnknownEffect::HidesTests, place, what);
    }
    let members = attribute_mapping.map(Node::members).unwrap_or_default();
    if let Some((_, expression)) = members.iter().find(|(name, _)| name == "google.subject")
        && let Some(text) = expression.text().filter(|text| text.text.trim() != "assertion.sub")
    {
        let place = expression.place.clone();
        statement.subjects.push(Test::new(MatchKind::Mapping, vec![text], place, "google.subject"));
    }
    let mapping: Vec<_> = members
        .iter()
        .filter_map(|(name, expression)| Some((name.clone(), expression.text()?)))
        .collect();
    let attributes = mapping.iter().filter(|(name, _)| name.starts_with("attribute."));
    statement.attributes = attributes.cloned().collect();
    if let Some(at) = node.any(&["attributeCondition", "attribute_condition"]) {
        condition(&mut statement, at, &mapping);
    }
    note_unknown(&mut statement);
    Some(vec![statement])
}

/// A pool that is disabled, so that it admits nobody; or may be, if its `disabled` is not known.
pub(crate) struct DisabledPool {
    id: Option<Pool>,
    /// The resource, `google_iam_workload_identity_pool.NAME`, by which others refer to it.
    resource: String,
    is_known: bool,
}

/// Finds the pools among resources that are disabled, or may be.
pub(crate) fn disabled_pools<'b>(blocks: impl Iterator<Item = &'b Block>) -> Vec<DisabledPool> {
    let is_pool = |block: &&Block| {
        block.kind == "resource"
            && block.labels.first().is_some_and(|kind| kind == "google_iam_workload_identity_pool")
    };
    let disabled = blocks.filter(is_pool).filter_map(|block| {
        let disabled = block.body.any(&["disabled"])?.known();
        let id = block.body.get("workload_identity_pool_id").and_then(Node::text);
        (disabled.as_deref() != Some("false")).then(|| DisabledPool {
            id: id.as_ref().and_then(pool),
            resource: block.labels.join("."),
            is_known: disabled.is_some(),
        })
    });
    disabled.collect()
}

/// Drops the statements of pools that are disabled. Of a pool that may be one of these, the statements admit nobody for
/// certain.
pub(crate) fn without_disabled(statements: &mut Vec<TrustStatement>, pools: &[DisabledPool]) {
    let is_of = |statement: &TrustStatement, pool: &DisabledPool| match &statement.pool {
        // One of several instances may be another one's.
        Some(Pool::Expression(name)) => name.split('[').next() == Some(pool.resource.as_str()),
        Some(id) => pool.id.as_ref() == Some(id),
        None => false,
    };
    let is_id = |statement: &TrustStatement| matches!(statement.pool, Some(Pool::Id(_)));
    statements.retain(|statement| {
        !(is_id(statement) && pools.iter().any(|pool| pool.is_known && is_of(statement, pool)))
    });
    for statement in statements {
        if pools.iter().any(|pool| is_of(statement, pool)) {
            let place = statement.place.clone();
            statement.note(UnknownEffect::NarrowsAside, &place, "`disabled` of the pool");
        }
    }
}

/// Reads the condition of a provider.
fn condition(statement: &mut TrustStatement, at: &Node, mapping: &[(String, Text)]) {
    let text = match at.text() {
        Some(text) if text.known && text.text.trim().is_empty() => return,
        Some(text) if !is_expression(&text) => text,
        Some(text) => {
            return statement.note(
                UnknownEffect::HidesTests,
                &at.place,
                format!("`{}`", text.text),
            );
        }
        None => return statement.note(UnknownEffect::HidesTests, &at.place, "the condition"),
    };
    match Condition::parse(&text, mapping, &at.place) {
        Ok(mut condition) => {
            let uncertain = |test: &mut Test| {
                for value in &mut test.values {
                    value.known &= text.known || text.origin.is_none();
                    value.origin = value.origin.take().or_else(|| text.origin.clone());
                }
            };
            condition.subjects.iter_mut().for_each(uncertain);
            condition.audiences.iter_mut().for_each(uncertain);
            statement.subjects.extend(condition.subjects.iter().cloned());
            statement.audiences.extend(condition.audiences.iter().cloned());
            if !condition.followed {
                let what = "a condition on other claims, or over lists";
                let effect = match condition.is_exact {
                    true => UnknownEffect::NarrowsAside,
                    false => UnknownEffect::Narrows,
                };
                statement.note(effect, &at.place, what);
            }
            statement.condition = Some(condition);
        }
        Err(problem) => statement.note(UnknownEffect::HidesTests, &at.place, problem),
    }
}

/// Returns true if the text is a single expression, so that nothing of it is known.
fn is_expression(text: &Text) -> bool {
    let inner = text.text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    !text.known && inner.is_some_and(|inner| !inner.contains('}'))
}

/// The pool of an id.
fn pool(id: &Text) -> Option<Pool> {
    if let Some(of_path) = pool_of_path(id) {
        return Some(of_path);
    }
    (!id.text.is_empty()).then(|| of_part(&id.text, id.known))
}

/// The pool in the name of a provider, of a pool or of a principal.
fn pool_of_path(path: &Text) -> Option<Pool> {
    let (_, rest) = path.text.split_once(POOLS)?;
    let end = if rest.starts_with("${") {
        rest.find('}')? + 1
    } else {
        rest.find('/').unwrap_or(rest.len())
    };
    let id = rest.get(..end)?;
    Some(of_part(id, !id.contains("${") && (path.known || path.origin.is_none())))
}

/// The pool of an id that may be an expression: attributes of one resource are one pool.
fn of_part(id: &str, known: bool) -> Pool {
    if known {
        return Pool::Id(id.to_owned());
    }
    let expression = id.strip_prefix("${").and_then(|id| id.strip_suffix('}')).unwrap_or(id);
    let resource = ["name", "id", "workload_identity_pool_id"]
        .iter()
        .find_map(|attribute| expression.strip_suffix(attribute)?.strip_suffix('.'));
    Pool::Expression(resource.unwrap_or(expression).to_owned())
}
