#!/bin/sh
# Installs another implementation of CEL for the tests, pinned with its hash, in target/e2e/cel.
set -eu
cd "$(dirname "$0")/.."
folder=target/e2e/cel

if ! command -v npm > /dev/null 2>&1; then
    echo "== e2e: npm is missing; what helps: \`apt-get install npm\` (Node 20 or newer)" >&2
    exit 1
fi
# Anew when what is pinned has changed.
if ! cmp -s e2e/cel/package-lock.json "$folder/package-lock.json"; then
    echo "== e2e: cel-js" >&2
    rm -rf "$folder"
    mkdir -p "$folder"
    cp e2e/cel/package.json e2e/cel/package-lock.json "$folder/"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error) || { rm -rf "$folder"; exit 1; }
fi
