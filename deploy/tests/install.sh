#!/bin/sh
# Installs what checks need: the Debian packages that are named and missing, and from PyPI the Helm SDK, the schemas of
# Kubernetes and of CycloneDX, into target/deploy/venv.
#
# Usage: install.sh PACKAGE…
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
needed=""
for package in "$@"; do
	dpkg -s "$package" > /dev/null 2>&1 || needed="$needed $package"
done
if [ -n "$needed" ]; then
	echo "== installing$needed"
	# shellcheck disable=SC2086 # several words
	apt-get install --yes --no-install-recommends $needed > /dev/null
fi
if ! cmp -s "$here/requirements.txt" target/deploy/requirements.txt; then
	python3 -m venv target/deploy/venv
	target/deploy/venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
	cp "$here/requirements.txt" target/deploy/requirements.txt
fi
