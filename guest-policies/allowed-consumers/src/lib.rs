//! Permits the workspaces on a list, of up to 10,000.

use std::num::NonZeroU32;

use countersign_policy::serde::{Deserialize, Deserializer, de::Error};
use countersign_policy::{Grant, IdentifierSet, Run, Token, Verdict, Workspace, policy, settings};

const MAX_WORKSPACES: usize = 10_000;

/// Which workspaces may use a definition.
#[settings]
pub struct Settings {
    /// The workspaces that may, at most 10,000. The definition workspace is not on it by itself.
    #[serde(deserialize_with = "bounded")]
    #[schemars(length(max = 10_000))]
    workspaces: IdentifierSet<Workspace>,
    /// The maximum TTL of tokens for them, in seconds. Without it, as requested.
    #[serde(default)]
    max_ttl: Option<NonZeroU32>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let consumer = &run.building_block.workspace;
    if !settings.workspaces.contains(consumer) {
        return Verdict::deny(
            "workspace-not-listed",
            format!(
                "workspace `{consumer}` is not among the {} that may use definition `{}` of \
                 workspace `{}`",
                settings.workspaces.len(),
                run.definition.id,
                run.definition.workspace
            ),
        );
    }
    match settings.max_ttl {
        Some(seconds) => Grant::new().ttl_at_most(seconds.get(), token).permit(),
        None => Verdict::permit(),
    }
}

fn bounded<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<IdentifierSet<Workspace>, D::Error> {
    let workspaces = IdentifierSet::deserialize(deserializer)?;
    if workspaces.len() > MAX_WORKSPACES {
        let found = workspaces.len();
        return Err(D::Error::custom(format_args!(
            "expected at most {MAX_WORKSPACES} workspaces, found {found}"
        )));
    }
    Ok(workspaces)
}

#[cfg(test)]
mod tests {
    use countersign_policy::{parse_settings, testing};

    use super::*;

    fn list(length: usize) -> String {
        let names: Vec<_> = (0..length).map(|n| format!("\"team-{n}\"")).collect();
        format!(r#"{{"workspaces": [{}]}}"#, names.join(","))
    }

    #[test]
    fn takes_ten_thousand_and_no_more() {
        let settings = parse_settings::<Settings>(&list(10_000)).unwrap();
        let mut run = testing::run();
        run.building_block.workspace = "team-9999".to_owned();
        assert_eq!(evaluate(&settings, &run, &testing::token()), Verdict::permit());
        assert_eq!(
            parse_settings::<Settings>(&list(10_001)).unwrap_err().to_string(),
            "/workspaces: expected at most 10000 workspaces, found 10001"
        );
    }
}
