"""What a policy sees and returns, for editors. The engine brings the module itself."""

from typing import Any, Callable, Literal, Mapping, NamedTuple, Optional, Sequence, Union, overload

class Behavior:
    APPLY: Literal["apply"]
    DETECT: Literal["detect"]
    DESTROY: Literal["destroy"]

class Implementation:
    MANUAL: Literal["manual"]
    TERRAFORM: Literal["terraform"]
    GITHUB_WORKFLOW: Literal["github-workflow"]
    GITLAB_CICD: Literal["gitlab-cicd"]
    AZURE_DEVOPS: Literal["azure-devops"]
    OTHER: Literal["other"]

class AuthorKind:
    USER: Literal["user"]
    API_KEY: Literal["api-key"]
    API_USER: Literal["api-user"]
    SYSTEM: Literal["system"]
    OTHER: Literal["other"]

class Parent(NamedTuple):
    building_block: str
    definition: str

class BuildingBlock(NamedTuple):
    id: str
    workspace: str
    project: Optional[str]
    platform: Optional[str]
    parents: list[Parent]

class Definition(NamedTuple):
    id: str
    workspace: str
    version: int
    implementation: Literal[
        "manual", "terraform", "github-workflow", "gitlab-cicd", "azure-devops", "other"
    ]

class Trigger(NamedTuple):
    reason: Optional[str]
    author: str
    author_kind: Literal["user", "api-key", "api-user", "system", "other"]

class Run(NamedTuple):
    id: str
    number: int
    behavior: Literal["apply", "detect", "destroy"]
    building_block: BuildingBlock
    definition: Definition
    trigger: Optional[Trigger]
    runner: Optional[str]
    facts: dict[str, str]

class Token(NamedTuple):
    subject: str
    audiences: list[str]
    ttl_seconds: int
    issued_at: int

class Verdict: ...

class Problem:
    """One thing wrong with settings: a JSON pointer into them, and what was expected."""

    def __init__(self, pointer: str, message: str) -> None: ...

def permit(
    *,
    max_ttl: Optional[int] = None,
    audiences: Union[Sequence[str], set[str], None] = None,
    claims: Optional[Mapping[str, str]] = None,
) -> Verdict:
    """The token may be issued. Arguments narrow it: the maximum TTL in seconds, the audiences to keep."""

def restrict(
    *,
    max_ttl: Optional[int] = None,
    audiences: Union[Sequence[str], set[str], None] = None,
    claims: Optional[Mapping[str, str]] = None,
) -> Verdict:
    """If the token is issued, then within these limits: narrows as a permit does, and never counts as one."""

class LocalTime(NamedTuple):
    year: int
    month: int
    day: int
    weekday: int
    """1, a Monday, to 7."""
    hour: int
    minute: int
    second: int
    offset: int
    """The seconds by which the clocks are ahead of UTC."""

def local_time(zone: str, seconds: int) -> LocalTime:
    """The date and the time of day by the clocks of an IANA time zone, such as "Europe/Berlin", at a time in seconds
    since 1970, such as token.issued_at."""

@overload
def deny(code: str, message: str) -> Verdict:
    """The token must not be issued. The code is for machines (lower-case letters, digits and dashes) and does not
    change between versions; the message tells people what is wrong and what to do."""

@overload
def deny(code: list[tuple[str, str]]) -> Verdict:
    """The token must not be issued, for several reasons, each a code and a message: a host keeps the first 16."""

def abstain() -> Verdict:
    """The policy has nothing to say about this run."""

def exported(
    *,
    name: str,
    version: str,
    summary: str,
    evaluate: Callable[[Any, Run, Token], Verdict],
    settings_schema: Optional[dict[str, Any]] = None,
    check: Optional[Callable[[Any], list[Problem]]] = None,
) -> None:
    """Names the functions of a policy that CPython ran before. They are called with the settings first."""
