//! Networks, beyond those of regorus.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Result, anyhow};
use ipnet::IpNet;
use regorus::Value;

use super::Function;
use super::arguments::{members, take, text, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("net.cidr_contains_matches", 2, contains_matches),
    ("net.cidr_intersects", 2, intersects),
    ("net.cidr_merge", 1, merge),
];

/// A network, or an address as the network of it alone.
fn network(function: &str, value: &Value) -> Result<IpNet> {
    let text = text(function, value)?;
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| anyhow!("{function}: `{text}` is no network and no address"))
}

fn intersects(arguments: Vec<Value>) -> Result<Value> {
    let name = "net.cidr_intersects";
    let [one, other] = take(arguments)?;
    let (one, other) = (network(name, &one)?, network(name, &other)?);
    Ok(Value::from(one.contains(&other.network()) || other.contains(&one.network())))
}

/// The pairs of keys of which the first network contains the second.
fn contains_matches(arguments: Vec<Value>) -> Result<Value> {
    let [outer, inner] = take(arguments)?;
    let (outer, inner) = (keyed(&outer)?, keyed(&inner)?);
    let mut found = BTreeSet::new();
    for (outer_key, outer) in &outer {
        for (inner_key, inner) in &inner {
            if outer.contains(inner) {
                found.insert(Value::from(vec![outer_key.clone(), inner_key.clone()]));
            }
        }
    }
    Ok(Value::from(found))
}

/// The networks of a text, or of a collection by their keys. A member may be an array that begins with the network.
fn keyed(value: &Value) -> Result<Vec<(Value, IpNet)>> {
    let name = "net.cidr_contains_matches";
    let of_member = |member: &Value| match member {
        Value::Array(items) => match items.first() {
            Some(first) => network(name, first),
            None => Err(wrong(name, "a network", member)),
        },
        other => network(name, other),
    };
    match value {
        Value::String(_) => Ok(vec![(value.clone(), network(name, value)?)]),
        Value::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(key, member)| Ok((Value::from(key), of_member(member)?))).collect()
        }
        Value::Set(items) => {
            items.iter_sorted().map(|member| Ok((member.clone(), of_member(member)?))).collect()
        }
        Value::Object(items) => {
            items.iter_sorted().map(|(key, member)| Ok((key.clone(), of_member(member)?))).collect()
        }
        other => Err(wrong(name, "a network or a collection of them", other)),
    }
}

/// The fewest networks of the same addresses.
fn merge(arguments: Vec<Value>) -> Result<Value> {
    let name = "net.cidr_merge";
    let [value] = take(arguments)?;
    let networks: Result<Vec<IpNet>> =
        members(name, &value)?.into_iter().map(|member| network(name, member)).collect();
    let merged = IpNet::aggregate(&networks?)
        .into_iter()
        .map(|network| Value::from(network.trunc().to_string()));
    Ok(Value::from(merged.collect::<BTreeSet<_>>()))
}
