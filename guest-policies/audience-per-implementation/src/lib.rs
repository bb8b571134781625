//! Keeps the audiences that a definition uses: a token for one cloud is no use at another.

use std::collections::{BTreeMap, BTreeSet};

use countersign_policy::{
    Audience, DefinitionId, Grant, IdentifierMap, Implementation, Run, Token, Verdict, policy,
    settings,
};

/// The audiences that runs may request, by implementation, and by definition where one differs.
#[settings]
pub struct Settings {
    /// Audiences by implementation.
    #[serde(default)]
    implementations: BTreeMap<Implementation, BTreeSet<Audience>>,
    /// Audiences by the UUID of the definition, in the implementation's place.
    #[serde(default)]
    definitions: IdentifierMap<DefinitionId, BTreeSet<Audience>>,
}

policy!(Settings, evaluate);

fn evaluate(settings: &Settings, run: &Run, token: &Token) -> Verdict {
    let definition = &run.definition;
    // An implementation that only a later host knows cannot be in the settings.
    let by_implementation = || settings.implementations.get(&definition.implementation);
    let Some(used) = settings.definitions.get(&definition.id).or_else(by_implementation) else {
        return Verdict::deny(
            "no-audiences-set",
            format!(
                "no audiences are set for definition `{}` or its implementation",
                definition.id
            ),
        );
    };
    let grant = Grant::new().keep_audiences(token, |audience| used.contains(audience));
    match grant.audiences.as_deref() {
        Some([]) => Verdict::deny(
            "audience-not-used",
            format!(
                "definition `{}` uses none of the requested audiences; it uses: {}",
                definition.id,
                used.iter().map(Audience::as_str).collect::<Vec<_>>().join(", ")
            ),
        ),
        Some(kept) if kept.len() == token.audiences.len() => Verdict::restrict(),
        _ => grant.restrict(),
    }
}

#[cfg(test)]
mod tests {
    use countersign_policy::{parse_settings, testing};

    use super::*;

    #[test]
    fn a_definition_goes_before_its_implementation() {
        let mut run = testing::run();
        let settings = parse_settings(&format!(
            r#"{{"implementations": {{"terraform": ["api://AzureADTokenExchange"]}},
                "definitions": {{"{}": ["aws-workload-identity-provider:demo"]}}}}"#,
            run.definition.id
        ))
        .unwrap();
        let kept = |run: &Run| match evaluate(&settings, run, &testing::token()) {
            Verdict::Restrict(grant) => grant.audiences.unwrap_or_default(),
            other => panic!("{other:?}"),
        };
        assert_eq!(kept(&run), ["aws-workload-identity-provider:demo"]);
        run.definition.id = "00000000-0000-4000-8000-000000000001".to_owned();
        assert_eq!(kept(&run), ["api://AzureADTokenExchange"]);
    }

    #[test]
    fn an_implementation_that_is_not_known_is_denied() {
        let settings = parse_settings(r#"{"implementations": {"manual": ["a"]}}"#).unwrap();
        let mut run = testing::run();
        run.definition.implementation = Implementation::Other;
        assert!(matches!(evaluate(&settings, &run, &testing::token()), Verdict::Deny(_)));
    }
}
