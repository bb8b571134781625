"""Writes a statement of what files were built from: in-toto v1, with the SLSA provenance predicate v1.

Usage: provenance.py STARTED COMMAND [--key KEY] [--name NAME=DIGEST]… --output FILE FILE…

STARTED is the time at which the build began, COMMAND what began it. A subject is a FILE, or one that is elsewhere by its
SHA-256 (`--name image=sha256:…`). With KEY, a private key in PEM (EC P-256), FILE is an envelope of DSSE that the key has
signed; without it, the statement alone, which proves nothing.
"""

import argparse
import base64
import datetime
import hashlib
import json
import pathlib
import subprocess

PAYLOAD_TYPE = "application/vnd.in-toto+json"

# Says which members `externalParameters` has: docs/deployment.md#provenance.
BUILD_TYPE = "urn:countersign:build:make:v1"


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def statement(arguments):
    subjects = [{"name": pathlib.Path(file).name, "digest": {"sha256": digest(file)}} for file in arguments.files]
    for subject in arguments.name:
        name, _, value = subject.partition("=sha256:")
        subjects.append({"name": name, "digest": {"sha256": value}})
    changed = output("git", "status", "--porcelain")
    remote = subprocess.run(["git", "remote", "get-url", "origin"], capture_output=True, text=True).stdout.strip()
    finished = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    source = {"uri": "git+" + remote if "://" in remote and "@" not in remote else "git+file:.",
              "digest": {"gitCommit": output("git", "rev-parse", "HEAD")}}
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                # A tree with changes that are no commit is another source than the commit.
                "externalParameters": {"command": arguments.command, "changedFiles": len(changed.splitlines())},
                "internalParameters": {"cargo": output("cargo", "--version"), "rustc": output("rustc", "--version")},
                "resolvedDependencies": [
                    source,
                    {"name": "Cargo.lock", "digest": {"sha256": digest("Cargo.lock")}},
                ],
            },
            "runDetails": {
                "builder": {"id": arguments.builder},
                "metadata": {"startedOn": arguments.started, "finishedOn": finished},
            },
        },
    }


def envelope(payload, key):
    """The bytes that are signed are DSSE's pre-authentication encoding, version 1."""
    kind = PAYLOAD_TYPE.encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=signed, check=True,
                               stdout=subprocess.PIPE).stdout
    return {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("started")
    parser.add_argument("command")
    parser.add_argument("files", nargs="*")
    parser.add_argument("--key")
    parser.add_argument("--name", action="append", default=[])
    parser.add_argument("--builder", default="urn:countersign:builder:unnamed")
    parser.add_argument("--output", required=True)
    arguments = parser.parse_intermixed_args()
    document = statement(arguments)
    if arguments.key:
        document = envelope(json.dumps(document).encode(), arguments.key)
    pathlib.Path(arguments.output).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
