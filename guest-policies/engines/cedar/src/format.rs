//! The text of policies as Cedar's own formatter writes it.

use std::fmt::Write as _;
use std::str::FromStr;

use cedar_policy::PolicySet;
use cedar_policy_formatter::{Config, policies_str_to_pretty};
use countersign_policy::Problem;

use crate::source::POLICIES;

/// The width of lines: that of the formatter's own command.
const WIDTH: usize = 80;

/// The bytes of a part: a host shortens longer messages, and escapes characters of texts.
const PART_BYTES: usize = 400;

/// The parts of the formatted text from the n-th on, and a last answer that says that there are no more; or the problems of
/// a text that is none.
pub fn answers(policies: &str, first: u32) -> Vec<Problem> {
    let source = POLICIES.of(policies);
    if let Err(error) = PolicySet::from_str(policies) {
        return source.problems(&error);
    }
    let config = Config { line_width: WIDTH, ..Config::default() };
    let formatted = match policies_str_to_pretty(policies, &config) {
        Ok(formatted) => formatted,
        Err(error) => return vec![source.whole(&error.to_string())],
    };
    let part = |bytes: &[u8]| {
        let message = bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        });
        Problem { pointer: "/format".to_owned(), message }
    };
    let end = Problem { pointer: "/ask".to_owned(), message: "end".to_owned() };
    let parts = formatted.as_bytes().chunks(PART_BYTES).map(part);
    parts.skip(usize::try_from(first).unwrap_or(usize::MAX)).chain([end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_formatted_in_parts() {
        let long = "permit(principal,action,resource);".repeat(20);
        let all = answers(&long, 0);
        let (end, parts) = all.split_last().expect("an end");
        assert_eq!((end.pointer.as_str(), parts.len() > 1), ("/ask", true));
        let hex: String = parts.iter().map(|part| part.message.as_str()).collect();
        assert!(hex.starts_with("7065726d697420287072696e636970616c"), "{hex}");
        assert_eq!(answers(&long, 1).first(), all.get(1));
        let wrong = answers("permit(", 0);
        assert!(wrong.iter().all(|problem| problem.pointer == "/policies"), "{wrong:?}");
    }
}
