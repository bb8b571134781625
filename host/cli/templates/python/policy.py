"""Permits the definition workspace itself, and the workspaces on its list (policy-settings.json)."""

from countersign import Problem, Run, Token, Verdict, deny, permit


def check(settings: dict) -> list[Problem]:
    """Returns the problems of the settings. Called once, before any evaluation."""
    for key in settings:
        if key != "also":
            return [Problem(f"/{key}", "unknown key, expected `also`")]
    also = settings.get("also", [])
    if not isinstance(also, list) or not all(isinstance(name, str) for name in also):
        return [Problem("/also", "expected a list of workspaces")]
    return []


def evaluate(settings: dict, run: Run, token: Token) -> Verdict:
    """Decides on one run. It says who may have a token, so it permits; a policy that only limits tokens answers
    `restrict(max_ttl=900)`."""
    consumer = run.building_block.workspace
    if consumer == run.definition.workspace or consumer in settings.get("also", []):
        return permit()
    return deny("not-listed", f"ask the platform team to put workspace `{consumer}` on the list")
