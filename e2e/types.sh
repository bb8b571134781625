#!/bin/sh
# Installs checkers of types for the tests, pinned with their hashes, in target/e2e/types.
set -eu
cd "$(dirname "$0")/.."
folder=target/e2e/types

for tool in python3 npm; do
    command -v "$tool" > /dev/null 2>&1 || {
        echo "== e2e: $tool is missing; what helps: \`apt-get install python3 python3-venv npm\` (Node 20 or newer)" >&2
        exit 1
    }
done
# Anew when what is pinned has changed.
if ! cat e2e/types/package-lock.json e2e/types/requirements.txt | cmp -s - "$folder/pinned"; then
    echo "== e2e: tsc, pyright, mypy and ty" >&2
    rm -rf "$folder"
    mkdir -p "$folder"
    cp e2e/types/package.json e2e/types/package-lock.json "$folder/"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error)
    python3 -m venv "$folder/python"
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: -r e2e/types/requirements.txt
    cat e2e/types/package-lock.json e2e/types/requirements.txt > "$folder/pinned"
fi
