//! The codes of reasons for which the claims of a token are refused before any decision, beside those of the claims themselves.

/// An audience is in neither list.
pub(crate) const AUDIENCE_UNMAPPED: &str = "audience-unmapped";
/// The audiences are of both lists, or more than one is to be decided on than tokens may have.
pub(crate) const AUDIENCES_MIXED: &str = "audiences-mixed";
/// The claims have one that Kubernetes does not write.
pub(crate) const CLAIM_UNKNOWN: &str = "claim-unknown";
/// Pods of the namespace may have no run.
pub(crate) const NAMESPACE_UNLISTED: &str = "namespace-unlisted";
/// The token is bound to no pod, or the pod's name names no run.
pub(crate) const POD_WITHOUT_RUN: &str = "pod-without-run";
/// There were no claims: the request was too large, too slow, or none.
pub(crate) const REQUEST_UNREAD: &str = "request-unread";
/// The run of the pod's name is not registered.
pub(crate) const RUN_UNKNOWN: &str = "run-unknown";
/// The token would live for longer than any may.
pub(crate) const EXPIRATION_TOO_LONG: &str = "expiration-too-long";
/// Only in shadow: there was no decision, since something needed for it was down.
pub(crate) const NO_DECISION: &str = "no-decision";

/// All of them that refuse.
pub(crate) const ALL: [&str; 7] = [
    AUDIENCE_UNMAPPED,
    AUDIENCES_MIXED,
    CLAIM_UNKNOWN,
    NAMESPACE_UNLISTED,
    POD_WITHOUT_RUN,
    REQUEST_UNREAD,
    RUN_UNKNOWN,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use countersign_signing::{NotAsApproved, ServiceAccountClaimsError};

    use super::*;

    #[test]
    fn the_page_has_every_code_and_no_other() {
        let page = include_str!("../../../../docs/codes.md");
        let (_, table) =
            page.split_once("| Kubernetes signer | what it means |\n|---|---|\n").unwrap();
        let rows = table.lines().take_while(|line| line.starts_with("| `"));
        let page: BTreeSet<_> = rows.filter_map(|line| line.split('`').nth(1)).collect();
        let codes = ServiceAccountClaimsError::CODES.into_iter().chain(ALL);
        assert_eq!(page, codes.chain(NotAsApproved::CODES).collect());
    }
}
