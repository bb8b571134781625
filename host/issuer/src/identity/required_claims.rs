//! Claims beyond `sub` that an identity requires of a token, each with one exact value.

use serde_json::Value;

/// The maximum of claims that one identity requires.
const MAX_CLAIMS: usize = 32;
/// The maximum length of a name or of a text, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// Claims that are checked of every token, or that have another meaning for each.
const CHECKED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// The value of a required claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimValue {
    /// A text, compared byte by byte.
    Text(String),
    /// True or false; not the texts.
    Bool(bool),
    /// A whole number; not its text, nor a number with a fraction.
    Integer(i64),
}

/// The claims that a token must have, by their paths: all of them, with exactly these values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredClaims(Vec<(Vec<String>, ClaimValue)>);

/// Claims that cannot be required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequiredClaimsError {
    /// There are too many.
    #[error("more than {MAX_CLAIMS} claims")]
    TooMany,
    /// One is nested too deeply, or is nothing.
    #[error(
        "a claim has no name, or more than {} names within one another",
        RequiredClaims::MAX_DEPTH
    )]
    Depth,
    /// A name or a text is empty or too long.
    #[error("a claim's name or text is empty, or longer than {MAX_TEXT_BYTES} bytes")]
    Length,
    /// A claim is there twice.
    #[error("a claim is there twice")]
    Twice,
    /// A claim that is checked of every token.
    #[error("`iss`, `sub`, `aud`, `exp`, `nbf`, `iat` and `jti` are checked of every token")]
    Checked,
}

impl RequiredClaims {
    /// The maximum of names in the path of a claim.
    pub const MAX_DEPTH: usize = 8;

    /// Requires each of these claims, by the path of its names.
    ///
    /// # Errors
    /// When there are too many, or one is out of form.
    pub fn new(claims: Vec<(Vec<String>, ClaimValue)>) -> Result<Self, RequiredClaimsError> {
        if claims.len() > MAX_CLAIMS {
            return Err(RequiredClaimsError::TooMany);
        }
        for (place, (path, value)) in claims.iter().enumerate() {
            let first = path.first().ok_or(RequiredClaimsError::Depth)?;
            if path.len() > Self::MAX_DEPTH {
                return Err(RequiredClaimsError::Depth);
            }
            if path.len() == 1 && CHECKED.contains(&first.as_str()) {
                return Err(RequiredClaimsError::Checked);
            }
            let text = match value {
                ClaimValue::Text(text) => Some(text),
                ClaimValue::Bool(_) | ClaimValue::Integer(_) => None,
            };
            if path.iter().chain(text).any(|t| t.is_empty() || t.len() > MAX_TEXT_BYTES) {
                return Err(RequiredClaimsError::Length);
            }
            if claims.iter().take(place).any(|(other, _)| other == path) {
                return Err(RequiredClaimsError::Twice);
            }
        }
        Ok(Self(claims))
    }

    /// True when no claim is required.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True when the claims of a token have all of these.
    pub(super) fn are_in(&self, claims: &Value) -> bool {
        self.0.iter().all(|(path, value)| {
            // An object's own members alone: a path leads through no list, and no name has a syntax.
            let found = path.iter().try_fold(claims, |value, name| value.as_object()?.get(name));
            match (found, value) {
                (Some(Value::String(found)), ClaimValue::Text(text)) => found == text,
                (Some(Value::Bool(found)), ClaimValue::Bool(flag)) => found == flag,
                (Some(Value::Number(found)), ClaimValue::Integer(number)) => {
                    found.as_i64() == Some(*number)
                }
                _ => false,
            }
        })
    }

    /// True when no token can have these and the others: one claim has another value in each.
    pub(super) fn exclude(&self, other: &Self) -> bool {
        self.0.iter().any(|(path, value)| {
            other.0.iter().any(|(other_path, other)| path == other_path && value != other)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn required(claims: &[(&[&str], ClaimValue)]) -> Result<RequiredClaims, RequiredClaimsError> {
        let owned = |(path, value): &(&[&str], ClaimValue)| {
            (path.iter().map(|name| (*name).to_owned()).collect(), value.clone())
        };
        RequiredClaims::new(claims.iter().map(owned).collect())
    }

    fn text(text: &str) -> ClaimValue {
        ClaimValue::Text(text.to_owned())
    }

    #[test]
    fn claims_are_exact() {
        let claims = json!({
            "repository_id": "74", "verified": true, "number": 7, "list": ["a"],
            "kubernetes.io": {"namespace": "runners", "pod": {"name": "a"}},
            "null": null, "float": 7.0, "object": {},
        });
        for (path, value, is_there) in [
            (&["repository_id"] as &[&str], text("74"), true),
            (&["repository_id"], text("7"), false),
            (&["repository_id"], ClaimValue::Integer(74), false),
            (&["Repository_id"], text("74"), false),
            (&["verified"], ClaimValue::Bool(true), true),
            (&["verified"], ClaimValue::Bool(false), false),
            (&["verified"], text("true"), false),
            (&["number"], ClaimValue::Integer(7), true),
            (&["number"], text("7"), false),
            (&["float"], ClaimValue::Integer(7), false),
            (&["kubernetes.io", "namespace"], text("runners"), true),
            (&["kubernetes.io", "pod", "name"], text("a"), true),
            (&["kubernetes.io.namespace"], text("runners"), false),
            (&["kubernetes", "io", "namespace"], text("runners"), false),
            (&["kubernetes.io"], text("runners"), false),
            (&["repository_id", "a"], text("74"), false),
            (&["list"], text("a"), false),
            (&["list", "0"], text("a"), false),
            (&["null"], text("null"), false),
            (&["absent"], text("a"), false),
        ] {
            let required = required(&[(path, value.clone())]).unwrap();
            assert_eq!(required.are_in(&claims), is_there, "{path:?} {value:?}");
            assert!(!required.are_in(&json!([])), "{path:?}");
        }
        let both = [(&["repository_id"] as &[&str], text("74")), (&["absent"], text("a"))];
        assert!(!required(&both).unwrap().are_in(&claims), "all are needed");
    }

    #[test]
    fn claims_are_bounded() {
        let long = "x".repeat(MAX_TEXT_BYTES + 1);
        let names: Vec<_> = (0..=MAX_CLAIMS).map(|number| number.to_string()).collect();
        let names: Vec<_> = names.iter().map(|name| [name.as_str()]).collect();
        let many: Vec<_> = names.iter().map(|path| (path.as_slice(), text("a"))).collect();
        let one = (&["a"] as &[&str], text("a"));
        for (claims, error) in [
            (many, RequiredClaimsError::TooMany),
            (vec![(&[] as &[&str], text("a"))], RequiredClaimsError::Depth),
            (vec![(&["a"; 9], text("a"))], RequiredClaimsError::Depth),
            (vec![(&[long.as_str()], text("a"))], RequiredClaimsError::Length),
            (vec![(&["a", ""], text("a"))], RequiredClaimsError::Length),
            (vec![(&["a"], text(&long))], RequiredClaimsError::Length),
            (vec![(&["a"], text(""))], RequiredClaimsError::Length),
            (vec![one.clone(), one], RequiredClaimsError::Twice),
            (vec![(&["sub"], text("a"))], RequiredClaimsError::Checked),
        ] {
            assert_eq!(required(&claims).unwrap_err(), error);
        }
        assert!(required(&[(&["a", "sub"], text("a"))]).is_ok());
    }
}
