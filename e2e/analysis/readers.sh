#!/bin/sh
# Installs the readers of exports, the stand-in of S3 and the sink of traces: pinned, with hashes, in target/analysis.
set -eu
cd "$(dirname "$0")/../.."
folder=target/analysis

command -v python3 > /dev/null 2>&1 || {
    echo "== analysis: python3 is missing; what helps: \`apt-get install python3 python3-venv\`" >&2
    exit 1
}
mkdir -p "$folder"
# Anew when what is pinned has changed.
if ! cmp -s e2e/analysis/requirements.txt "$folder/requirements.txt"; then
    echo "== analysis: readers" >&2
    rm -rf "$folder/python"
    python3 -m venv "$folder/python"
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: -r e2e/analysis/requirements.txt
    cp e2e/analysis/requirements.txt "$folder/requirements.txt"
fi
