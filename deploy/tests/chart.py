"""Checks the chart: lint, what it renders for the versions of Kubernetes, what it refuses, and that the program takes the
configuration that it renders.

Usage: chart.py CHART PACKAGE VALUES REPLICAS PROGRAM POLICIES, where PACKAGE is the chart as it is released, VALUES are those of
one replica and REPLICAS those of several.
"""

import copy
import pathlib
import subprocess
import sys
import tempfile

import helm_python
import kubernetes_validate
import yaml

# The oldest that the chart says it is for, and the newest whose schemas there are.
VERSIONS = ["1.29", "1.37"]

KINDS = {
    "ConfigMap": 1,
    "NetworkPolicy": 1,
    "PodDisruptionBudget": 1,
    "Service": 2,
    "ServiceAccount": 1,
    "StatefulSet": 1,
}

# With a job that migrates.
KINDS_OF_REPLICAS = {**KINDS, "ConfigMap": 2, "Job": 1, "NetworkPolicy": 2}

# What is changed in the values of one replica, and what the refusal must name.
REFUSED = [
    (("replicas",), 3, "store"),
    (("replicas",), 0, "replicas"),
    (("replicas",), "3", "replicas"),
    (("database", "sealingSecretName"), "x", "sealingSecretName"),
    (("database", "secretName"), "x", "secretName"),
    (("database", "migration", "url"), "postgres://owner@db/x", "url"),
    (("image", "tag"), "latest", "tag"),
    (("image", "digest"), "latest", "digest"),
    (("image", "repository"), "", "repository"),
    (("issuer",), "", "issuer"),
    (("files", "issuer.toml"), "x", "issuer.toml"),
    (("files", "../x"), "x", "../x"),
    (("state", "size"), "much", "size"),
    (("state", "accessModes"), ["ReadWriteMany"], "accessModes"),
    (("service", "port"), 0, "port"),
    (("networkPolicy", "enabled"), False, "enabled"),
    (("terminationGracePeriodSeconds",), "long", "terminationGracePeriodSeconds"),
]

# The same of several.
REFUSED_OF_REPLICAS = [
    (("replicas",), 33, "replicas"),
    (("issuer",), 'state = "/state/issuer"\n# store = "postgres://issuer@db/x"\n', "store"),
    (("issuer",), 'store = "postgres://issuer@db/x"\n[replica]\npoll-seconds = 3\nname = "issuer-0"\n', "replica.name"),
    (("issuer",), 'store = "postgres://issuer@db/x"\nreplica.name = "issuer-0"\n', "replica.name"),
    (("database", "sealingSecretName"), "", "sealingSecretName"),
    (("database", "password"), "secret", "password"),
    (("database", "migration", "url"), "", "grant"),
    (("database", "migration", "url"), "postgres://owner:secret@db.example.com/countersign", "url"),
    (("database", "migration", "url"), "postgres://owner@db.example.com/countersign?sslmode=prefer", "url"),
    (("database", "migration", "grant"), "", "grant"),
    (("database", "migration", "secretName"), "", "secretName"),
    (("spread", "nodes"), "Perhaps", "nodes"),
    (("spread", "racks"), "DoNotSchedule", "racks"),
    (("state", "accessModes"), ["ReadWriteMany"], "accessModes"),
]


def main(chart_path, package, values_path, replicas_path, program, policies):
    values, of_replicas = (yaml.safe_load(pathlib.Path(path).read_text()) for path in (values_path, replicas_path))
    # What follows is asked of the package, whose files are those of the folder.
    chart, folder = helm_python.Chart.load_archive(pathlib.Path(package).read_bytes()), helm_python.Chart.load(chart_path)
    assert (chart.name, chart.version) == (folder.name, folder.version)
    for some in (values, of_replicas):
        report = helm_python.lint(chart_path, some, strict=True)
        problems = [m for m in report["messages"] if m["severity"] > 1] + report["errors"]
        assert not problems, problems

        assert rendered(chart, some) == rendered(folder, some)

    least = {key: values[key] for key in ("image", "issuer", "manifest")}
    documents = render(chart, least, KINDS)
    restricted(pod_of(documents))
    assert of_kind(documents, "StatefulSet")["spec"]["replicas"] == 1
    # The longest name that Helm takes. That of a job is a label of its pods.
    for document in render(chart, of_replicas, KINDS_OF_REPLICAS, name="r" * 53):
        longest = 52 if document["kind"] == "StatefulSet" else 63
        assert len(document["metadata"]["name"]) <= longest, document["metadata"]
    documents = render(chart, values, KINDS)
    several = render(chart, of_replicas, KINDS_OF_REPLICAS)
    print(f"{len(documents)} and {len(several)} objects are valid in Kubernetes {' and '.join(VERSIONS)}")

    for some in (documents, several):
        restricted(pod_of(some))
    restricted(pod_of(several, "Job"), writable=set())
    print("the pods are what the Restricted standard demands, and read their root only")

    configuration = of_kind(documents, "ConfigMap")["data"]
    assert configuration["issuer.toml"] == values["issuer"]
    assert configuration["countersign.toml"] == values["manifest"]
    assert configuration["consumers.json"] == values["files"]["consumers.json"]
    replicas(several, of_replicas)
    is_taken(of_kind(several, "ConfigMap", "prod-countersign")["data"], program, policies)
    print("several replicas have names, logs and nodes of their own, and a database that is migrated before")

    for some, refused in ((values, REFUSED), (of_replicas, REFUSED_OF_REPLICAS)):
        for path, value, names in refused:
            changed = copy.deepcopy(some)
            place = changed
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = value
            refuses(chart, changed, names, f"{'.'.join(path)} = {value!r}")
    refuses(chart, {}, "image", "nothing")
    print(f"{len(REFUSED) + len(REFUSED_OF_REPLICAS) + 1} wrong values are refused, each by its name")


def refuses(chart, values, names, what):
    try:
        chart.validate_schema(values)
        chart.render(values, name="prod", namespace="countersign")
    except helm_python.HelmError as error:
        assert names in str(error), (what, str(error))
    else:
        raise AssertionError(f"{what} is not refused")


def rendered(chart, values, name="prod"):
    chart.validate_schema(values)
    return chart.render(values, name=name, namespace="countersign")


def render(chart, values, kinds, name="prod"):
    """The objects, each valid by the schemas of every version."""
    documents = [
        document
        for text in rendered(chart, values, name).values()
        for document in yaml.safe_load_all(text)
        if document
    ]
    counts = {}
    for document in documents:
        counts[document["kind"]] = counts.get(document["kind"], 0) + 1
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
    assert counts == kinds, counts
    return documents


def of_kind(documents, kind, name=None):
    [found] = [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    return found


def pod_of(documents, kind="StatefulSet"):
    return of_kind(documents, kind)["spec"]["template"]["spec"]


def restricted(pod, writable=frozenset({"state", "cache"})):
    """The Restricted Pod Security Standard, and beyond it a root that cannot be written to."""
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    of_pod = pod["securityContext"]
    assert of_pod["runAsNonRoot"] is True and of_pod["runAsUser"] > 0
    assert of_pod["seccompProfile"]["type"] == "RuntimeDefault"
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}, kinds
    for container in pod["containers"]:
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False and own["privileged"] is False
        assert own["readOnlyRootFilesystem"] is True
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert container["image"].rsplit("@", 1)[1].startswith("sha256:")
        found = {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert found == writable, found


def replicas(documents, values):
    """Replicas: each with a name and a log of its own, replaced one at a time, on a database that pods can reach."""
    spec = of_kind(documents, "StatefulSet")["spec"]
    pod = spec["template"]["spec"]
    assert spec["replicas"] == values["replicas"]
    assert spec["updateStrategy"] == {"type": "RollingUpdate"}
    [claim] = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    # The name of a replica is that of its machine, which is the pod's.
    assert not {"hostname", "subdomain"} & pod.keys()
    assert of_kind(documents, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    labels = spec["template"]["metadata"]["labels"]
    spread = {one["topologyKey"]: one for one in pod["topologySpreadConstraints"]}
    assert set(spread) == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    for one in spread.values():
        assert one["labelSelector"]["matchLabels"].items() <= labels.items()
    # Every path of the configuration that a secret has to be at.
    [service] = pod["containers"]
    assert paths(pod, service) >= {"/database/password", "/database-ca/ca.crt", "/sealing/sealing-key"}

    job = of_kind(documents, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    [migrate] = job["spec"]["template"]["spec"]["containers"]
    of_job = paths(job["spec"]["template"]["spec"], migrate)
    assert of_job >= {"/migration/password", "/database-ca/ca.crt"}, of_job
    # The roles have nothing of each other: neither the keys, nor the right to change tables.
    assert not of_job & {"/database/password", "/sealing/sealing-key"}, of_job
    owner = values["database"]["migration"]["secretName"]
    assert owner not in {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
    # No service sends requests to the job, and no budget counts it.
    assert not of_kind(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].items() <= \
        job["spec"]["template"]["metadata"]["labels"].items()
    for name, port in (("prod-countersign", 6432), ("prod-countersign-migration", 5432)):
        egress = of_kind(documents, "NetworkPolicy", name)["spec"]["egress"]
        [to] = [rule.get("to") for rule in egress if port in [p["port"] for p in rule["ports"]]]
        assert to == values["networkPolicy"]["databaseTo"], (name, to)


def paths(pod, container):
    """The files of secrets that a container sees."""
    items = {v["name"]: v["secret"]["items"] for v in pod["volumes"] if "items" in v.get("secret", {})}
    mounts = {m["name"]: m["mountPath"] for m in container["volumeMounts"]}
    return {f"{mounts[name]}/{item['path']}" for name in items if name in mounts for item in items[name]}


def is_taken(configuration, program, policies):
    """The program takes the configuration, with the paths of a pod at another place."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, text in configuration.items():
            for path in ("/state", "/database/", "/database-ca/", "/sealing/"):
                text = text.replace(f'"{path}', f'"{folder}{path}')
            text = text.replace("/usr/share/countersign/policies", str(pathlib.Path(policies).resolve()))
            (folder / name).write_text(text)
        command = [program, "check", "--config", str(folder / "issuer.toml"), "--cache", str(folder / "cache")]
        checked = subprocess.run(command, capture_output=True, text=True)
        assert checked.returncode == 0, (checked.stdout, checked.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
