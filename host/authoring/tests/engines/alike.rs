//! The same rules in several languages give the same verdicts.

use countersign_engines::EngineName;
use countersign_test_artifacts::SCRIPTED;
use serde_json::{Value, json};

use crate::choices::Choices;
use crate::comparison::answer;
use crate::{RUN, component, prepare};

/// The number of claims that all of them decide on.
const CLAIMS: usize = 20_000;

const REGO: &str = r#"package countersign

owner := input.run.building_block.workspace
destroys if input.run.behavior == "destroy"
short if input.token.ttl_seconds <= 3600

permit := {} if owner == input.run.definition.workspace
permit := {"max_ttl": 900, "claims": {"team": owner}} if {
	owner != input.run.definition.workspace
	owner in data.also
}
restrict := {"max_ttl": 600, "audiences": kept} if {
	startswith(owner, "abstain")
	owner != input.run.definition.workspace
	not owner in data.also
}
kept contains audience if {
	some audience in input.token.audiences
	not startswith(audience, "https://")
}
deny contains {"code": "ttl-above-ceiling", "message": "at most an hour"} if not short
deny contains {"code": "author-not-known", "message": "who?"} if {
	short
	destroys
	not input.run.trigger
}
deny contains {"code": "author-not-allowed", "message": "people alone"} if {
	short
	destroys
	input.run.trigger.author_kind != "user"
}
deny contains {"code": "too-many-parents", "message": "at most two"} if {
	short
	not destroys
	count(input.run.building_block.parents) > 2
}
"#;

const CEL: &str = r#"
variables:
- {name: owner, expression: run.building_block.workspace}
- {name: own, expression: variables.owner == run.definition.workspace}
- {name: listed, expression: variables.owner in data.also}
- {name: destroys, expression: run.behavior == "destroy"}
- {name: short, expression: token.ttl_seconds <= 3600}
permit:
- when: variables.own
- when: "!variables.own && variables.listed"
  max_ttl: 900
  claims: {team: variables.owner}
restrict:
- when: "!variables.own && !variables.listed && variables.owner.startsWith('abstain')"
  max_ttl: 600
  audiences: token.audiences.filter(a, !a.startsWith("https://"))
deny:
- {code: ttl-above-ceiling, message: at most an hour, when: "!variables.short"}
- {code: author-not-known, message: who?, when: variables.short && variables.destroys && !has(run.trigger)}
- code: author-not-allowed
  message: people alone
  when: variables.short && variables.destroys && has(run.trigger) && run.trigger.author_kind != "user"
- code: too-many-parents
  message: at most two
  when: variables.short && !variables.destroys && size(run.building_block.parents) > 2
"#;

pub(crate) const PYTHON: &str = r#"
from countersign import abstain, deny, permit, restrict


def evaluate(run, token, settings):
    owner = run.building_block.workspace
    if token.ttl_seconds > 3600:
        return deny("ttl-above-ceiling", "at most an hour")
    if run.behavior == "destroy":
        if run.trigger is None:
            return deny("author-not-known", "who?")
        if run.trigger.author_kind != "user":
            return deny("author-not-allowed", "people alone")
    elif len(run.building_block.parents) > 2:
        return deny("too-many-parents", "at most two")
    if owner == run.definition.workspace:
        return permit()
    if owner in settings["also"]:
        return permit(max_ttl=900, claims={"team": owner})
    if owner.startswith("abstain"):
        return restrict(max_ttl=600, audiences=[a for a in token.audiences if not a.startswith("https://")])
    return abstain()
"#;

/// Without the rule about parents: sets have no size.
const CEDAR: &str = r#"
permit(principal, action, resource)
when { context.run.building_block.workspace == context.run.definition.workspace };

@max_ttl("900")
permit(principal in Group::"also", action, resource)
unless { context.run.building_block.workspace == context.run.definition.workspace };

@restrict
@max_ttl("600")
permit(principal, action, resource)
when { context.run.building_block.workspace like "abstain*" }
unless {
  principal in Group::"also" || context.run.building_block.workspace == context.run.definition.workspace
};

@id("ttl-above-ceiling")
forbid(principal, action, resource)
when { context.token.ttl_seconds > 3600 };

@id("author-not-known")
forbid(principal, action == Action::"destroy", resource)
unless { context.token.ttl_seconds > 3600 || context.run has trigger };

@id("author-not-allowed")
forbid(principal, action == Action::"destroy", resource)
when { context.token.ttl_seconds <= 3600 && context.run has trigger && context.run.trigger.author_kind != "user" };
"#;

pub(crate) const JAVASCRIPT: &str = r#"
import { abstain, deny, permit, restrict } from 'countersign';

export function evaluate(settings, run, token) {
  const owner = run.buildingBlock.workspace;
  if (token.ttlSeconds > 3600) {
    return deny('ttl-above-ceiling', 'at most an hour');
  }
  if (run.behavior === 'destroy') {
    if (!run.trigger) {
      return deny('author-not-known', 'who?');
    }
    if (run.trigger.authorKind !== 'user') {
      return deny('author-not-allowed', 'people alone');
    }
  } else if (run.buildingBlock.parents.length > 2) {
    return deny('too-many-parents', 'at most two');
  }
  if (owner === run.definition.workspace) {
    return permit();
  }
  if (settings.also.includes(owner)) {
    return permit({ maxTtl: 900, claims: { team: owner } });
  }
  if (owner.startsWith('abstain')) {
    return restrict({ maxTtl: 600, audiences: token.audiences.filter((one) => !one.startsWith('https://')) });
  }
  return abstain();
}
"#;

/// An answer without claims and audiences, which Cedar's annotations do not have.
fn without_lists(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(grant) = answer.as_object_mut() {
        grant.remove("audiences");
        grant.remove("claims");
    }
    answer
}

#[test]
#[ignore = "prepares the engines and decides many times: `make languages`"]
fn the_same_rules_give_the_same_verdicts() {
    let also = json!({"also": ["team-a", "team-b"]});
    let typed =
        JAVASCRIPT.replacen("import {", "import { type Run, type Token, type Verdict,", 1).replace(
            "settings, run, token)",
            "settings: { also: string[] }, run: Run, token: Token): Verdict",
        );
    let group = |name: &&str| {
        let parents = json!([{"type": "Group", "id": "also"}]);
        json!({"uid": {"type": "Workspace", "id": name}, "attrs": {}, "parents": parents})
    };
    let entities: Vec<_> = ["team-a", "team-b"].iter().map(group).collect();
    let sets = [
        ("rego", component(EngineName::Rego), json!({"policy": REGO, "data": also})),
        ("cel", component(EngineName::Cel), json!({"policy": CEL, "data": also})),
        (
            "python",
            component(EngineName::Python),
            json!({"files": {"policy.py": PYTHON}, "settings": also}),
        ),
        (
            "javascript",
            component(EngineName::Javascript),
            json!({"files": {"policy.js": JAVASCRIPT}, "settings": also}),
        ),
        (
            "typescript",
            component(EngineName::Javascript),
            json!({"files": {"policy.ts": typed}, "settings": also}),
        ),
        ("rust", SCRIPTED.to_vec(), json!({"answer": {"rules": also["also"]}})),
        (
            "cedar",
            component(EngineName::Cedar),
            json!({"policies": CEDAR, "entities": entities, "default-verdict": "abstain"}),
        ),
    ]
    .map(|(language, component, settings)| (language, prepare(&component, &settings).unwrap()));
    let base: Value = serde_json::from_str(RUN).unwrap();
    let mut choices = Choices(11);
    let mut met = std::collections::BTreeMap::<String, usize>::new();
    for number in 0..CLAIMS {
        let claims = choices.claims(&base);
        let token = claims.token().clone();
        let mut first: Option<Value> = None;
        for (language, set) in &sets {
            let decision = set.evaluate(claims.clone());
            let found = answer(&decision.trace()[0].result, &token);
            let expected = first.get_or_insert_with(|| found.clone());
            match *language {
                "cedar" if *expected == json!(["too-many-parents"]) => {}
                "cedar" => {
                    assert_eq!(
                        without_lists(&found),
                        without_lists(expected),
                        "claims {number}: {language}"
                    );
                }
                _ => assert_eq!(&found, expected, "claims {number}: {language}"),
            }
        }
        let kind = match first {
            Some(Value::Object(grant)) => grant["verdict"].to_string(),
            Some(other) => other.to_string(),
            None => continue,
        };
        *met.entry(kind).or_default() += 1;
    }
    // Every kind of answer was met, and often.
    assert!(met.len() == 7 && met.values().all(|count| *count > 100), "{met:?}");
}
