#!/bin/sh
# Installs what drives the console's pages in a browser: Debian's Chromium, and Node packages, pinned with their hashes, in
# target/console.
set -eu
cd "$(dirname "$0")/.."
folder=target/console

say() { echo "== console: $*" >&2; }

needs() {
    say "$1 is missing; what helps: $2"
    exit 1
}

command -v npm > /dev/null 2>&1 || needs npm "\`apt-get install npm\` (Node 20 or newer)"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
    needs "Node 20 or newer" "a newer \`nodejs\`"
if ! command -v chromium > /dev/null 2>&1; then
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null 2>&1 || needs chromium "\`apt-get install chromium\`"
    say "chromium"
    apt-get install --yes --quiet --no-install-recommends chromium > /dev/null ||
        { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends chromium; } > /dev/null ||
        needs chromium "\`apt-get install chromium\`"
fi
if ! cmp -s e2e/console/package-lock.json "$folder/package-lock.json"; then
    say "Node packages"
    rm -rf "$folder/node_modules"
    mkdir -p "$folder"
    cp e2e/console/package.json e2e/console/package-lock.json "$folder/"
    (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error) ||
        { rm -rf "$folder/package-lock.json"; exit 1; }
fi
# Node looks for packages beside the script.
cp e2e/console/*.mjs "$folder/"
