//! The parts of a UUID.

use std::collections::BTreeMap;

use anyhow::Result;
use regorus::Value;

use super::Function;
use super::arguments::{take, text};

pub(super) const FUNCTIONS: &[Function] = &[("uuid.parse", 1, parse)];

/// The time between the epoch of UUIDs, 15 October 1582, and 1970, in units of 100 nanoseconds.
const EPOCH: i64 = 0x01B2_1DD2_1381_4000;

/// As OPA gives them: version and variant, and for those made of a time also time, clock sequence and node. A text that is
/// no UUID is undefined.
fn parse(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let Some(bytes) = bytes(text("uuid.parse", &value)?) else { return Ok(Value::Undefined) };
    let at = |index: usize| u64::from(bytes.get(index).copied().unwrap_or_default());
    let version = at(6) >> 4;
    let variant = match at(8) >> 5 {
        0..=3 => "Reserved",
        4 | 5 => "RFC4122",
        6 => "Microsoft",
        _ => "Future",
    };
    let mut members = BTreeMap::new();
    let mut put = |name: &str, value: Value| members.insert(Value::from(name), value);
    put("version", Value::from(version));
    put("variant", Value::from(variant));
    if version == 1 || version == 2 {
        let node: Vec<String> = (10..16).map(|index| format!("{:02x}", at(index))).collect();
        put("nodeid", Value::from(node.join("-")));
        put("macvariables", Value::from(mac_variables(at(10))));
        put("clocksequence", Value::from(((at(8) & 0x3f) << 8) | at(9)));
        let low = (0..4).fold(0, |time, index| (time << 8) | at(index));
        let middle = (at(4) << 8) | at(5);
        let high = ((at(6) & 0x0f) << 8) | at(7);
        let ticks = i64::try_from((high << 48) | (middle << 32) | low)?;
        put("time", Value::from((ticks - EPOCH).saturating_mul(100)));
    }
    if version == 2 {
        put("id", Value::from((0..4).fold(0, |id, index| (id << 8) | at(index))));
        let domain = match at(9) {
            0 => "Person",
            1 => "Group",
            2 => "Org",
            _ => "Domain",
        };
        put("domain", Value::from(domain));
    }
    Ok(Value::from(members))
}

fn mac_variables(first: u64) -> &'static str {
    match (first & 2 != 0, first & 1 != 0) {
        (true, true) => "local:multicast",
        (true, false) => "local:unicast",
        (false, true) => "global:multicast",
        (false, false) => "global:unicast",
    }
}

/// The bytes of a UUID in any of the forms that OPA takes: with dashes or without, in braces, and as a URN.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let bare = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let bare = bare.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(bare);
    let has_dashes = bare.len() == 36
        && bare
            .bytes()
            .enumerate()
            .all(|(at, byte)| (byte == b'-') == matches!(at, 8 | 13 | 18 | 23));
    if !has_dashes && bare.len() != 32 {
        return None;
    }
    let digits: Option<Vec<u32>> =
        bare.chars().filter(|c| *c != '-').map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 32)?;
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit))
        .map(|byte| u8::try_from(byte).ok())
        .collect()
}
