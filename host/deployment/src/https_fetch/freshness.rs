//! The time for which a server says that a document stays good.

use reqwest::header::{AGE, CACHE_CONTROL, HeaderMap};

/// The seconds for which an answer is fresh by its `Cache-Control` (RFC 9111 sections 4.2 and 5.2.2), less the time that
/// caches had it; 0 where it must be asked for again each time, or where what it says is malformed. `None` where it says
/// nothing. `Expires` is not looked at.
pub(super) fn seconds(headers: &HeaderMap) -> Option<u64> {
    let mut fresh: Option<u64> = None;
    let mut at_most =
        |seconds: u64| fresh = Some(fresh.map_or(seconds, |other| other.min(seconds)));
    for value in headers.get_all(CACHE_CONTROL) {
        // Section 4.2.1: freshness that cannot be understood is none.
        let Ok(value) = value.to_str() else {
            at_most(0);
            continue;
        };
        for directive in value.split(',') {
            let (name, argument) = match directive.split_once('=') {
                Some((name, argument)) => (name.trim(), argument.trim().trim_matches('"')),
                None => (directive.trim(), ""),
            };
            if name.eq_ignore_ascii_case("max-age") {
                let is_number =
                    !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_digit());
                at_most(if is_number { argument.parse().unwrap_or(u64::MAX) } else { 0 });
            } else if ["no-store", "no-cache"].iter().any(|no| name.eq_ignore_ascii_case(no)) {
                at_most(0);
            }
        }
    }
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()?.trim().parse().ok());
    fresh.map(|seconds| seconds.saturating_sub(age.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn freshness_is_the_least_that_is_said() {
        for (lines, age, expected) in [
            (&[] as &[&str], "", None),
            (&["public"], "", None),
            (&["public, max-age=600, must-revalidate"], "", Some(600)),
            (&["Max-Age=\"60\""], "", Some(60)),
            (&["max-age=600"], "100", Some(500)),
            (&["max-age=600"], "700", Some(0)),
            (&["max-age=600"], "x", Some(600)),
            (&["max-age=600, max-age=60"], "", Some(60)),
            (&["max-age=600", "no-cache"], "", Some(0)),
            (&["no-store"], "", Some(0)),
            (&["no-cache=\"set-cookie\", max-age=60"], "", Some(0)),
            (&["s-maxage=5, x-max-age=1"], "", None),
            (&["max-age=-1"], "", Some(0)),
            (&["max-age"], "", Some(0)),
            (&["max-age=99999999999999999999999"], "", Some(u64::MAX)),
            (&["max-age=+60"], "", Some(0)),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
            }
            if !age.is_empty() {
                headers.insert(AGE, HeaderValue::from_str(age).unwrap());
            }
            assert_eq!(seconds(&headers), expected, "{lines:?} {age}");
        }
    }
}
