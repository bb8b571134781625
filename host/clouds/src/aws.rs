//! AWS STS, `AssumeRoleWithWebIdentity`.

use countersign::visible;
use serde_json::Value;

use crate::cloud::{AudienceClouds, Cloud};
use crate::limits::{
    AWS_ISSUER_BYTES, AWS_SESSION_TAG_KEY, AWS_SESSION_TAG_VALUE, AWS_SESSION_TAGS,
    AWS_TOKEN_CHARACTERS,
};
use crate::preflight::Violations;
use crate::unsigned::{TAGS, UnsignedToken};

/// The prefix of claims with one session tag each.
const ONE_TAG: &str = "https://aws.amazon.com/tags/principal_tags/";

pub(crate) fn check(token: &UnsignedToken<'_>, clouds: &AudienceClouds, found: &mut Violations) {
    let accepted = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];
    found.algorithm("aws-algorithm", "AWS", token, &accepted);
    let characters = token.characters;
    found.unless(AWS_TOKEN_CHARACTERS.contains(&characters), "aws-token-size", || {
        let (min, max) = (AWS_TOKEN_CHARACTERS.start(), AWS_TOKEN_CHARACTERS.end());
        format!("AWS accepts a token of {min} to {max} characters, and this one has {characters}")
    });
    for audience in token.claims.aud.as_slice() {
        let of_aws = clouds.of(audience) == Some(Cloud::Aws);
        found.unless(!of_aws || audience.len() <= AWS_ISSUER_BYTES, "aws-audience", || {
            format!(
                "an audience is a client id of AWS's provider, which has at most {AWS_ISSUER_BYTES} bytes, \
                 and this one has {}",
                audience.len()
            )
        });
    }
    found.issuer("aws-issuer", "AWS", token, Some(AWS_ISSUER_BYTES), false);
    found.times("aws-times", "AWS", token);
    session_tags(token, found);
}

fn session_tags(token: &UnsignedToken<'_>, found: &mut Violations) {
    const CODE: &str = "aws-session-tags";
    let mut tags: Vec<(&str, &Value)> = Vec::new();
    for (name, value) in &token.session_tags.0 {
        if name == TAGS {
            match value.get("principal_tags").and_then(Value::as_object) {
                Some(of_claim) => tags.extend(of_claim.iter().map(|(key, value)| (&**key, value))),
                None => found.add(CODE, format!("`{TAGS}` has no object `principal_tags`")),
            }
        } else if let Some(key) = name.strip_prefix(ONE_TAG) {
            tags.push((key, value));
        }
    }
    found.unless(tags.len() <= AWS_SESSION_TAGS, CODE, || {
        format!(
            "AWS accepts at most {AWS_SESSION_TAGS} session tags, and this token has {}",
            tags.len()
        )
    });
    for (key, value) in tags {
        let shown = visible(key);
        let length = key.chars().count();
        found.unless((1..=AWS_SESSION_TAG_KEY).contains(&length), CODE, || {
            format!("the key of a session tag has 1 to {AWS_SESSION_TAG_KEY} characters, and `{shown}` has {length}")
        });
        // AWS accepts a list of one value, or the value itself.
        let text = match value {
            Value::Array(values) => match values.as_slice() {
                [one] => one.as_str(),
                _ => None,
            },
            one => one.as_str(),
        };
        let Some(text) = text else {
            found.add(
                CODE,
                format!("the session tag `{shown}` needs exactly one string as its value"),
            );
            continue;
        };
        let length = text.chars().count();
        found.unless(length <= AWS_SESSION_TAG_VALUE, CODE, || {
            format!(
                "the value of a session tag has at most {AWS_SESSION_TAG_VALUE} characters, and that of \
                 `{shown}` has {length}"
            )
        });
    }
}
