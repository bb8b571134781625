//! The conditions of the table of the contract (`host/authoring/tests/engines/contract.toml`), in Rust.

use countersign_policy::{AuthorKind, Behavior, Implementation, Run, Token};

const DEFINITION: &str = "b23cfb9a-6974-444f-9d33-62134a632373";
const LARGEST: u64 = 9_007_199_254_740_991;

/// True where the condition with this name is.
pub(crate) fn sees(name: &str, run: &Run, token: &Token) -> bool {
    let (block, definition) = (&run.building_block, &run.definition);
    let fact = |name: &str| {
        run.facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.as_str())
    };
    match name {
        "the owning workspace" => block.workspace == "team-a",
        "the definition" => definition.id == DEFINITION && definition.workspace == "platform-team",
        "the largest version, exactly" => definition.version == LARGEST,
        "numbers that are compared" => {
            run.number > LARGEST - 1 && token.ttl_seconds < 3601 && token.issued_at >= 1_790_000_001
        }
        "the behavior as the contract's word" => run.behavior == Behavior::Destroy,
        "the implementation as the contract's word" => {
            definition.implementation == Implementation::GitlabCicd
        }
        "the author and the reason" => run.trigger.as_ref().is_some_and(|trigger| {
            trigger.author_kind == AuthorKind::ApiKey
                && trigger.author == "a \"b\" ä"
                && trigger.reason.as_deref() == Some("a change")
        }),
        "project, platform and runner" => {
            block.project.as_deref() == Some("my-project")
                && block.platform.as_deref() == Some("my-platform.my-location")
                && run.runner.as_deref() == Some("98520496-627d-43e6-82da-ce499179ff3f")
        }
        "the parents in their order" => match block.parents.as_slice() {
            [first, second] => {
                first.definition == "11111111-1111-4111-8111-111111111111"
                    && second.building_block == "44444444-4444-4444-8444-444444444444"
            }
            _ => false,
        },
        "the audiences in their order" => {
            token.audiences == ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"]
        }
        "the subject" => token.subject.starts_with("system:serviceaccount:demo:"),
        "a fact by its name" => fact("cost-centre") == Some("4711") && fact("note") == Some(""),
        "no fact that is not there" => fact("constructor").is_none(),
        "no trigger" => run.trigger.is_none(),
        "an optional field within one" => {
            run.trigger.as_ref().and_then(|trigger| trigger.reason.as_ref()).is_none()
        }
        "arithmetic of whole numbers beyond 2^53" => {
            run.number + 2 == LARGEST + 2 && run.number + 2 != LARGEST + 1
        }
        "texts that are compared by code points, and not by case" => run
            .trigger
            .as_ref()
            .is_some_and(|trigger| trigger.author != "A \"B\" Ä" && trigger.author.contains('ä')),
        "no project, platform, runner, parents or facts" => {
            block.project.is_none()
                && block.platform.is_none()
                && run.runner.is_none()
                && block.parents.is_empty()
                && run.facts.is_empty()
        }
        #[expect(clippy::panic, reason = "a test names a condition that is not here")]
        other => panic!("no condition is called `{other}`"),
    }
}
