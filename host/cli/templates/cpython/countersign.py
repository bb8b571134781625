"""Adapts a policy to the contract. Written by `countersign policy new`."""

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
    "restrict",
]


def _equal_to_words(kind: Any) -> None:
    """Makes the members of an enumeration equal to the contract's words, as in the other languages: a comparison with
    a text would be false for every run, and a rule that denies would never apply."""

    def word(self: Any) -> str:
        return self.name.lower().replace("_", "-")

    kind.__eq__ = lambda self, other: word(self) == other if isinstance(other, str) else self is other
    kind.__hash__ = lambda self: hash(word(self))
    kind.__str__ = word


for _kind in (AuthorKind, Behavior, Implementation):
    _equal_to_words(_kind)


def _none(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a policy has no random numbers: all that it may know is in run and token")


# Python's default generator was seeded when the component was built, so its functions raise. `random.Random(seed)` works
# as usual. Asking the system for random numbers, the time, files or the network ends in a fault by itself.
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


def _grant(
    max_ttl: Optional[int], audiences: Optional[list[str]], claims: Optional[dict[str, str]]
) -> contract.Grant:
    facts = [contract.Fact(name, value) for name, value in (claims or {}).items()]
    return contract.Grant(max_ttl, audiences, facts)


def permit(
    *,
    max_ttl: Optional[int] = None,
    audiences: Optional[list[str]] = None,
    claims: Optional[dict[str, str]] = None,
) -> Verdict:
    """The token may be issued. Arguments narrow it: the maximum TTL in seconds, the audiences to keep."""
    return contract.Verdict_Permit(_grant(max_ttl, audiences, claims))


def restrict(
    *,
    max_ttl: Optional[int] = None,
    audiences: Optional[list[str]] = None,
    claims: Optional[dict[str, str]] = None,
) -> Verdict:
    """If the token is issued, then within these limits: narrows as a permit does, and never counts as one. The answer
    of a policy that limits tokens and does not say who may have them."""
    return contract.Verdict_Restrict(_grant(max_ttl, audiences, claims))


def deny(code: str | list[tuple[str, str]], message: Optional[str] = None) -> Verdict:
    """The token must not be issued. The code is for machines (lower-case letters, digits and dashes) and does not
    change between versions; the message tells people what is wrong and what to do. Several reasons are a list of pairs
    of both; a host keeps the first 16."""
    if isinstance(code, str):
        if not isinstance(message, str):
            raise TypeError("deny: expected two texts, a code and a message")
        return contract.Verdict_Deny([contract.Reason(code, message)])
    if not code:
        raise TypeError("deny: expected at least one reason")
    return contract.Verdict_Deny([contract.Reason(code, message) for code, message in code])


def abstain() -> Verdict:
    """The policy has nothing to say about this run."""
    return contract.Verdict_Abstain()


def _with_facts_by_name(run: Run) -> Run:
    """The contract has a list of facts. Each name is in it once."""
    run.facts = {fact.name: fact.value for fact in run.facts}
    return run


def _narrowed(verdict: Verdict, token: Token) -> Verdict:
    """A grant never widens: the maximum TTL is at most the requested one, and audiences are among the requested ones."""
    if not isinstance(verdict, (contract.Verdict_Permit, contract.Verdict_Restrict)):
        return verdict
    grant = verdict.value
    max_ttl = None if grant.max_ttl is None else min(grant.max_ttl, token.ttl_seconds)
    audiences = grant.audiences
    if audiences is not None:
        audiences = [audience for audience in audiences if audience in token.audiences]
    return type(verdict)(contract.Grant(max_ttl, audiences, grant.claims))


def exported(
    *,
    name: str,
    version: str,
    summary: str,
    evaluate: Callable[[Any, Run, Token], Verdict],
    settings_schema: Optional[dict] = None,
    check: Callable[[Any], list[Problem]] = lambda settings: [],
) -> type:
    """Makes the contract's functions of a policy. A raised error is a fault, and refuses."""
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
            # Warms up whatever Python does lazily: every evaluation starts from the memory that this leaves behind.
            try:
                evaluate(parsed, _with_facts_by_name(SAMPLE_RUN), SAMPLE_TOKEN)
            except Exception:
                # The verdict on the sample does not matter.
                pass

        def evaluate(self, run: Run, token: Token) -> Verdict:
            return _narrowed(evaluate(taken[0], _with_facts_by_name(run), token), token)

    return Policy
