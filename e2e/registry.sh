#!/bin/sh
# Installs what policies of registries are tested with: Debian's docker-registry, oras and cosign, unpacked into target/e2e, and
# npm's @sigstore/verify, pinned with its hashes. The programs are Debian 13's, which start on Debian 12 as well, but for cosign:
# `cosign verify` of 2.5 does not read the bundles that its own `attest` writes, and 3 does.
set -eu
cd "$(dirname "$0")/.."
folder=target/e2e/registry

say() { echo "== e2e: $*" >&2; }

needs() {
    say "$1 is missing; what helps: $2"
    exit 1
}

for command in apt-get dpkg-deb; do
    command -v "$command" > /dev/null 2>&1 || needs "$command" "a Debian, or programs of your own at $folder/root/usr/bin"
done
command -v npm > /dev/null 2>&1 || needs npm "\`apt-get install npm\` (Node 20 or newer)"

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# unpack SUITE PACKAGE…
unpack() {
    suite=$1
    shift
    [ -e "$folder/root/complete-$suite" ] && return
    say "$* of Debian's $suite"
    rm -rf "$folder/apt"
    mkdir -p "$folder/root" "$folder/apt/lists/partial" "$folder/apt/archives/partial" "$folder/apt/empty"
    # A state of its own: what is installed here stays as it is.
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e "$keyring" ] || needs "$keyring" "\`apt-get install debian-archive-keyring\`"
    # The mirror that this machine has Debian from.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | head -n 1)
    [ -n "$mirror" ] || needs "a mirror of Debian" "a line of it below /etc/apt"
    echo "deb [signed-by=$keyring] $mirror $suite main" > "$folder/apt/sources.list"
    : > "$folder/apt/status"
    apt update
    (cd "$folder/apt" && apt download "$@")
    for package in "$folder"/apt/*.deb; do
        dpkg-deb -x "$package" "$folder/root"
    done
    rm -rf "$folder/apt"
    touch "$folder/root/complete-$suite"
}

apt() {
    apt-get -qq -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts="$folder/apt/empty" \
        -o Dir::State="$folder/apt" -o Dir::State::status="$folder/apt/status" -o Dir::Cache="$folder/apt" \
        -o Dir::Etc::Parts="$folder/apt/empty" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

unpack trixie docker-registry oras
unpack forky cosign
if ! cmp -s e2e/registry/package-lock.json "$folder/node/package-lock.json"; then
    say "@sigstore/verify"
    rm -rf "$folder/node"
    mkdir -p "$folder/node"
    cp e2e/registry/package.json e2e/registry/package-lock.json "$folder/node/"
    (cd "$folder/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel error) ||
        { rm -rf "$folder/node"; exit 1; }
fi
# Node looks for packages beside the script.
cp e2e/registry/*.mjs "$folder/node/"
