//! The time zones that policies name: `context.token.local["Europe/Berlin"]`.
//!
//! Cedar has no functions for zones, and a record of all of them would be made for each request. So the schema and the requests
//! have those that are named.

use std::str::FromStr;

use cedar_policy::PolicySet;
use cedar_policy_core::ast::{Expr, ExprKind};
use cedar_policy_core::parser::Loc;
use engine_shared::find_zone;

use crate::vocabulary::path;

/// The path of the record of zones.
const LOCAL: &str = "token.local";

/// The record of zones in a schema, before any are put into it.
const EMPTY: &str = "local: {}";

/// The names of zones in policies and in a schema, each once, whether there are such zones or not.
pub fn zones(policies: &str, schema: &str) -> Vec<String> {
    let mut zones = of_schema(schema);
    // Parsing takes a while, and most policies name none.
    if policies.contains("local")
        && let Ok(parsed) = PolicySet::from_str(policies)
    {
        for policy in parsed.policies() {
            let condition = policy.as_ref().condition();
            zones.extend(condition.subexpressions().filter_map(name).map(str::to_owned));
        }
    }
    zones.sort();
    zones.dedup();
    zones
}

/// The zones that an author has put into a schema, which requests then have to have.
fn of_schema(schema: &str) -> Vec<String> {
    let (_, rest) = schema.split_once("local: {").unwrap_or_default();
    let members = rest.split('}').next().unwrap_or_default().split(',');
    let names = members.filter_map(|member| member.split_once(':'));
    names.map(|(name, _)| name.trim().trim_matches('"').to_owned()).collect()
}

/// A schema in which requests have these zones, unless its author has put zones into it.
pub fn schema(text: &str, zones: &[String]) -> String {
    let members: Vec<_> = zones.iter().map(|zone| format!("{zone:?}: LocalTime")).collect();
    text.replacen(EMPTY, &format!("local: {{{}}}", members.join(", ")), 1)
}

/// The zones of a condition that are none: offsets and messages.
pub fn unknown(condition: &Expr) -> Vec<(usize, String)> {
    let named = condition.subexpressions().filter_map(|node| Some((node, name(node)?)));
    named
        .filter_map(|(node, zone)| {
            let place = node.source_loc().or_else(|| condition.source_loc()).map_or(0, Loc::start);
            find_zone(zone).err().map(|message| (place, message))
        })
        .collect()
}

/// The zone that a node reads, or asks for.
fn name(node: &Expr) -> Option<&str> {
    match node.expr_kind() {
        ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
            (path(expr).as_deref() == Some(LOCAL)).then_some(attr.as_str())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_that_policies_name_are_in_the_schema() {
        let text = "permit(principal, action, resource) when { context.token.local[\"Europe/Berlin\"].hour < 9 && \
                    context[\"token\"].local.UTC.hour < 9 };\nforbid(principal, action, resource) when { \
                    context.token.local[\"Europe/Berlin\"].weekday == 7 };";
        let zones = super::zones(text, "");
        assert_eq!(zones, ["Europe/Berlin", "UTC"]);
        assert_eq!(
            schema("type Token = { local: {}, };", &zones),
            "type Token = { local: {\"Europe/Berlin\": LocalTime, \"UTC\": LocalTime}, };"
        );
        let own = "type Token = { local: { UTC: LocalTime } };";
        assert_eq!(schema(own, &zones), own);
        let declared = "local: {\n  \"Asia/Tokyo\": LocalTime,\n  UTC: LocalTime,\n}";
        assert_eq!(super::zones(text, declared), ["Asia/Tokyo", "Europe/Berlin", "UTC"]);
        assert!(super::zones("permit(local", "local: {},").is_empty());
    }
}
