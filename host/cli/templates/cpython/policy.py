"""Permits the definition workspace itself, and the workspaces on its list."""

from countersign import Problem, Run, Token, Verdict, deny, exported, permit

SETTINGS_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "also": {
            "description": "Workspaces that may use the definitions as well.",
            "type": "array",
            "items": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 63},
        },
    },
}


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


Policy = exported(
    name="NAME",
    version="0.1.0",
    summary="Permits the definition workspace itself and the workspaces on its list",
    settings_schema=SETTINGS_SCHEMA,
    check=check,
    evaluate=evaluate,
)


# What a policy compares with, in the contract's words, which are not the run object's ("apply", not "APPLY"):
#   run.behavior                   "apply", "detect" (a dry run), "destroy"
#   run.definition.implementation  "manual", "terraform", "github-workflow", "gitlab-cicd", "azure-devops", "other"
#   run.trigger.author_kind        "user", "api-key", "api-user", "system", "other"
# Absent, that is None: run.trigger of a run that nobody triggered, run.trigger.reason, run.runner,
# run.building_block.project and run.building_block.platform. run.facts is a list of names and values.
