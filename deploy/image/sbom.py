"""Prints what the program is built of, as CycloneDX 1.5: every crate with its version, licence and checksum.

Usage: sbom.py SECONDS, the time that it is of, since 1970.
"""

import datetime
import json
import subprocess
import sys
import tomllib


def cargo(*arguments):
    command = ["cargo", *arguments, "--locked"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main(seconds):
    metadata = json.loads(cargo("metadata", "--format-version", "1"))
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    host = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout
    [target] = [line.split()[1] for line in host.splitlines() if line.startswith("host:")]
    tree = cargo("tree", "--package", "countersign-cli", "--edges", "normal", "--target", target,
                 "--prefix", "none", "--format", "{p}")
    with open("Cargo.lock", "rb") as file:
        locked = {(p["name"], p["version"]): p for p in tomllib.load(file)["package"]}

    names = {(words[0], words[1].removeprefix("v")) for words in map(str.split, tree.splitlines()) if words}
    components = [component(packages[name], locked[name]) for name in sorted(names)]
    time = datetime.datetime.fromtimestamp(int(seconds), datetime.timezone.utc)
    program = packages[("countersign-cli", version_of(names))]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "name": "countersign", "version": program["version"],
                          "bom-ref": "countersign"},
        },
        "components": components,
        "dependencies": dependencies(metadata, names),
    }
    json.dump(document, sys.stdout, indent=1)
    print()


def dependencies(metadata, names):
    """Which crate is built with which, as far as it is in the program."""
    keys = {package["id"]: (package["name"], package["version"]) for package in metadata["packages"]}
    root = [{"ref": "countersign", "dependsOn": [purl("countersign-cli", version_of(names))]}]
    nodes = []
    for node in metadata["resolve"]["nodes"]:
        if keys[node["id"]] not in names:
            continue
        normal = [d for d in node["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
        used = sorted({keys[d["pkg"]] for d in normal} & names)
        nodes.append({"ref": purl(*keys[node["id"]]), "dependsOn": [purl(*name) for name in used]})
    return root + sorted(nodes, key=lambda node: node["ref"])


def purl(name, version):
    return f"pkg:cargo/{name}@{version}"


def version_of(names):
    [version] = [version for name, version in names if name == "countersign-cli"]
    return version


def component(package, locked):
    ref = purl(package["name"], package["version"])
    found = {"type": "library", "bom-ref": ref, "name": package["name"], "version": package["version"], "purl": ref}
    if package["license"]:
        # `A/B` is how cargo wrote `A OR B` before SPDX.
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if "checksum" in locked:
        found["hashes"] = [{"alg": "SHA-256", "content": locked["checksum"]}]
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
