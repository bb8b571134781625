#!/bin/sh
# Checks what is deployed: the unit, the chart, and an image of a program, which is started as it will be.
#
# Usage: check.sh PROGRAM POLICIES
#
# Installs what it needs: Debian's systemd, umoci, skopeo, strace, python3-venv, and more from PyPI.
set -eu

program=$1 policies=$2
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."

sh "$here/install.sh" systemd umoci skopeo strace ca-certificates python3-venv
python=target/deploy/venv/bin/python

echo "== the chart"
package=$(sh deploy/chart.sh target/deploy/chart)
made=$(sha256sum < "$package")
sh deploy/chart.sh target/deploy/chart > /dev/null 2>&1
[ "$made" = "$(sha256sum < "$package")" ] || { echo "$package: two packages of one source differ" >&2; exit 1; }
"$python" "$here/chart.py" deploy/chart "$package" "$here/example-values.yaml" "$here/replicas-values.yaml" "$program" "$policies"

echo "== the unit"
sh "$here/unit.sh" "$program" "$policies"

echo "== the image"
sh "$here/image.sh" "$program" "$policies" "$python"
