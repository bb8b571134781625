//! Digests of texts.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use regorus::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::Function;
use super::arguments::{take, text};

pub(super) const FUNCTIONS: &[Function] = &[
    ("crypto.hmac.equal", 2, equal),
    ("crypto.hmac.md5", 2, |arguments| keyed::<Hmac<Md5>>(arguments)),
    ("crypto.hmac.sha1", 2, |arguments| keyed::<Hmac<Sha1>>(arguments)),
    ("crypto.hmac.sha256", 2, |arguments| keyed::<Hmac<Sha256>>(arguments)),
    ("crypto.hmac.sha512", 2, |arguments| keyed::<Hmac<Sha512>>(arguments)),
    ("crypto.md5", 1, |arguments| digest::<Md5>(arguments)),
    ("crypto.sha1", 1, |arguments| digest::<Sha1>(arguments)),
    ("crypto.sha256", 1, |arguments| digest::<Sha256>(arguments)),
];

fn digest<D: Digest>(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    Ok(hexadecimal(&D::digest(text("crypto", &value)?.as_bytes())))
}

fn keyed<M: Mac + KeyInit>(arguments: Vec<Value>) -> Result<Value> {
    let [message, key] = take(arguments)?;
    let key = text("crypto.hmac", &key)?.as_bytes();
    let mut mac =
        <M as KeyInit>::new_from_slice(key).map_err(|_| anyhow!("crypto.hmac: invalid key"))?;
    mac.update(text("crypto.hmac", &message)?.as_bytes());
    Ok(hexadecimal(&mac.finalize().into_bytes()))
}

/// Compares two digests. In constant time in OPA, which matters where the time can be measured: here it cannot.
fn equal(arguments: Vec<Value>) -> Result<Value> {
    let [one, other] = take(arguments)?;
    Ok(Value::from(text("crypto.hmac.equal", &one)? == text("crypto.hmac.equal", &other)?))
}

fn hexadecimal(bytes: &[u8]) -> Value {
    let text = bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    Value::from(text)
}
