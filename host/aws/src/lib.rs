//! Requests to AWS, or to a service with its interface, signed as AWS's Signature Version 4 has it.
//!
//! ```text
//! Credentials, region, service ─┐
//! method, URL, headers, body ───┴─→ SigningRequest::headers ─→ the headers of the request
//! ```
//!
//! Nothing here sends anything: the export sends to S3, and the custody of keys to AWS KMS.

#![forbid(unsafe_code)]

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// The maximum length of a file of credentials, in bytes.
pub const MAX_CREDENTIALS_BYTES: u64 = 64 << 10;

/// Credentials of AWS. They cannot be printed.
#[derive(Clone)]
pub struct Credentials {
    /// The id of the access key.
    pub key_id: String,
    /// The secret of the access key.
    pub secret: Zeroizing<String>,
    /// The token of a session.
    pub session_token: Option<Zeroizing<String>>,
}

/// A request that is to be signed.
pub struct SigningRequest<'r> {
    /// The credentials.
    pub credentials: &'r Credentials,
    /// The region.
    pub region: &'r str,
    /// The name of the service, as signatures have it.
    pub service: &'r str,
    /// The method.
    pub method: &'r Method,
    /// The URL, whose path is escaped.
    pub url: &'r Url,
    /// Its query, in the order of names.
    pub query: &'r str,
    /// Further headers, by names in small letters.
    pub headers: &'r [(&'static str, &'r str)],
    /// The body.
    pub body: &'r [u8],
}

impl Credentials {
    /// Takes AWS's variables from `variable`, which gives the value of one that is set: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
    ///
    /// # Errors
    /// When one of the first two is not set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let required = |name: &str| variable(name).ok_or_else(|| format!("{name} is not set"));
        Ok(Self {
            key_id: required("AWS_ACCESS_KEY_ID")?,
            secret: Zeroizing::new(required("AWS_SECRET_ACCESS_KEY")?),
            session_token: variable("AWS_SESSION_TOKEN").map(Zeroizing::new),
        })
    }

    /// Reads the profile `default` of a file of credentials, as AWS's own tools have it: `aws_access_key_id`,
    /// `aws_secret_access_key` and `aws_session_token`. `None` where it has no such profile, or a part of it is missing.
    pub fn from_profile(text: &str) -> Option<Self> {
        let mut is_default = false;
        let (mut key_id, mut secret, mut session_token) = (None, None, None);
        for line in text.lines().map(str::trim) {
            if line.starts_with('[') {
                is_default = line == "[default]";
            } else if is_default && let Some((name, value)) = line.split_once('=') {
                let value = value.trim();
                match name.trim() {
                    "aws_access_key_id" => key_id = Some(value.to_owned()),
                    "aws_secret_access_key" => secret = Some(Zeroizing::new(value.to_owned())),
                    "aws_session_token" => session_token = Some(Zeroizing::new(value.to_owned())),
                    _ => {}
                }
            }
        }
        Some(Self { key_id: key_id?, secret: secret?, session_token })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl SigningRequest<'_> {
    /// The headers of the request at a time, in seconds since 1970: those that were given, and those of the signature.
    ///
    /// # Errors
    /// When the URL has no host, or a value is none of a header.
    pub fn headers(&self, seconds: u64) -> Result<HeaderMap, String> {
        let Self { credentials, region, service, url, .. } = self;
        let time = amz_time(seconds);
        let date = time.get(..8).unwrap_or_default();
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            _ => return Err("the URL has no host".to_owned()),
        };
        let digest = hex(&Sha256::digest(self.body));
        let given = self.headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut headers: Vec<_> = given.collect();
        headers.push(("host", host));
        headers.push(("x-amz-content-sha256", digest.clone()));
        headers.push(("x-amz-date", time.clone()));
        if let Some(token) = &credentials.session_token {
            headers.push(("x-amz-security-token", token.to_string()));
        }
        // In the order of their names, as they are signed.
        headers.sort_by_key(|(name, _)| *name);
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String =
            headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (method, path, query) = (self.method, url.path(), self.query);
        let canonical = format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{digest}");
        let scope = format!("{date}/{region}/{service}/aws4_request");
        let canonical = hex(&Sha256::digest(canonical));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let secret = Zeroizing::new(format!("AWS4{}", *credentials.secret));
        let key = [date, region, service, "aws4_request"]
            .into_iter()
            .try_fold(Zeroizing::new(secret.as_bytes().to_vec()), |key, part| mac(&key, part));
        let signature = key.and_then(|key| mac(&key, &text)).ok_or("the key cannot sign")?;
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
            credentials.key_id,
            hex(&signature)
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers.into_iter().chain([("authorization", authorization)]) {
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("{name}: not a header's value"))?;
            value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
            map.insert(HeaderName::from_static(name), value);
        }
        Ok(map)
    }
}

/// Escapes a text as signatures have it: everything but unreserved characters, and slashes of a path.
pub fn escaped(text: &str, is_path: bool) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if is_plain || (is_path && byte == b'/') {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// The date with the time, as signatures have them: `20130524T000000Z`.
fn amz_time(seconds: u64) -> String {
    // The last second of the year 9999: a later one has no form.
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string().replace(['-', ':'], "")
}

fn mac(key: &[u8], text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(Zeroizing::new(mac.finalize().into_bytes().to_vec()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    /// The example "GET Bucket (List Objects)" of AWS's documentation of Signature Version 4.
    #[test]
    fn a_signature_is_that_of_the_documentation() {
        let credentials = Credentials {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
        };
        assert!(!format!("{credentials:?}").contains("wJalr"));
        let url =
            Url::parse("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J").unwrap();
        let request = SigningRequest {
            credentials: &credentials,
            region: "us-east-1",
            service: "s3",
            method: &Method::GET,
            url: &url,
            query: "max-keys=2&prefix=J",
            headers: &[],
            body: &[],
        };
        let headers = request.headers(1_369_353_600).unwrap();
        assert_eq!(
            headers["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;x-amz-content-sha256;x-amz-date,\
             Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!(headers["x-amz-date"], "20130524T000000Z");
    }

    #[test]
    fn a_profile_is_the_default_one() {
        let text = "[other]\naws_access_key_id = o\naws_secret_access_key = o\n[default]\n# x\n\
                    aws_access_key_id = id\naws_secret_access_key=se=cret\naws_session_token = t\n[last]\n\
                    aws_access_key_id = l\n";
        let found = Credentials::from_profile(text).unwrap();
        assert_eq!((found.key_id.as_str(), found.secret.as_str()), ("id", "se=cret"));
        assert_eq!(found.session_token.unwrap().as_str(), "t");
        for text in ["", "[default]\naws_access_key_id = id\n", "aws_access_key_id = id"] {
            assert!(Credentials::from_profile(text).is_none(), "{text}");
        }
    }
}
