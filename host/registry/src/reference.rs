//! References to policies in registries.

use std::fmt;
use std::str::FromStr;

use countersign::Digest;

/// The beginning of a reference.
const SCHEME: &str = "oci://";

/// The maximum length of a registry's name, and of a repository's, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The maximum length of a tag, in bytes (distribution specification, "Pulling manifests").
const MAX_TAG_BYTES: usize = 128;

/// A registry: `host` or `host:port`, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryName(String);

/// A repository of a registry: `host[:port]/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: RegistryName,
    name: String,
}

/// A tag. It names another manifest tomorrow, so nothing is decided by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A manifest of a repository, by its digest: `oci://host[:port]/name@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PinnedReference {
    /// The repository.
    pub repository: Repository,
    /// The digest of the manifest.
    pub digest: Digest,
}

/// A repository with a digest or a tag, as a person writes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reference {
    /// `oci://host[:port]/name@sha256:…`
    Pinned(PinnedReference),
    /// `oci://host[:port]/name:tag`
    Tagged(Repository, Tag),
}

/// A text that is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// It does not begin with `oci://`.
    #[error("expected `oci://host[:port]/repository@sha256:…`")]
    Scheme,
    /// The registry is out of form.
    #[error(
        "expected the registry as `host` or `host:port`: lower-case letters, digits, dots and dashes"
    )]
    Registry,
    /// The repository is out of form.
    #[error(
        "expected the repository as lower-case letters and digits, with `.`, `_`, `__` or dashes between them and `/` between \
         parts, at most {MAX_NAME_BYTES} bytes"
    )]
    Repository,
    /// The digest is out of form.
    #[error("expected `@sha256:` and 64 lower-case hexadecimal digits")]
    Digest,
    /// The tag is out of form.
    #[error("expected a tag of letters, digits, `_`, `.` and `-`, at most {MAX_TAG_BYTES} bytes")]
    Tag,
    /// There is neither a digest nor a tag.
    #[error("expected `@sha256:…` or a tag after the repository")]
    NoTarget,
    /// There is a tag where a digest has to be.
    #[error("a tag is never trusted: expected `@sha256:…`; `countersign policy lock` finds it")]
    NotPinned,
}

impl RegistryName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, without the port; an IPv6 address has its brackets.
    pub fn host(&self) -> &str {
        split_port(&self.0).map_or(self.0.as_str(), |(host, _)| host)
    }

    /// Tells whether the host is this machine by its name: `localhost`, 127.0.0.0/8 or `[::1]`.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost"
            || host == "[::1]"
            || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for RegistryName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = match split_port(text) {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port_is_valid = port.is_none_or(|port| {
            !port.starts_with('0')
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok()
        });
        let is_valid = text.len() <= MAX_NAME_BYTES && port_is_valid && is_host(host);
        if is_valid { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Registry) }
    }
}

/// The host and the port of `host:port`; `None` where there is no port.
fn split_port(text: &str) -> Option<(&str, &str)> {
    match text.rfind(']') {
        Some(end) => {
            let port = text.get(end + 1..)?.strip_prefix(':')?;
            Some((text.get(..=end)?, port))
        }
        None => text.rsplit_once(':'),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[') {
        let address = address.strip_suffix(']').unwrap_or_default();
        // In the one form that an address has (RFC 5952), so that a registry has one name.
        return address
            .parse::<std::net::Ipv6Addr>()
            .is_ok_and(|parsed| parsed.to_string() == address);
    }
    // A number for a last label is an address to some readers and a name to others.
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit()) {
        return host.parse::<std::net::Ipv4Addr>().is_ok_and(|parsed| parsed.to_string() == host);
    }
    host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    })
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Repository {
    /// The registry.
    pub fn registry(&self) -> &RegistryName {
        &self.registry
    }

    /// The name of the repository in its registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The reference to a manifest of this repository.
    pub fn pinned(&self, digest: Digest) -> PinnedReference {
        PinnedReference { repository: self.clone(), digest }
    }

    /// Tells whether it is `prefix` or below it. Only whole parts count: `a/b` is not below `a/bc`, nor the other way round.
    pub fn is_within(&self, prefix: &RepositoryPrefix) -> bool {
        if self.registry != prefix.registry {
            return false;
        }
        if prefix.name.is_empty() {
            return true;
        }
        match self.name.strip_prefix(prefix.name.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    /// Parses `host[:port]/name`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (registry, name) = text.split_once('/').ok_or(ReferenceError::Repository)?;
        let registry = registry.parse()?;
        if name.len() > MAX_NAME_BYTES || !name.split('/').all(is_part) {
            return Err(ReferenceError::Repository);
        }
        Ok(Self { registry, name: name.to_owned() })
    }
}

/// A part of a repository's name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_part(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = String::new();
    let bytes = part.as_bytes();
    if !bytes.first().copied().is_some_and(is_word) || !bytes.last().copied().is_some_and(is_word) {
        return false;
    }
    for byte in bytes {
        if is_word(*byte) {
            let is_valid = matches!(separator.as_str(), "" | "." | "_" | "__")
                || separator.bytes().all(|byte| byte == b'-');
            if !is_valid {
                return false;
            }
            separator.clear();
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(char::from(*byte));
        } else {
            return false;
        }
    }
    true
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// A registry, or a repository and everything below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryPrefix {
    registry: RegistryName,
    /// Empty for the whole registry.
    name: String,
}

impl RepositoryPrefix {
    /// The length of the name: of two prefixes that a repository is within, the longer one is the more specific.
    pub(crate) fn specificity(&self) -> usize {
        self.name.len()
    }
}

impl FromStr for RepositoryPrefix {
    type Err = ReferenceError;

    /// Parses `host[:port]` or `host[:port]/name`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.contains('/') {
            false => Ok(Self { registry: text.parse()?, name: String::new() }),
            true => {
                let Repository { registry, name } = text.parse()?;
                Ok(Self { registry, name })
            }
        }
    }
}

impl fmt::Display for RepositoryPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_str() {
            "" => write!(f, "{}", self.registry),
            name => write!(f, "{}/{name}", self.registry),
        }
    }
}

impl Tag {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_valid = text.len() <= MAX_TAG_BYTES
            && text.bytes().next().is_some_and(is_word)
            && text.bytes().all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'));
        if is_valid { Ok(Self(text.to_owned())) } else { Err(ReferenceError::Tag) }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reference {
    /// Tells whether a text is meant as a reference, and not as a path.
    pub fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCHEME)
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        match self {
            Self::Pinned(pinned) => &pinned.repository,
            Self::Tagged(repository, _) => repository,
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix(SCHEME).ok_or(ReferenceError::Scheme)?;
        if let Some((repository, digest)) = rest.split_once('@') {
            let repository = repository.parse()?;
            let digest = Digest::parse(digest).map_err(|_| ReferenceError::Digest)?;
            return Ok(Self::Pinned(PinnedReference { repository, digest }));
        }
        let (registry, path) = rest.split_once('/').ok_or(ReferenceError::NoTarget)?;
        let (name, tag) = path.split_once(':').ok_or(ReferenceError::NoTarget)?;
        let repository = format!("{registry}/{name}").parse()?;
        Ok(Self::Tagged(repository, tag.parse()?))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned(pinned) => pinned.fmt(f),
            Self::Tagged(repository, tag) => write!(f, "{SCHEME}{repository}:{tag}"),
        }
    }
}

impl FromStr for PinnedReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            Reference::Pinned(pinned) => Ok(pinned),
            Reference::Tagged(..) => Err(ReferenceError::NotPinned),
        }
    }
}

impl fmt::Display for PinnedReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}@{}", self.repository, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_reference_has_one_form() {
        for text in [
            format!("oci://registry.example/policies/who-may@{DIGEST}"),
            format!("oci://localhost:5000/a@{DIGEST}"),
            format!("oci://127.0.0.1:5000/a.b/c__d/e--f@{DIGEST}"),
            format!("oci://[::1]:5000/a@{DIGEST}"),
            format!("oci://[2001:db8::1]/a@{DIGEST}"),
            "oci://registry.example/a:1.2.0".to_owned(),
            "oci://registry.example:443/a/b:_x".to_owned(),
        ] {
            let parsed: Reference = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let upper = DIGEST.to_uppercase();
        for text in [
            "",
            "oci://",
            "http://registry.example/a:1",
            "OCI://registry.example/a:1",
            "oci://registry.example",
            "oci://registry.example/",
            "oci://registry.example/a",
            "oci://registry.example/a:",
            "oci://registry.example/a@",
            "oci://registry.example/a:1@",
            "oci:///a:1",
            "oci://Registry.example/a:1",
            "oci://registry.example/A:1",
            "oci://registry..example/a:1",
            "oci://-registry.example/a:1",
            "oci://registry.example./a:1",
            "oci://registry.example:0/a:1",
            "oci://registry.example:080/a:1",
            "oci://registry.example:65536/a:1",
            "oci://registry.example:/a:1",
            "oci://user@registry.example/a:1",
            "oci://user:secret@registry.example/a:1",
            "oci://registry.example/a//b:1",
            "oci://registry.example/../a:1",
            "oci://registry.example/a/../b:1",
            "oci://registry.example/a%2fb:1",
            "oci://registry.example/a?x=y:1",
            "oci://registry.example/a#x:1",
            "oci://registry.example/a___b:1",
            "oci://registry.example/a._b:1",
            "oci://registry.example/a-:1",
            "oci://registry.example/a :1",
            "oci://registry.example/a:.x",
            "oci://registry.example/a:x/y",
            "oci://1.2.3/a:1",
            "oci://127.1/a:1",
            "oci://0x7f.1/a:1",
            "oci://0x7f000001/a:1",
            "oci://127.0.0.01/a:1",
            "oci://[::01]/a:1",
            "oci://[::1/a:1",
            "oci://registry\u{ff0e}example/a:1",
            &format!("oci://registry.example/a@{upper}"),
            &format!("oci://registry.example/a@{DIGEST}0"),
            &format!("oci://registry.example/a:1@{DIGEST}"),
            &format!("oci://registry.example/a@{DIGEST}@{DIGEST}"),
            &format!("oci://registry.example/{}:1", "a".repeat(256)),
            &format!("oci://registry.example/a:{}", "x".repeat(129)),
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
        let tagged = "oci://registry.example/a:1".parse::<PinnedReference>();
        assert_eq!(tagged, Err(ReferenceError::NotPinned));
    }

    #[test]
    fn a_prefix_ends_between_parts() {
        for (prefix, repository, is_within) in [
            ("r.example", "r.example/a", true),
            ("r.example/a", "r.example/a", true),
            ("r.example/a", "r.example/a/b", true),
            ("r.example/a", "r.example/ab", false),
            ("r.example/a", "r.example/a-b", false),
            ("r.example/a/b", "r.example/a", false),
            ("r.example", "r.example:5000/a", false),
            ("r.example", "x.r.example/a", false),
        ] {
            let prefix: RepositoryPrefix = prefix.parse().unwrap();
            let repository: Repository = repository.parse().unwrap();
            assert_eq!(repository.is_within(&prefix), is_within, "{prefix} {repository}");
        }
    }
}
