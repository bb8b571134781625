//! Requests signed as AWS's Signature Version 4 has it.

use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::S3Config;

/// The headers of a request at a time, in seconds since 1970. `query` is that of the URL, in the order of names.
/// `only_new` makes it fail where the object is there.
///
/// # Errors
/// When the URL has no host, or a value is none of a header.
pub(super) fn signed(
    config: &S3Config,
    seconds: u64,
    (method, url, query): (&Method, &Url, &str),
    body: &[u8],
    only_new: bool,
) -> Result<HeaderMap, String> {
    let S3Config { region, credentials, .. } = config;
    let (date, time) = amz_date(seconds);
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        _ => return Err("the URL has no host".to_owned()),
    };
    let digest = hex(&Sha256::digest(body));
    // In the order of their names, as they are signed.
    let mut headers = vec![("host", host)];
    if only_new {
        headers.push(("if-none-match", "*".to_owned()));
    }
    headers.push(("x-amz-content-sha256", digest.clone()));
    headers.push(("x-amz-date", time.clone()));
    if let Some(token) = &credentials.session_token {
        headers.push(("x-amz-security-token", token.to_string()));
    }
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("{method}\n{}\n{query}\n{lines}\n{names}\n{digest}", url.path());
    let scope = format!("{date}/{region}/s3/aws4_request");
    let canonical = hex(&Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
    let secret = Zeroizing::new(format!("AWS4{}", *credentials.secret));
    let key = [date.as_str(), region, "s3", "aws4_request"]
        .into_iter()
        .try_fold(secret.as_bytes().to_vec(), |key, part| mac(&key, part));
    let signature = key.and_then(|key| mac(&key, &text)).ok_or("the key cannot sign")?;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope},SignedHeaders={names},Signature={}",
        credentials.key_id,
        hex(&signature)
    );
    let mut map = HeaderMap::new();
    for (name, value) in headers.into_iter().chain([("authorization", authorization)]) {
        let mut value =
            HeaderValue::from_str(&value).map_err(|_| format!("{name}: not a header's value"))?;
        value.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

/// Escapes a text as signatures have it: everything but unreserved characters, and slashes of a path.
pub(super) fn escaped(text: &str, is_path: bool) -> String {
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

/// The date, and the date with the time, as signatures have them.
fn amz_date(seconds: u64) -> (String, String) {
    let date = crate::date::day(seconds).unwrap_or_default().replace('-', "");
    let of_day = seconds % 86_400;
    let time = format!("{:02}{:02}{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
    (date.clone(), format!("{date}T{time}Z"))
}

fn mac(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::S3Credentials;

    /// The example "GET Bucket (List Objects)" of AWS's documentation of Signature Version 4.
    #[test]
    fn a_signature_is_that_of_the_documentation() {
        let credentials = S3Credentials {
            key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret: Zeroizing::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: None,
        };
        assert!(!format!("{credentials:?}").contains("wJalr"));
        let config = S3Config { region: "us-east-1".to_owned(), endpoint: None, credentials };
        let url =
            Url::parse("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J").unwrap();
        let headers =
            signed(&config, 1_369_353_600, (&Method::GET, &url, "max-keys=2&prefix=J"), &[], false)
                .unwrap();
        assert_eq!(
            headers["authorization"],
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;x-amz-content-sha256;x-amz-date,\
             Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
        assert_eq!(headers["x-amz-date"], "20130524T000000Z");
    }
}
