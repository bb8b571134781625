//! The configuration, in the variables of OpenTelemetry's specification.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// The part of requests that has a trace, unless it is given.
const DEFAULT_RATIO: f64 = 0.01;

/// The collector of traces, and the share of requests that are traced.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) service: String,
    pub(crate) sampling: Sampling,
}

/// The part of requests that has a trace, from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling(f64);

/// A variable that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct TracesConfigError {
    /// The variable.
    pub variable: &'static str,
    /// The reason. It has nothing of the value, which may be a secret.
    pub problem: String,
}

impl TracesConfig {
    /// Reads the configuration; `None` where no endpoint is given, or `OTEL_SDK_DISABLED` is true. `variable` gives the
    /// value of a variable. An empty one counts as unset.
    ///
    /// # Errors
    /// Returns an error if a variable has a value that is not supported: nothing is sent in another way than was meant.
    pub fn read(
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Self>, TracesConfigError> {
        let given = |name: &'static str| variable(name).filter(|value| !value.is_empty());
        let error =
            |variable, problem: &str| TracesConfigError { variable, problem: problem.to_owned() };
        if given("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match given("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => return Err(error("OTEL_TRACES_EXPORTER", "expected `otlp` or `none`")),
        }
        let (name, url) = match given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(url) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            None => match given("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(url) => {
                    let url = format!("{}/v1/traces", url.trim_end_matches('/'));
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", url)
                }
                None => return Ok(None),
            },
        };
        let url = Url::parse(&url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                && url.fragment().is_none()
        });
        let url =
            url.ok_or_else(|| error(name, "expected a URL of http or https without a user"))?;
        let either = |own: &'static str, general: &'static str| match given(own) {
            Some(value) => Some((own, value)),
            None => given(general).map(|value| (general, value)),
        };
        let protocol = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some((name, _)) = protocol.filter(|(_, protocol)| protocol != "http/protobuf") {
            return Err(error(
                name,
                "expected `http/protobuf`, the only protocol that is supported",
            ));
        }
        for name in ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            if given(name).is_some() {
                return Err(error(
                    name,
                    "not supported: the collector's certificate must be one that the system trusts",
                ));
            }
        }
        let headers =
            match either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS") {
                Some((name, value)) => headers(&value).ok_or_else(|| {
                    error(name, "expected NAME=VALUE, with commas between, percent-encoded")
                })?,
                None => HeaderMap::new(),
            };
        let timeout = either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let timeout = match timeout {
            Some((name, value)) => {
                let milliseconds = value.parse().ok().filter(|value| (1..=60_000).contains(value));
                milliseconds.ok_or_else(|| error(name, "expected 1 to 60000 milliseconds"))?
            }
            None => 10_000,
        };
        let service = given("OTEL_SERVICE_NAME").unwrap_or_else(|| "countersign".to_owned());
        if service.len() > 255 {
            return Err(error("OTEL_SERVICE_NAME", "longer than 255 bytes"));
        }
        let ratio = || match given("OTEL_TRACES_SAMPLER_ARG") {
            None => Ok(1.0),
            Some(value) => {
                value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)).ok_or_else(
                    || error("OTEL_TRACES_SAMPLER_ARG", "expected a number from 0 to 1"),
                )
            }
        };
        // A caller's own decision is not followed: nobody has proved it.
        let sampling = match given("OTEL_TRACES_SAMPLER").as_deref() {
            None => match given("OTEL_TRACES_SAMPLER_ARG") {
                None => DEFAULT_RATIO,
                Some(_) => ratio()?,
            },
            Some("always_on" | "parentbased_always_on") => 1.0,
            Some("always_off" | "parentbased_always_off") => 0.0,
            Some("traceidratio" | "parentbased_traceidratio") => ratio()?,
            Some(_) => {
                return Err(error(
                    "OTEL_TRACES_SAMPLER",
                    "expected `always_on`, `always_off` or `traceidratio`, also with `parentbased_`",
                ));
            }
        };
        let (timeout, sampling) = (Duration::from_millis(timeout), Sampling(sampling));
        Ok(Some(Self { url, headers, timeout, service, sampling }))
    }

    /// The collector's host, for people.
    pub fn collector(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl Sampling {
    /// Tells whether the request with this number, counted from 0, has a trace: evenly, and the first one of them.
    pub(crate) fn takes(self, number: u64) -> bool {
        // Exact below 2^53 requests.
        let part = |number: u64| (number as f64 * self.0).ceil();
        part(number + 1) > part(number)
    }
}

/// The headers of the specification's form, which are sent with each request.
fn headers(text: &str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(variables: &[(&'static str, &str)]) -> Result<Option<TracesConfig>, TracesConfigError> {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        TracesConfig::read(|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn nothing_is_sent_without_an_endpoint() {
        assert!(read(&[]).unwrap().is_none());
        assert!(
            read(&[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")])
                .unwrap()
                .is_none()
        );
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        assert!(read(&[on, ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(read(&[on, ("OTEL_TRACES_EXPORTER", "none")]).unwrap().is_none());
        let config = read(&[on]).unwrap().unwrap();
        assert_eq!(config.url.as_str(), "http://collector:4318/v1/traces");
        assert_eq!((config.sampling, config.timeout), (Sampling(0.01), Duration::from_secs(10)));
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://other/path?x=1");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret, x-team = a");
        let config =
            read(&[on, own, headers, ("OTEL_TRACES_SAMPLER", "always_on")]).unwrap().unwrap();
        assert_eq!(config.url.as_str(), "https://other/path?x=1");
        assert_eq!(config.headers["authorization"], "Bearer secret");
        assert_eq!(
            (config.sampling, &config.headers["x-team"]),
            (Sampling(1.0), &HeaderValue::from_static("a"))
        );
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn values_that_are_not_supported_are_refused() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0d%0ax: y"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1s"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
            ("OTEL_TRACES_SAMPLER_ARG", "NaN"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@collector"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "file:///etc/passwd"),
        ] {
            let error = read(&[on, (name, value)]).unwrap_err();
            assert_eq!(error.variable, name);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_protocol_of_traces_goes_before_the_general_one() {
        let on = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        let general = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let own = |protocol| ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", protocol);
        assert!(read(&[on, general, own("http/protobuf")]).unwrap().is_some());
        let general = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let error = read(&[on, general, own("grpc")]).unwrap_err();
        assert_eq!(error.variable, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL");
    }

    #[test]
    fn a_part_of_requests_is_sampled_evenly() {
        for (ratio, expected) in [(0.0, 0), (1.0, 1000), (0.01, 10), (0.5, 500), (0.001, 1)] {
            let taken = (0..1000).filter(|number| Sampling(ratio).takes(*number)).count();
            assert_eq!(taken, expected, "{ratio}");
            assert_eq!(Sampling(ratio).takes(0), ratio > 0.0);
        }
    }
}
