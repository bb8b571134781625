#!/bin/sh
# Packages the chart as Helm does, a statement of what it was built from, and the SHA-256 of each.
#
# Usage: chart.sh FOLDER [KEY]
#
# KEY, a private key in PEM (EC P-256), signs the statement. Helm's own packages have the time at which they were made; this one
# has that of the commit (SOURCE_DATE_EPOCH, if set), so that the same files give the same bytes. Needs python3, and cargo for the
# statement.
set -eu

folder=$(readlink -m "$1") key=${2:-}
[ -z "$key" ] || key=$(readlink -f "$key")
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
field() { awk -v name="$1:" '$1 == name { print $2; exit }' deploy/chart/Chart.yaml; }
name=$(field name) version=$(field version)

rm -rf "$folder"
mkdir -p "$folder"
package=$folder/$name-$version.tgz
# Chart.yaml comes first, as Helm has it: readers need not unpack the rest for it.
tar --create --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" --format=gnu --sort=name \
	--transform "s,^chart,$name," --directory deploy --no-recursion chart/Chart.yaml chart/values.yaml chart/values.schema.json \
	$(cd deploy && find chart/templates -type f | LC_ALL=C sort) | gzip --no-name --best > "$package"
python3 deploy/provenance.py "$started" "make chart" ${key:+--key "$key"} --output "$folder/$name-$version.intoto.json" "$package"
(cd "$folder" && sha256sum -- * > SHA256SUMS)
ls -l "$folder" >&2
echo "$package"
