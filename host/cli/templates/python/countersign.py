"""What stands between the contract and a policy. `countersign policy new` has put it there."""

import json
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

        def evaluate(self, run: Run, token: Token) -> Verdict:
            return evaluate(taken[0], run, token)

    return Policy
