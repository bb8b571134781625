//! An export to S3, or a service with its interface, which has conditional writes.

mod page;

use std::str::FromStr;
use std::time::Duration;

use countersign_aws::{Credentials, SigningRequest, escaped};
use reqwest::{Client, Method, StatusCode, Url};
use tokio::runtime::{Builder, Runtime};

use self::page::Page;
use crate::destination::{Destination, DestinationError, Put};

/// The maximum time of a request.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The maximum length of a page of a listing, in bytes: a thousand names of at most 1,024 bytes, escaped.
const MAX_LISTING: usize = 8 << 20;
/// The attempts for a request, and the time before the second one.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A bucket and the prefix of an export in it: `s3://BUCKET/PREFIX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    bucket: String,
    /// Without slashes at its ends; empty for the bucket's root.
    prefix: String,
}

/// The service that has the bucket.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The region of the signature.
    pub region: String,
    /// The URL of a service that is not AWS's own, whose buckets are in the path.
    pub endpoint: Option<String>,
    /// The credentials.
    pub credentials: Credentials,
}

/// A place in S3.
pub struct S3Destination {
    location: S3Location,
    config: S3Config,
    /// Of the bucket, without a slash at its end.
    url: Url,
    client: Client,
    runtime: Runtime,
    clock: fn() -> u64,
}

impl FromStr for S3Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("s3://").ok_or("expected s3://BUCKET/PREFIX")?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)
            })
            && !bucket.starts_with(['.', '-'])
            && !bucket.ends_with(['.', '-'])
            && !bucket.contains("..");
        if !is_bucket {
            return Err("expected the name of a bucket: 3 to 63 of a-z, 0-9, . and -".to_owned());
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_part = |part: &str| {
            !part.is_empty()
                && !matches!(part, "." | "..")
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"!-_.*'()=".contains(&byte))
        };
        if !prefix.is_empty() && (prefix.len() > 512 || !prefix.split('/').all(is_part)) {
            return Err(
                "expected a prefix of letters, digits and !-_.*'()= between slashes, without . and .. alone".to_owned(),
            );
        }
        Ok(Self { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl S3Destination {
    /// A place of a service. `clock` gives the time in seconds since 1970, for signatures.
    ///
    /// # Errors
    /// Returns an error if the endpoint is no URL.
    pub fn new(
        location: S3Location,
        config: S3Config,
        clock: fn() -> u64,
    ) -> Result<Self, DestinationError> {
        let error =
            |problem: String| DestinationError::new(format!("s3://{}", location.bucket), problem);
        let url = match &config.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), location.bucket),
            // A certificate of AWS is of one label below its domain.
            None if location.bucket.contains('.') => {
                format!("https://s3.{}.amazonaws.com/{}", config.region, location.bucket)
            }
            None => format!("https://{}.s3.{}.amazonaws.com", location.bucket, config.region),
        };
        let url =
            Url::parse(&url).map_err(|invalid| error(format!("invalid endpoint: {invalid}")))?;
        if !matches!(url.scheme(), "http" | "https")
            || url.query().is_some()
            || url.host().is_none()
        {
            return Err(error("the endpoint is not a URL of http or https".to_owned()));
        }
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|failed| error(failed.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|failed| error(failed.to_string()))?;
        Ok(Self { location, config, url, client, runtime, clock })
    }

    fn key_of(&self, name: &str) -> String {
        match self.location.prefix.as_str() {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        }
    }

    /// Sends a request, again where that may help, and returns its status and body.
    fn ask(
        &self,
        method: &Method,
        key: &str,
        query: &[(&str, &str)],
        body: &[u8],
        max: usize,
    ) -> Result<(StatusCode, Vec<u8>), DestinationError> {
        let object = format!("s3://{}/{key}", self.location.bucket);
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let asked = self.runtime.block_on(self.once(method, key, query, body, max));
            let problem = match asked {
                Ok((status, answer))
                    if status.is_server_error()
                        || matches!(status.as_u16(), 409 | 429)
                        || (status == StatusCode::REQUEST_TIMEOUT) =>
                {
                    describe(status, &answer)
                }
                Ok(answer) => return Ok(answer),
                Err(problem) => problem,
            };
            if attempt == ATTEMPTS {
                return Err(DestinationError { object, problem, is_temporary: true });
            }
            self.runtime.block_on(tokio::time::sleep(wait));
            wait *= 2;
        }
        Err(DestinationError::new(object, "no attempt was made"))
    }

    async fn once(
        &self,
        method: &Method,
        key: &str,
        query: &[(&str, &str)],
        body: &[u8],
        max: usize,
    ) -> Result<(StatusCode, Vec<u8>), String> {
        let mut url = self.url.clone();
        let path = format!("{}/{}", url.path().trim_end_matches('/'), escaped(key, true));
        url.set_path(&path);
        let mut pairs: Vec<_> = query
            .iter()
            .map(|(name, value)| (escaped(name, false), escaped(value, false)))
            .collect();
        pairs.sort();
        let query = pairs.iter().map(|(name, value)| format!("{name}={value}"));
        let query = query.collect::<Vec<_>>().join("&");
        url.set_query((!query.is_empty()).then_some(&query));
        let condition = *method == Method::PUT;
        let only_new: &[(&'static str, &str)] =
            if condition { &[("if-none-match", "*")] } else { &[] };
        let request = SigningRequest {
            credentials: &self.config.credentials,
            region: &self.config.region,
            service: "s3",
            method,
            url: &url,
            query: &query,
            headers: only_new,
            body,
        };
        let headers = request.headers((self.clock)())?;
        let request = self.client.request(method.clone(), url).headers(headers).body(body.to_vec());
        let plain = |error: reqwest::Error| -> String {
            error.without_url().to_string().chars().take(512).collect()
        };
        let mut response = request.send().await.map_err(plain)?;
        let (status, mut answer) = (response.status(), Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(plain)? {
            if answer.len() + chunk.len() > max {
                return Err(format!("an answer of more than {max} bytes"));
            }
            answer.extend_from_slice(&chunk);
        }
        Ok((status, answer))
    }

    fn refused(&self, key: &str, status: StatusCode, answer: &[u8]) -> DestinationError {
        let object = format!("s3://{}/{key}", self.location.bucket);
        DestinationError::new(object, describe(status, answer))
    }
}

impl Destination for S3Destination {
    fn list(&mut self, prefix: &str) -> Result<Vec<String>, DestinationError> {
        let key = self.key_of(prefix);
        let (mut names, mut next) = (Vec::new(), None::<String>);
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", key.as_str())];
            if let Some(token) = &next {
                query.push(("continuation-token", token));
            }
            let (status, answer) = self.ask(&Method::GET, "", &query, &[], MAX_LISTING)?;
            if status != StatusCode::OK {
                return Err(self.refused(&key, status, &answer));
            }
            let page = Page::parse(&answer)
                .ok_or_else(|| DestinationError::new(&key, "the listing is not that of S3"))?;
            let own = page.keys.iter().filter_map(|found| found.strip_prefix(&key));
            names.extend(own.map(|name| format!("{prefix}{name}")));
            match page.next {
                // A service that names the same page for ever must not be followed.
                Some(token) if next.as_ref() != Some(&token) => next = Some(token),
                Some(_) => return Err(DestinationError::new(&key, "the listing does not go on")),
                None => return Ok(names),
            }
        }
    }

    fn read(&mut self, name: &str, max: usize) -> Result<Vec<u8>, DestinationError> {
        let key = self.key_of(name);
        match self.ask(&Method::GET, &key, &[], &[], max)? {
            (StatusCode::OK, bytes) => Ok(bytes),
            (status, answer) => Err(self.refused(&key, status, &answer)),
        }
    }

    fn exists(&mut self, name: &str) -> Result<bool, DestinationError> {
        let key = self.key_of(name);
        match self.ask(&Method::HEAD, &key, &[], &[], MAX_LISTING)? {
            (StatusCode::OK, _) => Ok(true),
            (StatusCode::NOT_FOUND, _) => Ok(false),
            (status, answer) => Err(self.refused(&key, status, &answer)),
        }
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<Put, DestinationError> {
        let key = self.key_of(name);
        match self.ask(&Method::PUT, &key, &[], bytes, MAX_LISTING)? {
            (StatusCode::OK, _) => Ok(Put::Created),
            (StatusCode::PRECONDITION_FAILED, _) => Ok(Put::Exists),
            (status, answer) => Err(self.refused(&key, status, &answer)),
        }
    }

    fn name(&self) -> String {
        format!("s3://{}/{}", self.location.bucket, self.location.prefix)
    }
}

/// A status with the code that the service gives in XML.
fn describe(status: StatusCode, answer: &[u8]) -> String {
    let answer = String::from_utf8_lossy(answer.get(..4096).unwrap_or(answer)).into_owned();
    let code = answer.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let code: String = code
        .map(|(code, _)| code.chars().filter(char::is_ascii_alphanumeric).take(64).collect())
        .unwrap_or_default();
    match (code.as_str(), status.as_u16()) {
        ("", 501) => {
            "status 501: the service has no conditional writes (`If-None-Match`)".to_owned()
        }
        ("", status) => format!("status {status}"),
        (code, status) => format!("status {status}, {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_that_lead_elsewhere_are_refused() {
        for text in [
            "s3:/bucket",
            "s3://",
            "s3://b",
            "s3://Bucket",
            "s3://bu_cket",
            "s3://bu..cket",
            "s3://bucket@host/x",
            "s3://bucket/../x",
            "s3://bucket/a//b",
            "s3://bucket/./x",
            "s3://bucket/a?b",
            "s3://bucket/a#b",
            "s3://bucket/a b",
            "s3://bucket/%2e%2e/x",
            "https://bucket/x",
        ] {
            assert!(text.parse::<S3Location>().is_err(), "{text}");
        }
        let location: S3Location = "s3://bucket/a/date=1/".parse().unwrap();
        assert_eq!((location.bucket.as_str(), location.prefix.as_str()), ("bucket", "a/date=1"));
    }
}
