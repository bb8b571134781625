//! Authentication: the challenges of a registry, and the tokens that it accepts (distribution's token authentication).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::Url;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use std::sync::PoisonError;
use zeroize::Zeroizing;

use super::exchange::{Ask, body, failed, sensitive};
use super::{ClientError, RegistryClient};
use crate::credentials::{Credential, secret};
use crate::oci::shown;
use crate::reference::RegistryName;

/// The maximum length of a token endpoint's answer, in bytes.
const MAX_TOKEN_BYTES: u64 = 64 << 10;

/// Docker's registry, whose token endpoint is at a host of its own.
const DOCKER: (&str, &str) = ("registry-1.docker.io", "auth.docker.io");

/// The way to authenticate that a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
    },
    /// None that is understood.
    Unknown,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenBody {
    #[serde(deserialize_with = "secret")]
    token: Zeroizing<String>,
    #[serde(deserialize_with = "secret")]
    access_token: Zeroizing<String>,
}

impl Challenge {
    /// The first challenge that is understood (RFC 9110 section 11.6.1), Bearer before Basic.
    pub(super) fn of<'h>(headers: impl Iterator<Item = &'h HeaderValue>) -> Self {
        let mut found = Self::Unknown;
        for header in headers.filter_map(|header| header.to_str().ok()) {
            let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
            if scheme.eq_ignore_ascii_case("bearer") {
                let parameters = parameters(rest);
                let get = |name: &str| {
                    let of_name = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    of_name.map(|(_, value)| value.clone())
                };
                if let Some(realm) = get("realm") {
                    return Self::Bearer { realm, service: get("service") };
                }
            } else if scheme.eq_ignore_ascii_case("basic") {
                found = Self::Basic;
            }
        }
        found
    }
}

/// The parameters of a challenge: `key=value` or `key="value"`, separated by commas.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    while let Some((key, rest)) = text.split_once('=') {
        let key = key.trim_start_matches([',', ' ']).trim().to_owned();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut value = String::new();
                let mut characters = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, character)) = characters.next() {
                    match character {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                        other => value.push(other),
                    }
                }
                (value, quoted.get(end..).unwrap_or_default())
            }
            None => {
                let (value, rest) = rest.split_once(',').unwrap_or((rest, ""));
                (value.trim().to_owned(), rest)
            }
        };
        parameters.push((key, value));
        text = rest;
    }
    parameters
}

impl RegistryClient {
    /// The value of the header that was accepted before.
    pub(super) fn known_authorization(&self, ask: &Ask<'_>) -> Option<Zeroizing<String>> {
        let tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(&(ask.place.clone(), ask.scope())).cloned()
    }

    /// Finds what a challenge asks for, for the next attempt.
    ///
    /// # Errors
    /// When there is nothing to answer it with.
    pub(super) async fn authorize(
        &self,
        ask: &Ask<'_>,
        challenge: Challenge,
    ) -> Result<(), ClientError> {
        // A token that was accepted before is expired now.
        self.forget(ask);
        let credential = self.credential(ask).await?;
        let value = match challenge {
            Challenge::Unknown => return Err(self.denied(ask)),
            Challenge::Basic => match credential {
                Some(Credential::Basic { user, password }) => basic(&user, &password),
                _ => return Err(self.denied(ask)),
            },
            Challenge::Bearer { realm, service } => {
                let token = self.token(ask, &realm, service.as_deref(), credential).await?;
                Zeroizing::new(format!("Bearer {}", *token))
            }
        };
        // Before it is kept: an invalid one would fail each time.
        sensitive(ask, &value)?;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.insert((ask.place.clone(), ask.scope()), value);
        Ok(())
    }

    fn forget(&self, ask: &Ask<'_>) {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.remove(&(ask.place.clone(), ask.scope()));
    }

    fn denied(&self, ask: &Ask<'_>) -> ClientError {
        let (registry, what) = (ask.registry(), ask.what.clone());
        ClientError::Denied { registry, status: 401, what, hint: self.hint(ask) }
    }

    /// Advice where access is denied.
    pub(super) fn hint(&self, ask: &Ask<'_>) -> String {
        let withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(advice) = withheld.get(ask.place) {
            return advice.clone();
        }
        match self.sends_credentials(ask.place) {
            true => {
                format!("; `docker login {0}` or `podman login {0}` keeps a credential", ask.place)
            }
            false => "; a credential is not sent without TLS beyond this machine".to_owned(),
        }
    }

    /// Tells whether a credential may be sent to a registry: it could be read in transit.
    fn sends_credentials(&self, place: &RegistryName) -> bool {
        !self.options(place).plain_http || place.is_loopback()
    }

    /// The credential for the repository at the registry that is asked: a mirror has its own.
    async fn credential(&self, ask: &Ask<'_>) -> Result<Option<Credential>, ClientError> {
        if !self.sends_credentials(ask.place) {
            return Ok(None);
        }
        let at_place = format!("{}/{}", ask.place, ask.repository.name());
        let Ok(repository) = at_place.parse() else { return Ok(None) };
        let files = self.files.clone();
        // Helpers are programs, which take their time.
        let found = tokio::task::spawn_blocking(move || files.find(&repository)).await;
        match found {
            Ok(found) => Ok(found?),
            Err(_) => Ok(None),
        }
    }

    /// Fetches a token for the scope of a request.
    async fn token(
        &self,
        ask: &Ask<'_>,
        realm: &str,
        service: Option<&str>,
        credential: Option<Credential>,
    ) -> Result<Zeroizing<String>, ClientError> {
        let answer = |problem: String| ClientError::Answer { registry: ask.registry(), problem };
        let url = Url::parse(realm).ok().filter(|url| {
            url.host_str().is_some() && url.username().is_empty() && url.password().is_none()
        });
        let mut url = url.ok_or_else(|| answer("its token endpoint is no URL".to_owned()))?;
        let origin = self.origin(ask.place);
        let is_own = url.origin() == origin.origin();
        let is_plain = url.scheme() != "https";
        if is_plain && !(url.scheme() == "http" && (is_own || self.may_be_plain(ask.place, &url))) {
            return Err(answer("its token endpoint is without TLS".to_owned()));
        }
        let host = host_of(&url);
        let is_known = is_own
            || host.as_ref().is_some_and(|host| {
                self.options(ask.place).token_hosts.contains(host)
                    || (ask.place.as_str(), host.as_str()) == DOCKER
            });
        // A registry names its token endpoint. Where it names one that the operator has not, it gets no credential of theirs;
        // nor where the operator has, and everybody on the way could read it.
        let is_readable = is_plain && !host.as_ref().is_some_and(RegistryName::is_loopback);
        let advice = host.as_ref().and_then(|host| match (is_known, is_readable) {
            (true, false) => None,
            (false, _) => Some(format!(
                "; the credential is not sent to {host}: list it in `token-hosts` of the `[[registry]]`"
            )),
            (true, true) => Some(format!(
                "; the credential is not sent to {host}: its token endpoint is without TLS"
            )),
        });
        if let Some(advice) = advice.filter(|_| credential.is_some()) {
            let mut withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
            withheld.insert(ask.place.clone(), advice);
        }
        let credential = credential.filter(|_| is_known && !is_readable);
        let client = self.client(ask.place)?;
        let scope = ask.scope();
        let request = match credential {
            Some(Credential::Identity(token)) => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "countersign")
                    .append_pair("service", service.unwrap_or_default())
                    .append_pair("scope", &scope)
                    .append_pair("refresh_token", &token);
                let form = form.finish();
                let content_type = "application/x-www-form-urlencoded";
                client.post(url).header(CONTENT_TYPE, content_type).body(form)
            }
            other => {
                if let Some(service) = service {
                    url.query_pairs_mut().append_pair("service", service);
                }
                url.query_pairs_mut().append_pair("scope", &scope);
                let request = client.get(url);
                match other {
                    Some(Credential::Basic { user, password }) => {
                        let value = basic(&user, &password);
                        request.header(AUTHORIZATION, sensitive(ask, &value)?)
                    }
                    _ => request,
                }
            }
        };
        let registry = ask.registry();
        let response = request.header(ACCEPT, "application/json").send().await;
        let response = response.map_err(|error| failed(&registry, error))?;
        let status = response.status().as_u16();
        let host = host.map_or_else(|| "its token endpoint".to_owned(), |host| host.to_string());
        if status != 200 {
            let hint = self.hint(ask);
            let what = format!("a token of {}", shown(&host));
            return Err(match status {
                429 | 500..=599 => {
                    ClientError::Status { registry, status, what, code: String::new() }
                }
                _ => ClientError::Denied { registry, status, what, hint },
            });
        }
        let bytes = Zeroizing::new(body(&registry, "a token", response, MAX_TOKEN_BYTES).await?);
        // serde's own message could repeat the token.
        let parsed: TokenBody = serde_json::from_slice(&bytes).unwrap_or_default();
        let token = if parsed.token.is_empty() { parsed.access_token } else { parsed.token };
        match token.is_empty() {
            true => Err(answer("its token endpoint gave no token".to_owned())),
            false => Ok(token),
        }
    }
}

/// The host and port of a URL, as a registry has them.
fn host_of(url: &Url) -> Option<RegistryName> {
    let host = url.host_str()?;
    url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")).parse().ok()
}

fn basic(user: &str, password: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(lines: &[&str]) -> Challenge {
        let lines: Vec<_> = lines.iter().map(|line| HeaderValue::from_str(line).unwrap()).collect();
        Challenge::of(lines.iter())
    }

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
        };
        let line = r#"Bearer realm="https://a.example/token",service="a, b",scope="x""#;
        assert_eq!(challenge(&[line]), bearer("https://a.example/token", Some("a, b")));
        assert_eq!(challenge(&["Basic realm=\"x\"", line]), challenge(&[line]));
        assert_eq!(challenge(&["bearer realm=\"a\\\"b\""]), bearer("a\"b", None));
        assert_eq!(challenge(&["Bearer realm=x, service=y"]), bearer("x", Some("y")));
        assert_eq!(challenge(&["BASIC realm=\"x\""]), Challenge::Basic);
        for line in ["", "Bearer", "Bearer service=\"x\"", "Digest realm=\"x\"", "Bearer =,=,"] {
            assert_eq!(challenge(&[line]), Challenge::Unknown, "{line}");
        }
    }
}
