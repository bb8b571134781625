//! The issuer identifier.

use std::fmt;

/// An issuer identifier (`iss`, RFC 7519 section 4.1.1; OpenID Connect Discovery section 3): an
/// `https` URL of at most 255 bytes without user, query or fragment.
///
/// It stands in every token and in the trust of every cloud, where it is compared byte by byte, so
/// it is parsed and never normalised: host names are lower case, and there is no slash at the end.
/// AWS additionally admits no port.
#[derive(Clone, PartialEq, Eq)]
pub struct IssuerUrl(String);

/// A text that is not an issuer identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the issuer URL {problem}; expected one like `https://oidc.example.com/tenant`")]
pub struct IssuerUrlError {
    problem: &'static str,
}

impl IssuerUrl {
    /// Parses an issuer identifier.
    ///
    /// # Errors
    /// When the text is not one, with the first problem.
    pub fn parse(text: &str) -> Result<Self, IssuerUrlError> {
        let refuse = |problem| Err(IssuerUrlError { problem });
        if text.len() > 255 {
            return refuse("is longer than 255 bytes");
        }
        let Some(rest) = text.strip_prefix("https://") else {
            return refuse("does not begin with `https://`");
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.split_once(':') {
            None => (authority, None),
            Some((host, port)) => (host, Some(port)),
        };
        let is_label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        if !host.split('.').all(is_label) {
            return refuse("has no host name of lower-case letters, digits, dashes and dots");
        }
        if port.is_some_and(|port| {
            port.starts_with('0')
                || !port.bytes().all(|b| b.is_ascii_digit())
                || port.parse::<u16>().is_err()
        }) {
            return refuse("has an invalid port");
        }
        let is_segment = |segment: &str| {
            !matches!(segment, "" | "." | "..")
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
        };
        if !path.is_empty() && !path.split('/').skip(1).all(is_segment) {
            return refuse(
                "has a path with other characters than letters, digits and `-._~`, an empty segment \
                 or a slash at its end",
            );
        }
        Ok(Self(text.to_owned()))
    }

    /// Its path: empty, or `/` and segments.
    pub fn path(&self) -> &str {
        let authority = self.0.strip_prefix("https://").unwrap_or_default();
        authority.find('/').and_then(|at| authority.get(at..)).unwrap_or_default()
    }

    /// The identifier's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuerUrl({})", self.0)
    }
}

impl std::str::FromStr for IssuerUrl {
    type Err = IssuerUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_one_exact_text() {
        for text in [
            "https://oidc.example.com",
            "https://oidc.example.com/tenant/a_b~c.d",
            "https://localhost:8443",
            "https://a",
        ] {
            assert_eq!(IssuerUrl::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "http://a.example",
            "HTTPS://a.example",
            "https://",
            "https:///x",
            "https://A.example",
            "https://a.example/",
            "https://a.example//x",
            "https://a.example/x/",
            "https://a.example/..",
            "https://a.example?x",
            "https://a.example/x?y",
            "https://a.example#x",
            "https://u@a.example",
            "https://a.example:",
            "https://a.example:0443",
            "https://a.example:65536",
            "https://a.example:x",
            "https://a..example",
            "https://-a.example",
            "https://a.example ",
            " https://a.example",
            "https://ä.example",
            "https://a.example/%41",
            "https://[::1]",
            &format!("https://a.example/{}", "x".repeat(255)),
        ] {
            assert!(IssuerUrl::parse(text).is_err(), "{text}");
        }
    }
}
