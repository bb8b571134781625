"""What stands between the contract and a policy. `countersign policy new` has put it there."""

import json
import random
from typing import Any, Callable, Optional

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import policy as contract
from wit_world.exports.policy import AuthorKind, Behavior, Implementation, Problem, Run, Token, Verdict

__all__ = [
    "AuthorKind",
    "Behavior",
    "Implementation",
    "Problem",
    "Run",
    "Token",
    "Verdict",
    "abstain",
    "deny",
    "exported",
    "permit",
]


def _none(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a policy has no random numbers: all that it may know is in run and token")


# What Python would give was seeded when the component was built. A generator with a seed of one's own is as it was; what
# asks the system for random numbers, the time, files or the network ends in a fault by itself.
for _name in random.__all__:
    if not isinstance(getattr(random, _name), type) and _name != "seed":
        setattr(random, _name, _none)

SAMPLE_RUN = Run(
    id="b3116611-e08b-4b00-91c5-10365b25a6ef",
    number=1,
    behavior=Behavior.APPLY,
    building_block=contract.BuildingBlock(
        id="68ce5455-2a4a-4a4b-a324-6a6c18cab85a",
        workspace="my-workspace",
        project="my-project",
        platform="my-platform.my-location",
        parents=[],
    ),
    definition=contract.Definition(
        id="b23cfb9a-6974-444f-9d33-62134a632373",
        workspace="my-workspace",
        version=1,
        implementation=Implementation.TERRAFORM,
    ),
    trigger=None,
    runner=None,
    facts=[],
)

SAMPLE_TOKEN = Token(
    subject="system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition."
    "b23cfb9a-6974-444f-9d33-62134a632373",
    audiences=["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"],
    ttl_seconds=7200,
    issued_at=1790000000,
)


def permit(
    max_ttl: Optional[int] = None,
    audiences: Optional[list[str]] = None,
    claims: Optional[dict[str, str]] = None,
) -> Verdict:
    """The token may be issued. What is given narrows it: the longest life in seconds, the audiences to keep."""
    facts = [contract.Fact(name, value) for name, value in (claims or {}).items()]
    return contract.Verdict_Permit(contract.Grant(max_ttl, audiences, facts))


def deny(code: str, message: str) -> Verdict:
    """The token must not be issued. The code is for machines (lower-case letters, digits and dashes) and stays the
    same over versions; the message is for people: what was wrong, and what would be right."""
    return contract.Verdict_Deny([contract.Reason(code, message)])


def abstain() -> Verdict:
    """The policy has nothing to say about this run."""
    return contract.Verdict_Abstain()


def _narrowed(verdict: Verdict, token: Token) -> Verdict:
    """A grant never widens: the life is at most the one asked for, and audiences are among those asked for."""
    if not isinstance(verdict, contract.Verdict_Permit):
        return verdict
    grant = verdict.value
    max_ttl = None if grant.max_ttl is None else min(grant.max_ttl, token.ttl_seconds)
    audiences = grant.audiences
    if audiences is not None:
        audiences = [audience for audience in audiences if audience in token.audiences]
    return contract.Verdict_Permit(contract.Grant(max_ttl, audiences, grant.claims))


def exported(
    *,
    name: str,
    version: str,
    summary: str,
    evaluate: Callable[[Any, Run, Token], Verdict],
    settings_schema: Optional[dict] = None,
    check: Callable[[Any], list[Problem]] = lambda settings: [],
) -> type:
    """The contract's functions, made of a policy. An error that is raised is a fault, and refuses."""
    taken: list[Any] = []

    class Policy(exports.Policy):
        def describe(self) -> contract.Description:
            schema = "" if settings_schema is None else json.dumps(settings_schema)
            return contract.Description(name, version, summary, schema)

        def configure(self, settings: str) -> None:
            parsed = json.loads(settings)
            problems = check(parsed)
            if problems:
                raise Err(problems)
            taken.append(parsed)
            # What Python does lazily is done here, once: every evaluation begins with what this leaves behind.
            try:
                evaluate(parsed, SAMPLE_RUN, SAMPLE_TOKEN)
            except Exception:
                # Whether the sample makes sense to the policy does not matter.
                pass

        def evaluate(self, run: Run, token: Token) -> Verdict:
            return _narrowed(evaluate(taken[0], run, token), token)

    return Policy
