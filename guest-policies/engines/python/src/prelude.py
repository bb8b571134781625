# What `countersign` is to a policy. The names are ones that no policy has; importing gives them their own.


class __countersign_verdict__:
    def __init__(self, kind, max_ttl, audiences, claims, reason):
        self.parts = (kind, max_ttl, audiences, claims, reason)


class __countersign_problem__:
    def __init__(self, pointer, message):
        if type(pointer) is not str or type(message) is not str:
            raise TypeError("Problem: expected two texts, a JSON pointer and a message")
        self.parts = (pointer, message)


class __countersign_run__:
    """The type of `run`."""


class __countersign_token__:
    """The type of `token`."""


class __countersign_behavior__:
    APPLY = "apply"
    DETECT = "detect"
    DESTROY = "destroy"


class __countersign_implementation__:
    MANUAL = "manual"
    TERRAFORM = "terraform"
    GITHUB_WORKFLOW = "github-workflow"
    GITLAB_CICD = "gitlab-cicd"
    AZURE_DEVOPS = "azure-devops"
    OTHER = "other"


class __countersign_author_kind__:
    USER = "user"
    API_KEY = "api-key"
    API_USER = "api-user"
    SYSTEM = "system"
    OTHER = "other"


def __countersign_grant__(kind, max_ttl, audiences, claims):
    if max_ttl is not None and (type(max_ttl) is not int or max_ttl < 1):
        raise TypeError(f"{kind}: max_ttl: expected seconds, found {max_ttl!r}")
    if audiences is not None:
        if type(audiences) not in (list, tuple, set, frozenset):
            raise TypeError(f"{kind}: audiences: expected a list of texts, found {audiences!r}")
        audiences = list(audiences)
        for audience in audiences:
            if type(audience) is not str:
                raise TypeError(f"{kind}: audiences: expected texts, found {audience!r}")
    if claims is not None:
        if type(claims) is not dict:
            raise TypeError(f"{kind}: claims: expected a dict of texts, found {claims!r}")
        for name, value in claims.items():
            if type(name) is not str or type(value) is not str:
                raise TypeError(f"{kind}: claims: expected texts, found {name!r}: {value!r}")
        claims = dict(claims)
    return __countersign_verdict__(kind, max_ttl, audiences, claims, None)


def __countersign_permit__(*, max_ttl=None, audiences=None, claims=None):
    return __countersign_grant__("permit", max_ttl, audiences, claims)


def __countersign_restrict__(*, max_ttl=None, audiences=None, claims=None):
    return __countersign_grant__("restrict", max_ttl, audiences, claims)


def __countersign_deny__(code=None, message=None):
    reasons = code if type(code) is list and message is None else [(code, message)]
    if len(reasons) == 0:
        raise TypeError("deny: expected at least one reason")
    for reason in reasons:
        if type(reason) is not tuple or len(reason) != 2:
            raise TypeError(f"deny: expected a code and a message in each reason, found {reason!r}")
        code, message = reason
        if type(code) is not str or type(message) is not str:
            raise TypeError(f"deny: expected two texts, a code and a message, found {code!r} and {message!r}")
        if not 1 <= len(code) <= 64 or code.strip("abcdefghijklmnopqrstuvwxyz0123456789-") != "":
            raise TypeError(f"deny: expected a code of 1 to 64 lower-case letters, digits and dashes, found {code!r}")
    return __countersign_verdict__("deny", None, None, None, list(reasons))


def __countersign_local_time__(zone, seconds):
    if type(zone) is not str or type(seconds) is not int:
        raise TypeError(f"local_time: expected a time zone and whole seconds since 1970, found {zone!r} and {seconds!r}")
    return __countersign_zone__(zone, seconds)


def __countersign_abstain__():
    return __countersign_verdict__("abstain", None, None, None, None)


__countersign_exports__ = []


def __countersign_exported__(*, name, version, summary, evaluate, settings_schema=None, check=None):
    __countersign_exports__.append((evaluate, check))
    return None


def __countersign_unpack__(verdict):
    if type(verdict) is __countersign_verdict__:
        return verdict.parts
    return type(verdict).__name__


def __countersign_problems__(problems):
    if problems is None:
        return []
    if type(problems) not in (list, tuple):
        return type(problems).__name__
    found = []
    for problem in problems:
        if type(problem) is not __countersign_problem__:
            return f"{type(problems).__name__} of {type(problem).__name__}"
        found.append(problem.parts)
    return found


# The claims of an evaluation, whose end would otherwise take them apart for nothing.
__countersign_kept__ = [None, None]


def __countersign_forget__(*_):
    __countersign_kept__[0] = None
    __countersign_kept__[1] = None
