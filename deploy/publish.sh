#!/bin/sh
# Publishes the policies, and the engines where they are built, in a registry, and signs them where there is a key:
# `publish.sh COUNTERSIGN REGISTRY POLICIES ENGINES [KEY]`. The same sources give the same bytes, so a second run changes nothing.
# Prints the reference of each by its digest.
set -eu
countersign=$1 registry=$2 policies=$3 engines=$4 key=${5:-}

version=$("$countersign" --version | cut -d ' ' -f 2)

# publish FILE REPOSITORY
publish() {
    reference=$("$countersign" policy push "$1" "oci://$registry/$2:$version")
    [ -z "$key" ] || "$countersign" policy sign "$reference" --key "$key" > /dev/null
    echo "$reference"
}

for component in "$policies"/*.wasm; do
    publish "$component" "policies/$(basename "$component" .wasm)"
done
found=
for component in "$engines"/*/*.wasm; do
    [ -e "$component" ] || continue
    found=yes
    publish "$component" "engines/$(basename "$component" .wasm)"
done
[ -n "$found" ] || echo "no engines in $engines: \`make engines\` builds them" >&2
