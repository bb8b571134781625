"""Decides by a policy in Python in CPython itself: one run a line, one answer a line. The arguments are the policy's file and
its settings."""

import inspect
import json
import sys
import types


def grant(verdict):
    def made(*, max_ttl=None, audiences=None, claims=None):
        return {"verdict": verdict, "seconds": max_ttl, "audiences": audiences, "claims": claims or {}}

    return made


countersign = types.ModuleType("countersign")
countersign.permit = grant("permit")
countersign.restrict = grant("restrict")
countersign.deny = lambda code, message: [f"{code} {message}"]
countersign.abstain = lambda: "abstain"
countersign.Problem = countersign.Run = countersign.Token = countersign.Verdict = object
sys.modules["countersign"] = countersign

policy = types.ModuleType("policy")
# Dataclasses look for the module of a class.
sys.modules["policy"] = policy
with open(sys.argv[1], encoding="utf-8") as file:
    exec(compile(file.read(), "policy.py", "exec"), policy.__dict__)

SETTINGS = json.loads(sys.argv[2])
# By their names, in any order.
PARAMETERS = list(inspect.signature(policy.evaluate).parameters)

OPTIONAL = {"run": ("trigger", "runner"), "building_block": ("project", "platform"), "trigger": ("reason",)}


def seen(value, name=""):
    if isinstance(value, list):
        return [seen(one) for one in value]
    if not isinstance(value, dict) or name == "facts":
        return value
    members = dict.fromkeys(OPTIONAL.get(name, ()))
    members.update({member: seen(of, member) for member, of in value.items()})
    return types.SimpleNamespace(**members)


for line in sys.stdin:
    asked = json.loads(line)
    token = asked["token"]
    try:
        given = {"settings": SETTINGS, "run": seen(asked["run"], "run"), "token": seen(token)}
        answer = policy.evaluate(**{name: given[name] for name in PARAMETERS})
    except Exception:
        answer = "fault"
    if isinstance(answer, dict):
        kept = token["audiences"] if answer["audiences"] is None else answer["audiences"]
        answer["audiences"] = sorted(audience for audience in token["audiences"] if audience in kept)
        answer["seconds"] = min(answer["seconds"] or token["ttl_seconds"], token["ttl_seconds"])
    print(json.dumps(answer))
