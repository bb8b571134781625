//! Rego, with `regorus`.

use countersign::Claims;
use regorus::Value;

use super::{Answer, Peer};
use crate::facts::{self, Form};
use crate::rules::Rules;

const OWN_WORKSPACE: &str = r#"
package countersign
import rego.v1

decision contains "foreign-workspace" if {
    input.run.building_block.workspace != input.run.definition.workspace
}
"#;

/// The rule that combines all others: the decision, from their reasons and lifetimes.
const HEAD: &str = r#"
package countersign
import rego.v1

owner := input.run.building_block.workspace
"#;

const SAME_WORKSPACE: &str = r#"
lifetimes contains input.token.ttl_seconds if owner == input.run.definition.workspace

lifetimes contains min([input.token.ttl_seconds, data.also_max_ttl]) if {
    owner != input.run.definition.workspace
    data.also[owner]
}

reasons contains {"code": "foreign-workspace", "message": message} if {
    owner != input.run.definition.workspace
    not data.also[owner]
    message := sprintf(
        "workspace `%s` may not use definitions of workspace `%s`",
        [owner, input.run.definition.workspace],
    )
}
"#;

const ALLOWED_CONSUMERS: &str = r#"
lifetimes contains input.token.ttl_seconds if data.workspaces[owner]

reasons contains {"code": "workspace-not-listed", "message": message} if {
    not data.workspaces[owner]
    message := sprintf("workspace `%s` is not on the list", [owner])
}
"#;

const THREE_MORE: &str = r#"
reasons contains {"code": "ttl-above-ceiling", "message": message} if {
    ceiling := data.ceilings[input.run.behavior]
    input.token.ttl_seconds > ceiling
    message := sprintf("%d seconds requested, but at most %d", [input.token.ttl_seconds, ceiling])
}

used if {
    some audience in input.token.audiences
    data.audiences[input.run.definition.implementation][audience]
}

reasons contains {"code": "no-audiences-set", "message": message} if {
    not data.audiences[input.run.definition.implementation]
    message := sprintf("no audiences are set for %s", [input.run.definition.implementation])
}

reasons contains {"code": "audience-not-used", "message": "none of the audiences is used"} if {
    data.audiences[input.run.definition.implementation]
    not used
}

reasons contains {"code": "author-not-known", "message": "the run does not say who triggered it"} if {
    data.triggers[input.run.behavior]
    not input.run.trigger
}

reasons contains {"code": "author-not-allowed", "message": message} if {
    data.triggers[input.run.behavior]
    kind := input.run.trigger.author_kind
    not data.triggers[input.run.behavior][kind]
    message := sprintf("%s may not trigger it", [kind])
}
"#;

const TAIL: &str = r#"
decision := {"ttl_seconds": min(lifetimes)} if count(reasons) == 0

decision := {"reasons": reasons} if count(reasons) > 0
"#;

const DECISION: &str = "data.countersign.decision";

/// `regorus` with an input that was made before: sets it, and evaluates the rule.
pub struct Rego {
    engine: regorus::Engine,
    /// Set if the decision is only the codes that refuse.
    codes_only: bool,
}

/// `regorus`: makes its input from the claims.
pub struct RegoFromClaims(Rego);

/// Its values.
enum Values {}

impl Form for Values {
    type Value = Value;

    fn text(text: &str) -> Value {
        Value::from(text)
    }

    fn number(number: i64) -> Value {
        Value::from(number)
    }

    fn list(items: Vec<Value>) -> Value {
        Value::from(items)
    }

    fn record(members: Vec<(&'static str, Value)>) -> Value {
        let members = members.into_iter().map(|(name, value)| (Value::from(name), value));
        Value::from(members.collect::<std::collections::BTreeMap<_, _>>())
    }
}

impl Rego {
    /// The rules in Rego.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        let policy = match rules {
            Rules::OwnWorkspace => OWN_WORKSPACE.to_owned(),
            Rules::SameWorkspace(_) => format!("{HEAD}{SAME_WORKSPACE}{TAIL}"),
            Rules::AllowedConsumers(_) => format!("{HEAD}{ALLOWED_CONSUMERS}{TAIL}"),
            Rules::Five { .. } => {
                format!("{HEAD}{SAME_WORKSPACE}{ALLOWED_CONSUMERS}{THREE_MORE}{TAIL}")
            }
        };
        let mut engine = regorus::Engine::new();
        engine.add_policy("countersign.rego".to_owned(), policy).expect("Rego");
        let data = serde_json::Value::Object(rules.data());
        engine.add_data_json(&data.to_string()).expect("data");
        Self { engine, codes_only: matches!(rules, Rules::OwnWorkspace) }
    }
}

impl Peer for Rego {
    type Input = Value;

    fn input(&self, claims: &Claims) -> Value {
        Values::record(vec![
            ("run", facts::run::<Values>(claims)),
            ("token", facts::token::<Values>(claims)),
        ])
    }

    fn decide(&mut self, input: Value) -> Answer {
        if self.codes_only {
            let ttl_seconds = input["token"]["ttl_seconds"].as_u32().expect("a lifetime");
            self.engine.set_input(input);
            let codes = self.engine.eval_rule(DECISION.to_owned()).expect("a decision");
            let codes = codes.as_set().expect("codes");
            let codes = codes.iter().map(|code| code.as_string().expect("a code").to_string());
            return Answer::new(codes, [ttl_seconds]);
        }
        self.engine.set_input(input);
        let decision = self.engine.eval_rule(DECISION.to_owned()).expect("a decision");
        if let Ok(ttl_seconds) = decision["ttl_seconds"].as_u32() {
            return Answer::Admitted(ttl_seconds);
        }
        let reasons = decision["reasons"].as_set().expect("reasons");
        let codes = reasons.iter().map(|reason| reason["code"].as_string().expect("a code"));
        Answer::new(codes.map(|code| code.to_string()), [])
    }
}

impl RegoFromClaims {
    /// The rules in Rego.
    #[must_use]
    pub fn new(rules: &Rules) -> Self {
        Self(Rego::new(rules))
    }
}

impl Peer for RegoFromClaims {
    type Input = Claims;

    fn input(&self, claims: &Claims) -> Claims {
        claims.clone()
    }

    fn decide(&mut self, claims: Claims) -> Answer {
        let input = self.0.input(&claims);
        self.0.decide(input)
    }
}
