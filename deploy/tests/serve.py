"""Starts a service with the example's policies, waits until it is ready, asks it for its keys and for a decision, reloads it,
and stops it.

Usage: serve.py PROGRAM FOLDER [PREFIX…], where PREFIX is a command that starts the program elsewhere.
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

# Far longer than any takes: a program that is not optimised compiles the policies.
PATIENCE = 300

USER = 65532


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def configuration(folder, policies, port, key):
    (folder / "issuer.toml").write_text(
        f'policies = "countersign.toml"\nstate = "{folder.name}-state"\n'
        f'[listen]\naddress = "127.0.0.1:{port}"\n'
        f'[[api-key]]\nname = "check"\nsha256 = "{key["sha256"]}"\nmay = ["decisions"]\n'
    )
    (folder / "countersign.toml").write_text(
        '[issuer]\nurl = "https://oidc.example.com"\nmeshstack-id = "demo"\n'
        '[[binding]]\nname = "same-workspace"\nscope = "all"\n'
        f'policy = "{policies}/same-workspace.wasm"\n'
        "limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }\n"
    )


def ask(service, url, **arguments):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, **arguments), timeout=10) as answer:
                return json.loads(answer.read() or b"null") if "json" in answer.headers["content-type"] else None
        except urllib.error.HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise AssertionError(f"{url}: {error.code} {error.read()}") from error
        # It does not listen yet, or has closed the connection since it stops.
        except OSError:
            if service.poll() is not None or time.monotonic() > deadline:
                raise
        time.sleep(0.1)


def reload(service, folder, key, url):
    """Gives the key another permission, and waits until that counts."""
    file = folder / "issuer.toml"
    file.write_text(file.read_text().replace('may = ["decisions"]', 'may = ["metrics"]'))
    service.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + PATIENCE
    headers = {"authorization": f"Bearer {key['key']}"}
    while True:
        try:
            request = urllib.request.Request(f"{url}/metrics", headers=headers)
            return urllib.request.urlopen(request, timeout=10).read()
        except urllib.error.HTTPError as error:
            if error.code != 403 or time.monotonic() > deadline:
                raise AssertionError(f"not reloaded: {error.code} {error.read()}") from error
        time.sleep(0.1)


def main(program, folder, *prefix):
    folder = pathlib.Path(folder)
    folder.mkdir(exist_ok=True)
    key = json.loads(subprocess.check_output([program, "api-key", "--format", "json"]))
    port = free_port()
    policies = os.environ.get("POLICIES", pathlib.Path("target/policies").resolve())
    configuration(folder, policies, port, key)
    seen = os.environ.get("SEEN", str(folder))
    command = [*(prefix or [program]), "serve", "--config", f"{seen}/issuer.toml", "--cache", f"{seen}/cache",
               "--cache-secret", f"{seen}/cache-secret"]
    # As the unit has it, not root: the libraries do other things for root.
    other = {}
    if os.geteuid() == 0 and not prefix:
        for path in (folder, *folder.iterdir()):
            os.chown(path, USER, USER)
        other = {"user": USER, "group": USER, "extra_groups": []}
    service = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **other)
    url = f"http://127.0.0.1:{port}"
    try:
        ask(service, f"{url}/readyz")
        assert len(ask(service, f"{url}/jwks.json")["keys"]) > 0
        run = json.loads(pathlib.Path("examples/run.json").read_text())
        body = json.dumps({"run": run, "audiences": ["aws-workload-identity-provider:demo"], "ttl_seconds": 900})
        headers = {"authorization": f"Bearer {key['key']}", "content-type": "application/json"}
        decision = ask(service, f"{url}/v1/decisions", data=body.encode(), headers=headers)
        assert decision["outcome"] == "approved", decision
        if not prefix:
            reload(service, folder, key, url)
    except BaseException:
        service.kill()
        print(service.stderr.read()[-4000:], file=sys.stderr)
        raise
    service.send_signal(signal.SIGTERM)
    log = service.communicate(timeout=PATIENCE)[1]
    assert service.returncode == 0, (service.returncode, log)


if __name__ == "__main__":
    main(*sys.argv[1:])
