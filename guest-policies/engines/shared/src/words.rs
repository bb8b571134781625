//! The words of claims.

use countersign_policy::{AuthorKind, Behavior, Implementation};

/// The words of a claim that has a closed list of them, by its path, such as `run.behavior`.
#[must_use]
pub fn words(path: &str) -> Option<Vec<&'static str>> {
    Some(match path {
        "run.behavior" => {
            [Behavior::Apply, Behavior::Detect, Behavior::Destroy].map(Behavior::as_str).to_vec()
        }
        "run.definition.implementation" => [
            Implementation::Manual,
            Implementation::Terraform,
            Implementation::GithubWorkflow,
            Implementation::GitlabCicd,
            Implementation::AzureDevops,
            Implementation::Other,
        ]
        .map(Implementation::as_str)
        .to_vec(),
        "run.trigger.author_kind" => [
            AuthorKind::User,
            AuthorKind::ApiKey,
            AuthorKind::ApiUser,
            AuthorKind::System,
            AuthorKind::Other,
        ]
        .map(AuthorKind::as_str)
        .to_vec(),
        _ => return None,
    })
}

/// The claims that have a closed list of words, by their paths.
pub const PATHS_OF_WORDS: [&str; 3] =
    ["run.behavior", "run.definition.implementation", "run.trigger.author_kind"];
