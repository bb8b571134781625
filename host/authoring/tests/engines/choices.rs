//! Claims by chance.

use countersign::{Audience, Claims, Run, RunnerId, SubjectFormat, SubjectTemplate, TokenRequest};
use serde_json::{Value, json};

/// The same choices in the same order, whatever the machine: xorshift64*.
pub(crate) struct Choices(pub u64);

impl Choices {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) % end
    }

    pub(crate) fn of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        let index = self.below(items.len() as u64);
        &items[usize::try_from(index).unwrap()]
    }

    pub(crate) fn claims(&mut self, base: &Value) -> Claims {
        let mut run = base.clone();
        let owners =
            ["my-workspace", "team-a", "team-b", "other", "my", "my-workspace-b", "abstain-me"];
        let block = &mut run["spec"]["buildingBlock"]["spec"];
        block["workspaceIdentifier"] = json!(self.of(&owners));
        let parents: Vec<Value> = (0..self.below(4))
            .map(|_| {
                json!({
                    "buildingBlockUuid": "68ce5455-2a4a-4a4b-a324-6a6c18cab85a",
                    "definitionUuid": "b23cfb9a-6974-444f-9d33-62134a632373",
                })
            })
            .collect();
        block["parentBuildingBlocks"] = json!(parents);
        run["spec"]["runNumber"] = json!(self.below(20_000_000));
        run["spec"]["behavior"] = json!(self.of(&["APPLY", "DETECT", "DESTROY"]));
        run["spec"]["trigger"] = match self.of(&["User", "ApiKey", "ApiUser", "System", "", ""]) {
            &"" => Value::Null,
            kind => json!({
                "author": {"type": kind, "identifier": self.of(&["a \"b\"", "ä@example.com"])},
                "reason": self.of(&[Value::Null, json!("a change \\ of plan")]),
            }),
        };
        let implementation = self.of(&["TERRAFORM", "MANUAL", "GITHUB_WORKFLOW"]);
        run["spec"]["buildingBlockDefinition"]["spec"]["implementation"]["type"] =
            json!(implementation);
        let audiences = [
            "aws-workload-identity-provider:demo",
            "api://AzureADTokenExchange",
            "https://example.com",
        ];
        let first = self.of(&audiences);
        let mut asked = vec![Audience::parse(first).unwrap()];
        let second = self.of(&audiences);
        if second != first {
            asked.push(Audience::parse(second).unwrap());
        }
        let run = Run::parse(run.to_string().as_bytes()).unwrap();
        let ttl = *self.of(&[60, 599, 600, 900, 901, 1800, 1801, 3600, 3601, 86_400]);
        let token = TokenRequest::new(asked, ttl, 1_790_000_000 + self.below(1 << 30)).unwrap();
        let meshstack_id = "demo".parse().unwrap();
        let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
        let runner = self.of(&[None, Some("98520496-627d-43e6-82da-ce499179ff3f")]);
        let runner = runner.map(|id| RunnerId::parse(id).unwrap());
        Claims::new(run, runner, countersign::Facts::default(), &subject, token).unwrap()
    }
}
