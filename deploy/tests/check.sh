#!/bin/sh
# Checks what is deployed: the unit, the chart, and an image of a program, which is started as it will be.
#
# Usage: check.sh PROGRAM POLICIES
#
# Installs what it needs: Debian's systemd, umoci, skopeo, strace, python3-venv; and from PyPI the Helm SDK, the schemas of
# Kubernetes and of CycloneDX.
set -eu

program=$1 policies=$2
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

needed=""
for package in systemd umoci skopeo strace ca-certificates python3-venv; do
	dpkg -s "$package" > /dev/null 2>&1 || needed="$needed $package"
done
if [ -n "$needed" ]; then
	echo "== installing$needed"
	# shellcheck disable=SC2086 # several words
	apt-get install --yes --no-install-recommends $needed > /dev/null
fi
python=target/deploy/venv/bin/python
if ! cmp -s "$here/requirements.txt" target/deploy/requirements.txt; then
	python3 -m venv target/deploy/venv
	"$python" -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
	cp "$here/requirements.txt" target/deploy/requirements.txt
fi

echo "== the chart"
"$python" "$here/chart.py" deploy/chart "$here/example-values.yaml" "$here/replicas-values.yaml" "$program" "$policies"

echo "== the unit"
sh "$here/unit.sh" "$program" "$policies"

echo "== the image"
sh "$here/image.sh" "$program" "$policies" "$python"
