"""Asks Countersign whether a token may be issued for a run: `POST /v1/decisions`."""

import json
import os
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field

MAX_RESPONSE = 1 << 20


@dataclass(frozen=True)
class Terms:
    """What a token may have at most."""

    audiences: list[str]
    ttl_seconds: int
    claims: dict[str, str]


@dataclass(frozen=True)
class Decision:
    """An answer: approved with terms, or refused with reasons."""

    decision: str
    subject: str
    terms: Terms | None
    reasons: list[dict[str, str]] = field(default_factory=list)


class NoDecision(Exception):
    """There is no answer that can be acted on: refuse."""


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """The API key is for the service alone, and so is the answer of it alone."""

    def redirect_request(self, *_: object) -> None:
        return None


OPENER = urllib.request.build_opener(NoRedirects)


def decide(url: str, api_key: str, run: object, audience: str, ttl_seconds: int) -> Decision:
    """Asks for a decision. Raises `NoDecision` unless there is one."""
    body = json.dumps({"run": run, "audiences": [audience], "ttl_seconds": ttl_seconds})
    request = urllib.request.Request(
        f"{url}/v1/decisions",
        data=body.encode(),
        headers={"authorization": f"Bearer {api_key}", "content-type": "application/json"},
        method="POST",
    )
    try:
        with OPENER.open(request, timeout=10) as response:
            status, text = response.status, response.read(MAX_RESPONSE)
    except urllib.error.HTTPError as error:
        raise NoDecision(f"status {error.code}: {error.read(MAX_RESPONSE).decode()}") from error
    except OSError as error:
        raise NoDecision(str(error)) from error
    if status != 200:
        raise NoDecision(f"status {status}")
    try:
        answer = json.loads(text)
        if answer["outcome"] == "approved":
            terms = answer["terms"]
            granted = Terms(terms["audiences"], terms["ttl_seconds"], terms["claims"])
            return Decision(answer["decision"], answer["subject"], granted)
        if answer["outcome"] == "refused":
            return Decision(answer["decision"], answer["subject"], None, answer["reasons"])
    except (ValueError, KeyError, TypeError) as error:
        raise NoDecision(f"an answer that cannot be read: {error}") from error
    raise NoDecision("an outcome that is not known")


def main() -> int:
    with open(os.environ["API_KEY_FILE"], encoding="ascii") as file:
        api_key = file.read().strip()
    with open(os.environ["RUN_FILE"], encoding="utf-8") as file:
        run = json.load(file)
    try:
        answer = decide(
            os.environ["SERVICE_URL"],
            api_key,
            run,
            os.environ["AUDIENCE"],
            int(os.environ["TTL_SECONDS"]),
        )
    except NoDecision as error:
        print(error, file=sys.stderr)
        return 1
    terms = answer.terms and vars(answer.terms)
    print(json.dumps({"decision": answer.decision, "terms": terms, "reasons": answer.reasons}))
    return 0 if answer.terms else 2


if __name__ == "__main__":
    sys.exit(main())
