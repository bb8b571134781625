"""Checks the statement of what was built, and the bill of materials, beside what is released.

Usage: released.py FOLDER KEY, where KEY is the private key in PEM that signed the statement.
"""

import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def verified(envelope, key):
    """The payload, whose signature openssl verifies over DSSE's encoding as its specification has it."""
    [signature] = envelope["signatures"]
    kind, payload = envelope["payloadType"], base64.b64decode(envelope["payload"])
    encoded = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "signature").write_bytes(base64.b64decode(signature["sig"]))
        public = ["openssl", "pkey", "-in", key, "-pubout", "-out", str(folder / "public")]
        subprocess.run(public, check=True)
        verify = ["openssl", "dgst", "-sha256", "-verify", str(folder / "public"),
                  "-signature", str(folder / "signature")]
        assert subprocess.run(verify, input=encoded, stdout=subprocess.PIPE).returncode == 0
        changed = subprocess.run(verify, input=encoded + b" ", stdout=subprocess.PIPE)
        assert changed.returncode != 0
    return json.loads(payload)


def main(folder, key):
    folder = pathlib.Path(folder)
    [file] = folder.glob("*.intoto.json")
    statement = verified(json.loads(file.read_text()), key)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    named = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    expected = {path.name for path in folder.iterdir()} - {file.name, "SHA256SUMS"}
    assert set(named) == expected, (named, expected)
    for name, digest in named.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    commit = subprocess.run(["git", "rev-parse", "HEAD"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    definition = statement["predicate"]["buildDefinition"]
    assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": commit}
    [materials] = folder.glob("*.cdx.json")
    wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(materials.read_text())
    assert wrong is None, wrong
    print(f"{len(named)} files are what the signed statement says, built of {definition['externalParameters']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
