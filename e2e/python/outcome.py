"""What a client prints: one line, whether it has credentials, and what it was told."""

import json


def admitted(credentials: str) -> None:
    if not credentials:
        raise SystemExit("no credentials, and no error")
    print(json.dumps({"admitted": True, "says": credentials}))


def refused(says: str) -> None:
    print(json.dumps({"admitted": False, "says": says}))
