"""Checks the chart: lint, what it renders for the versions of Kubernetes, what it refuses.

Usage: chart.py CHART VALUES
"""

import copy
import sys

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

# What is changed in the values, and what the refusal must name.
REFUSED = [
    (("replicas",), 3, "replicas"),
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


def main(chart_path, values_path):
    with open(values_path) as file:
        values = yaml.safe_load(file)
    chart = helm_python.Chart.load(chart_path)
    report = helm_python.lint(chart_path, values, strict=True)
    problems = [m for m in report["messages"] if m["severity"] > 1] + report["errors"]
    assert not problems, problems

    least = {key: values[key] for key in ("image", "issuer", "manifest")}
    restricted(pod_of(render(chart, least)))
    # The longest name that Helm takes.
    for document in render(chart, values, name="r" * 53):
        longest = 52 if document["kind"] == "StatefulSet" else 63
        assert len(document["metadata"]["name"]) <= longest, document["metadata"]
    documents = render(chart, values)
    print(f"{len(documents)} objects are valid in Kubernetes {' and '.join(VERSIONS)}")

    named = {document["kind"]: document for document in documents}
    restricted(pod_of(documents))
    print("the pod is what the Restricted standard demands, and reads its root only")

    configuration = named["ConfigMap"]["data"]
    assert configuration["issuer.toml"] == values["issuer"]
    assert configuration["countersign.toml"] == values["manifest"]
    assert configuration["consumers.json"] == values["files"]["consumers.json"]

    for path, value, names in REFUSED:
        changed = copy.deepcopy(values)
        place = changed
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place[path[-1]] = value
        try:
            chart.validate_schema(changed)
        except helm_python.HelmError as error:
            assert names in str(error), (path, str(error))
        else:
            raise AssertionError(f"{'.'.join(path)} = {value!r} is not refused")
    try:
        chart.validate_schema({})
    except helm_python.HelmError:
        pass
    else:
        raise AssertionError("a chart without values is not refused")
    print(f"{len(REFUSED) + 1} wrong values are refused, each by its name")


def render(chart, values, name="prod"):
    """The objects, each valid by the schemas of every version."""
    rendered = chart.render(values, name=name, namespace="countersign")
    documents = [
        document
        for text in rendered.values()
        for document in yaml.safe_load_all(text)
        if document
    ]
    counts = {}
    for document in documents:
        counts[document["kind"]] = counts.get(document["kind"], 0) + 1
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
    assert counts == KINDS, counts
    return documents


def pod_of(documents):
    [pod] = [document for document in documents if document["kind"] == "StatefulSet"]
    return pod["spec"]["template"]["spec"]


def restricted(pod):
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
        writable = {m["name"] for m in container["volumeMounts"] if not m.get("readOnly")}
        assert writable == {"state", "cache"}, writable


if __name__ == "__main__":
    main(*sys.argv[1:])
