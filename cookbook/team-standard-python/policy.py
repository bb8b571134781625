# The standard of a platform: runs of `team-` workspaces, with OpenTofu 1.8 or later. Machines alone destroy, and on
# weekdays in Berlin; a dry run gets ten minutes.
import re

from countersign import deny, local_time, permit

NUMBER = "(0|[1-9][0-9]{0,8})"
VERSION = re.compile("v?" + NUMBER + "[.]" + NUMBER + "([.]" + NUMBER + ")?")


def is_current(version):
    found = VERSION.fullmatch(version)
    if found is None:
        return False
    major, minor = int(found.group(1)), int(found.group(2))
    return major > 1 or (major == 1 and minor >= 8)


def evaluate(run, token):
    destroys = run.behavior == "destroy"
    reasons = []
    if not run.building_block.workspace.startswith("team-"):
        reasons.append(("not-a-team", "expected a workspace whose name begins with `team-`"))
    if destroys and (run.trigger is None or run.trigger.author_kind not in ["api-key", "api-user"]):
        reasons.append(("destroy-by-machines", "destroy by a pipeline with an API key"))
    if destroys and local_time("Europe/Berlin", token.issued_at).weekday >= 6:
        reasons.append(("destroy-on-weekdays", "destroy from Monday to Friday, in Berlin"))
    if run.definition.implementation == "terraform" and not is_current(run.facts.get("opentofu-version", "")):
        reasons.append(("opentofu-too-old", "let the definition ask for OpenTofu 1.8 or later"))
    if reasons:
        return deny(reasons)
    return permit(max_ttl=600) if run.behavior == "detect" else permit()
