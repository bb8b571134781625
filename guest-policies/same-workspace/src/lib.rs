//! Permits runs of the definition workspace itself, and of the workspaces on its list.

use countersign_policy::{Grant, IdentifierSet, Run, Token, Verdict, Workspace, policy, settings};

/// Workspaces that may use a definition, in addition to its own.
#[settings]
pub struct Settings {
    /// Workspaces that may use the definitions as well.
    #[serde(default)]
    also: IdentifierSet<Workspace>,
    /// The maximum TTL of tokens for those, in seconds. Without it, as requested.
    #[serde(default)]
    #[schemars(range(min = 1))]
    also_max_ttl: Option<std::num::NonZeroU32>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let consumer = &run.building_block.workspace;
    let platform_team = &run.definition.workspace;
    if consumer == platform_team {
        return Verdict::permit();
    }
    if settings.also.contains(consumer) {
        return match settings.also_max_ttl {
            Some(seconds) => Grant::new().ttl_at_most(seconds.get(), token).permit(),
            None => Verdict::permit(),
        };
    }
    Verdict::deny(
        "foreign-workspace",
        format!(
            "workspace `{consumer}` may not use definitions of workspace `{platform_team}`: it is \
             neither that workspace nor on its list"
        ),
    )
}

#[cfg(test)]
mod tests {
    use countersign_policy::{parse_settings, testing};

    use super::*;

    #[test]
    fn a_neighbour_is_not_admitted_by_its_prefix() {
        let settings = parse_settings(r#"{"also": ["team"]}"#).unwrap();
        let mut run = testing::run();
        for (workspace, permitted) in
            [("my-workspace", true), ("team", true), ("team-b", false), ("tea", false)]
        {
            run.building_block.workspace = workspace.to_owned();
            let verdict = evaluate(&settings, &run, &testing::token());
            assert_eq!(verdict == Verdict::permit(), permitted, "{workspace}");
        }
    }
}
