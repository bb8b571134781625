//! Each finding in each format: the input that shows it, or the reason why the format cannot have it.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod inputs;

use std::path::Path;

use countersign_trust::{FINDINGS, TrustFiles};
use inputs::files_of;

/// The formats, by column.
const FORMATS: [&str; 4] = ["HCL", "plan", "CloudFormation", "cloud output"];

/// A cell: the input of `tests` that shows the finding, with its expert's answer in `answers.txt`.
type Cell = Result<&'static str, &'static str>;

const STRICT: Cell = Err(
    "a key that stands twice makes the file unreadable: JSON and YAML do not say which one counts",
);
const NO_COMMENTS: Cell = Err("JSON has no comments, and command lines print none");
const AZURE_ONLY: Cell =
    Err("a limit of Azure's or GCP's, and CloudFormation makes resources of AWS");

/// The cells of each finding, in the order of [`FORMATS`].
const MATRIX: &[(&str, [Cell; 4])] = &[
    (
        "audience-of-another-cloud",
        [
            Ok("lint/azapi-credential.tf"),
            Ok("idioms/plan-each.json"),
            Ok("idioms/cfn-each.yaml"),
            Ok("lint/aws-open.json"),
        ],
    ),
    (
        "malformed-subject",
        [
            Ok("lint/exact-star-azure.tf"),
            Ok("idioms/plan-each.json"),
            Ok("lint/cfn-functions.yaml"),
            Ok("idioms/az-list.json"),
        ],
    ),
    (
        "never-admits",
        [
            Ok("lint/url-key.tf"),
            Ok("idioms/plan-each.json"),
            Ok("idioms/cfn-each.yaml"),
            Ok("lint/path-missing.json"),
        ],
    ),
    (
        "no-audience",
        [
            Ok("lint/awscc.tf"),
            Ok("idioms/plan-each.json"),
            Ok("lint/cfn.yaml"),
            Ok("lint/azure.json"),
        ],
    ),
    (
        "no-subject",
        [
            Ok("lint/awscc.tf"),
            Ok("lint/plan.json"),
            Ok("lint/cfn.yaml"),
            Ok("idioms/gcloud-list.yaml"),
        ],
    ),
    (
        "not-readable",
        [
            Ok("lint/aws.tf"),
            Ok("lint/plan.json"),
            Ok("idioms/cfn-github.yaml"),
            Ok("idioms/graph-flexible.json"),
        ],
    ),
    (
        "old-and-new-subject",
        [
            Ok("lint/aws.tf"),
            Ok("idioms/plan-each.json"),
            Ok("idioms/cfn-each.yaml"),
            Ok("idioms/aws-get-role.json"),
        ],
    ),
    (
        "policy-too-long",
        [
            Ok("lint/long-document.tf"),
            Ok("idioms/plan-each.json"),
            Ok("idioms/cfn-each.yaml"),
            Ok("lint/aws-long.json"),
        ],
    ),
    (
        "prefix-admits-neighbour",
        [
            Ok("lint/heredoc.tofu"),
            Ok("lint/plan.json"),
            Ok("lint/cfn-sub.json"),
            Ok("lint/azure.json"),
        ],
    ),
    ("repeated-key", [Ok("lint/duplicate-key.tf"), STRICT, STRICT, STRICT]),
    (
        "subject-pattern",
        [
            Ok("lint/heredoc.tofu"),
            Ok("lint/plan.json"),
            Ok("lint/cfn-sub.json"),
            Ok("lint/azure.json"),
        ],
    ),
    (
        "subject-too-long",
        [
            Ok("idioms/azure-long.tf"),
            Ok("idioms/plan-each.json"),
            AZURE_ONLY,
            Ok("lint/gcp-long.json"),
        ],
    ),
    (
        "too-many-credentials",
        [
            Ok("lint/azure-many.tf"),
            Ok("idioms/plan-each.json"),
            AZURE_ONLY,
            Ok("idioms/az-many.json"),
        ],
    ),
    (
        "unreadable-file",
        [
            Ok("lint/unreadable.tf"),
            Ok("idioms/plan-cut.json"),
            Ok("idioms/cfn-cut.yaml"),
            Ok("idioms/az-cut.json"),
        ],
    ),
    (
        "unused-accept",
        [Ok("lint/accepted.tf"), NO_COMMENTS, Ok("idioms/cfn-each.yaml"), NO_COMMENTS],
    ),
];

/// Returns true if a text is of a format, by what the format has at its top.
fn is_of(format: &str, name: &str, text: &str) -> bool {
    let is_hcl = [".tf", ".tofu"].iter().any(|end| name.ends_with(end));
    let is_plan = text.contains("\"format_version\"");
    let is_template = text.contains("Resources") && text.contains("AWS::IAM::Role");
    match format {
        "HCL" => is_hcl,
        "plan" => is_plan,
        "CloudFormation" => is_template,
        _ => !is_hcl && !is_plan && !is_template,
    }
}

#[test]
fn each_finding_is_shown_in_each_format_that_can_have_it() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let answers = std::fs::read_to_string(tests.join("answers.txt")).unwrap();
    let codes: Vec<_> = MATRIX.iter().map(|(code, _)| *code).collect();
    let all: Vec<_> = FINDINGS.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, all, "each finding has a row");
    for (code, cells) in MATRIX {
        for (format, cell) in FORMATS.iter().zip(cells) {
            let Ok(input) = cell else { continue };
            let files = files_of(&tests.join(input), input);
            let (name, text) = files.first().unwrap();
            assert!(is_of(format, name, text), "{input} is not {format}");
            let found = TrustFiles::parse(&files).lint();
            assert!(found.iter().any(|one| one.code == *code), "{input} does not show {code}");
            assert!(answers.lines().any(|line| line == *input), "{input} has no answer");
        }
    }
}
