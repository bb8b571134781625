//! Checks of what clouds' clients are given: a wrong one fails late, and far from here.

/// Parses the ARN of a role, `arn:aws:iam::123456789012:role/NAME`.
pub(super) fn role(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let is_role = match parts.as_slice() {
        ["arn", partition, "iam", "", account, resource] => {
            let name = resource.strip_prefix("role/").unwrap_or_default();
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && (1..=576).contains(&name.len())
                && !name.ends_with('/')
                && name.bytes().all(|byte| is_word(byte) || byte == b'/')
        }
        _ => false,
    };
    expected(is_role, text, "the ARN of a role, `arn:aws:iam::123456789012:role/NAME`")
}

/// Parses the name of a region, `eu-central-1`.
pub(super) fn region(text: &str) -> Result<String, String> {
    let is_region = text.split('-').count() >= 3
        && text.ends_with(|c: char| c.is_ascii_digit())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    expected(is_region, text, "a region, `eu-central-1`")
}

/// Parses the name of a session: 2 to 64 characters that STS takes.
pub(super) fn session(text: &str) -> Result<String, String> {
    let is_name = (2..=64).contains(&text.len()) && text.bytes().all(is_word);
    expected(is_name, text, "2 to 64 letters, digits and any of `_+=,.@-`")
}

/// Parses a UUID.
pub(super) fn uuid(text: &str) -> Result<String, String> {
    let lengths = text.split('-').map(str::len);
    let is_uuid = lengths.eq([8, 4, 4, 4, 12])
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    expected(is_uuid, text, "a UUID")
}

/// Parses the id or a domain of a tenant.
pub(super) fn tenant(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    expected(is_name, text, "the id of a tenant, or its domain")
}

/// Parses the address of a service account.
pub(super) fn email(text: &str) -> Result<String, String> {
    let is_address = text.split_once('@').is_some_and(|(name, domain)| {
        !name.is_empty() && domain.contains('.') && !domain.contains('@')
    });
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_".contains(&byte));
    expected(is_address && is_plain, text, "the address of a service account, `NAME@DOMAIN`")
}

/// Returns true for a letter, a digit, or a sign that names in IAM may have.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

fn expected(is_one: bool, text: &str, what: &str) -> Result<String, String> {
    is_one.then(|| text.to_owned()).ok_or_else(|| format!("expected {what}"))
}

#[cfg(test)]
mod tests {
    use super::{email, region, role, session, uuid};

    #[test]
    fn wrong_ones_are_refused() {
        type Check = fn(&str) -> Result<String, String>;
        let cases: &[(Check, &[&str], &[&str])] = &[
            (
                role,
                &["arn:aws:iam::123456789012:role/runs", "arn:aws-cn:iam::123456789012:role/a/b"],
                &[
                    "nonsense",
                    "arn:aws:iam::1:role/a",
                    "arn:aws:iam::123456789012:user/a",
                    "arn:aws:iam::123456789012:role/it's",
                ],
            ),
            (
                region,
                &["eu-central-1", "us-gov-west-1"],
                &["", "eu central 1", "eu-central", "EU-CENTRAL-1"],
            ),
            (session, &["countersign"], &["a", "a b"]),
            (
                uuid,
                &["b23cfb9a-6974-444f-9d33-62134a632373"],
                &["a", "b23cfb9a69744-44f-9d33-62134a632373"],
            ),
            (email, &["a@b.c"], &["a", "a@b", "a/../b@c.d", "@b.c"]),
        ];
        for (check, good, bad) in cases {
            good.iter().for_each(|text| assert_eq!(check(text).as_deref(), Ok(*text)));
            bad.iter().for_each(|text| assert!(check(text).is_err(), "{text}"));
        }
    }
}
