//! GCP: reads bindings of the principals of workload identity pools.

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use super::super::{is_of_data, json, note_unknown};
use super::{POOLS, of_part, pool_of_path};
use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{MatchKind, StatementKind, Test, TrustStatement, UnknownEffect};

/// The roles that let their members act as a service account.
const IMPERSONATION: &[&str] = &[
    "roles/iam.workloadIdentityUser",
    "roles/iam.serviceAccountTokenCreator",
    "roles/iam.serviceAccountOpenIdTokenCreator",
];

/// The attributes of resources that are always a service account, `serviceAccount:…`.
const ACCOUNTS: &[&str] = &[".member", ".writer_identity", ".iam_email"];

/// A binding without its members.
struct Binding<'n> {
    owner: String,
    /// Set if the members act as a service account, as principals of pools do.
    impersonates: bool,
    condition: Option<&'n Node>,
}

/// Reads bindings of pools' principals; `None` if there are none. `kind` is the kind of the resource, in OpenTofu.
pub(in super::super) fn bindings(node: &Node, kind: &str) -> Option<Vec<TrustStatement>> {
    let members = node.any(&["members", "member"])?;
    let of = node.any(&[
        "service_account_id",
        "project",
        "bucket",
        "resource",
        "name",
        "folder",
        "org_id",
    ]);
    let owner =
        of.and_then(Node::text).map_or_else(|| "principals of pools".to_owned(), |text| text.text);
    // A bucket and an account may have one name.
    let of_kind = ["_member", "_binding", "_policy"].iter().find_map(|end| kind.strip_suffix(end));
    let owner = of_kind.map_or_else(|| owner.clone(), |kind| format!("{kind} {owner}"));
    let role = node.get("role").and_then(Node::text);
    let role = role.map(|role| role.text).unwrap_or_default();
    let binding = Binding {
        impersonates: kind.starts_with("google_service_account_iam")
            || IMPERSONATION.contains(&role.as_str()),
        owner: if role.is_empty() { owner } else { format!("{owner} {role}") },
        condition: node.any(&["condition"]).filter(|condition| !condition.elements().is_empty()),
    };
    let statements: Vec<_> =
        members.elements().iter().filter_map(|member| binding.of(member)).collect();
    (!statements.is_empty()).then_some(statements)
}

/// Reads a `google_iam_policy`: each of its blocks is a binding.
pub(in super::super) fn policy(body: &Node) -> Vec<TrustStatement> {
    let blocks = body.get("binding").map(Node::elements).unwrap_or_default();
    blocks.iter().filter_map(|block| bindings(block, "")).flatten().collect()
}

/// Reads a resource's whole policy, given as JSON or by a data source.
pub(in super::super) fn policy_data(
    policy: &Node,
    block: &Block,
    data: &BTreeSet<String>,
) -> Vec<TrustStatement> {
    let text = policy.text().filter(|text| text.known);
    let parsed = text.and_then(|text| crate::json::parse_at(&text, &policy.place));
    match (parsed, &policy.value) {
        (Some(parsed), _) => json(&parsed),
        (None, Value::Map(_)) => json(policy),
        (None, Value::Unknown(unknown))
            if is_of_data(&unknown.written, "google_iam_policy", data) =>
        {
            Vec::new()
        }
        _ => {
            let mut statement =
                TrustStatement::new(Cloud::Gcp, policy.place.clone(), block.labels.join("."));
            statement.kind = StatementKind::Binding;
            let kind = block.labels.first().map(String::as_str).unwrap_or_default();
            statement.is_aside = !kind.starts_with("google_service_account_iam");
            statement.note(UnknownEffect::HidesTests, &policy.place, "`policy_data`");
            vec![statement]
        }
    }
}

impl Binding<'_> {
    /// Reads a principal, `principal://iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/subject/S`,
    /// or a set of principals: `principalSet://…/P/*`, `…/P/attribute.NAME/VALUE`. Other members present no token.
    fn of(&self, member: &Node) -> Option<TrustStatement> {
        let whole = member.text()?;
        let Text { text, known, .. } = &whole;
        let mut statement =
            TrustStatement::new(Cloud::Gcp, member.place.clone(), self.owner.clone());
        statement.kind = StatementKind::Binding;
        if let Some(condition) = self.condition {
            let expression = condition.elements().first().and_then(|one| one.get("expression"));
            let what = match expression.and_then(Node::text) {
                Some(text) => format!("the binding's condition `{}`", text.text),
                None => "the binding's condition".to_owned(),
            };
            statement.note(UnknownEffect::Narrows, &condition.place, what);
        }
        if matches!(text.as_str(), "allUsers" | "allAuthenticatedUsers") {
            // No issuer is meant. Whoever may act as an account needs no token of one.
            statement.is_public = true;
            if let Some(origin) = &whole.origin {
                let what = format!("`{text}`, {origin}");
                statement.note(UnknownEffect::HidesTests, &member.place, what);
            }
            return self.impersonates.then_some(statement);
        }
        let Some((kind, rest)) = text.split_once("://") else {
            let inner = text.strip_prefix("${").and_then(|text| text.strip_suffix('}'));
            let is_account = inner.is_some_and(|inner| {
                inner.starts_with("google_") || inner.starts_with("data.google_")
            }) && inner
                .is_some_and(|inner| ACCOUNTS.iter().any(|attribute| inner.ends_with(attribute)));
            // `user:…` and the like do not present a token.
            if *known
                || is_account
                || text.split("${").next().is_some_and(|begin| begin.contains(':'))
            {
                return None;
            }
            statement.is_aside = !self.impersonates;
            statement.note(UnknownEffect::HidesTests, &member.place, format!("`{text}`"));
            return Some(statement);
        };
        if !matches!(kind, "principal" | "principalSet") {
            return None;
        }
        // The pool's name may be any expression, so only the end of the principal is parsed.
        let principal = ["/subject/", "/attribute.", "/group/"]
            .iter()
            .find_map(|part| rest.split_once(part))
            .or_else(|| rest.strip_suffix("/*").map(|pool| (pool, "*")));
        let Some((pool, principal)) = principal else {
            statement.note(UnknownEffect::HidesTests, &member.place, format!("`{text}`"));
            return Some(statement);
        };
        if pool.contains("/workforcePools/")
            || pool.starts_with("goog")
            || pool.contains("/namespaces/")
        {
            return None;
        }
        let path = Text { text: pool.to_owned(), ..whole.clone() };
        statement.pool = if pool.contains(POOLS) {
            pool_of_path(&path)
        } else {
            // `principal://iam.googleapis.com/${google_iam_workload_identity_pool.p.name}`
            pool.split_once('/').map(|(_, name)| of_part(name, false))
        };
        let certain = *known || whole.origin.is_none();
        let test = |kind, written: &str| {
            let known = certain && !principal.contains("${");
            let value = Text { text: principal.to_owned(), known, ..whole.clone() };
            Test::new(kind, vec![value], member.place.clone(), written)
        };
        match kind {
            "principal" => statement.subjects.push(test(MatchKind::Exact, "principal")),
            _ if principal == "*" => {}
            _ => statement.subjects.push(test(MatchKind::Other, "principalSet")),
        }
        note_unknown(&mut statement);
        Some(statement)
    }
}
