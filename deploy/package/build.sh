#!/bin/sh
# Builds what is released, from a program that is built: a Debian package, an archive of the same files, their bill of
# materials, a statement of what they were built from, and the SHA-256 of each.
#
# Usage: build.sh PROGRAM POLICIES FOLDER [KEY]
#
# KEY, a private key in PEM (EC P-256), signs the statement. The same files give the same bytes but for the statement, which has
# the time: times are SOURCE_DATE_EPOCH, that of the commit unless it is set. COMPRESSION is `xz`, or `gz` where it has to be
# quick. Needs dpkg-dev and python3, with a key openssl, and cargo-deb, which it installs beside where it is missing.
set -eu

program=$(readlink -f "$1") policies=$(readlink -f "$2") folder=$(readlink -m "$3") key=${4:-}
[ -z "$key" ] || key=$(readlink -f "$key")
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
cargo=${CARGO:-cargo}
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
# Not the umask of whoever builds it.
umask 022

# Of this version: another one may give other bytes.
cargo_deb=3.8.0
tools=target/deploy/cargo-deb
if [ "$("$tools/bin/cargo-deb" --version 2> /dev/null)" != "cargo-deb $cargo_deb" ]; then
	CARGO_TARGET_DIR=$tools/target "$cargo" install --quiet --locked --no-default-features --version "$cargo_deb" --force \
		--root "$tools" cargo-deb
fi

rm -rf "$folder"
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Where the list of files in host/cli/Cargo.toml has them.
parts=target/deploy/parts
rm -rf "$parts"
mkdir -p "$parts/policies"
install -m 755 "$program" "$parts/countersign"
install -m 644 "$policies"/*.wasm "$parts/policies"
python3 deploy/image/sbom.py "$SOURCE_DATE_EPOCH" > "$parts/sbom.cdx.json"

compression="--compress-type ${COMPRESSION:-xz}"
[ "${COMPRESSION:-xz}" = xz ] || compression="$compression --fast --compress-system"
# shellcheck disable=SC2086 # several words
package=$("$tools/bin/cargo-deb" --quiet --no-build --locked --no-strip $compression --package countersign-cli --output "$folder")

version=$(dpkg-deb --field "$package" Version) architecture=$(dpkg-deb --field "$package" Architecture)

# For systems without dpkg: the same files, below a folder of their own.
name=countersign-$(dpkg-deb --field "$package" Version | sed 's/-[^-]*$//')-linux-$architecture
dpkg-deb --extract "$package" "$work/$name"
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu \
	--directory "$work" "$name" | gzip --no-name --best > "$folder/$name.tar.gz"
cp "$parts/sbom.cdx.json" "$folder/$name.cdx.json"

python3 deploy/provenance.py "$started" "make package" ${key:+--key "$key"} --output "$folder/$name.intoto.json" \
	"$package" "$folder/$name.tar.gz" "$folder/$name.cdx.json"
(cd "$folder" && sha256sum -- * > SHA256SUMS)
ls -l "$folder" >&2
echo "$folder: version $version"
