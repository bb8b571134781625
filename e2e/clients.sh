#!/bin/sh
# Installs the clouds' clients for the tests: pinned, with the hashes of what is installed, in target/e2e.
set -eu
cd "$(dirname "$0")/.."
folder=target/e2e

say() { echo "== e2e: $*" >&2; }

needs() {
    say "$1 is missing; what helps: $2"
    exit 1
}

command -v python3 > /dev/null 2>&1 || needs python3 "\`apt-get install python3 python3-venv\`"
if ! command -v go > /dev/null 2>&1; then
    [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null 2>&1 || needs go "\`apt-get install golang-go\`"
    say "go"
    apt-get install --yes --quiet --no-install-recommends golang-go > /dev/null ||
        { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends golang-go; } > /dev/null ||
        needs go "\`apt-get install golang-go\`"
fi
command -v npm > /dev/null 2>&1 || needs npm "\`apt-get install npm\` (Node 20 or newer)"
node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' ||
    needs "Node 20 or newer" "a newer \`nodejs\`"

mkdir -p "$folder"
# Anew when what is pinned has changed.
if ! cmp -s e2e/python/requirements.txt "$folder/requirements.txt"; then
    say "Python clients"
    rm -rf "$folder/python"
    python3 -m venv "$folder/python" || needs "python3's venv" "\`apt-get install python3-venv\`"
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        --only-binary :all: -r e2e/python/requirements.txt
    cp e2e/python/requirements.txt "$folder/requirements.txt"
fi
# Python's own code of the signer's protocol.
if ! cmp -s protos/externaljwt.proto "$folder/protos/externaljwt.proto"; then
    rm -rf "$folder/protos"
    mkdir -p "$folder/protos"
    "$folder/python/bin/python" -m grpc_tools.protoc -Iprotos --python_out="$folder/protos" \
        --grpc_python_out="$folder/protos" externaljwt.proto
    cp protos/externaljwt.proto "$folder/protos/"
fi
if ! cmp -s e2e/node/package-lock.json "$folder/node/package-lock.json"; then
    say "Node clients"
    rm -rf "$folder/node"
    mkdir -p "$folder/node"
    cp e2e/node/package.json e2e/node/package-lock.json "$folder/node/"
    (cd "$folder/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error) ||
        { rm -rf "$folder/node"; exit 1; }
fi
# Node looks for packages beside the script.
cp e2e/node/*.mjs "$folder/node/"

say "the clients of examples/clients"
cp examples/clients/typescript/decide.ts "$folder/node/"
(cd "$folder/node" && npx --no-install tsc --strict --types node --target es2022 --module nodenext decide.ts)
(cd examples/clients/go && go vet main.go && go build -o "$OLDPWD/$folder/decide-go" main.go)

say "the crate openidconnect"
cargo build --locked --manifest-path e2e/openidconnect/Cargo.toml --target-dir "$folder/rust"
cp "$folder/rust/debug/countersign-e2e-openidconnect" "$folder/"
