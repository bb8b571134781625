#!/bin/sh
# Builds the image of the service as an OCI layout, without an engine, a daemon or a base image: the program, the libraries
# that it is linked with, certificates of public authorities, and the six policies.
#
# Usage: build.sh PROGRAM POLICIES LAYOUT [KEY]
#
# Beside the layout are its bill of materials (LAYOUT.cdx.json) and a statement of what it was built from (LAYOUT.intoto.json),
# which KEY, a private key in PEM (EC P-256), signs. The same files give the same bytes: times are SOURCE_DATE_EPOCH, that of the commit unless it is set. Needs umoci and
# ca-certificates (Debian's packages), python3 and cargo.
set -eu

program=$(readlink -f "$1") policies=$(readlink -f "$2") layout=$(readlink -m "$3") key=${4:-}
[ -z "$key" ] || key=$(readlink -f "$key")
started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
version=$("$program" --version | awk '{ print $2; exit }')
revision=$(git rev-parse HEAD)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
# Not the umask of whoever builds it.
umask 022
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/usr/share/countersign/policies" "$root/state" "$root/cache" \
	"$root/etc/countersign" "$root/proc" "$root/tmp"
install -m 755 "$program" "$root/usr/bin/countersign"
# Each library at the path that the program or its loader looks for it at.
ldd "$program" > "$work/libraries"
if grep 'not found' "$work/libraries" >&2; then exit 1; fi
awk '$3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }' "$work/libraries" | while read -r library; do
	install -D -m 755 "$(readlink -f "$library")" "$root$library"
done
install -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
install -m 644 "$policies"/*.wasm "$root/usr/share/countersign/policies/"
install -D -m 644 LICENSE "$root/usr/share/doc/countersign/LICENSE"
printf 'root:x:0:0:root:/:/sbin/nologin\ncountersign:x:65532:65532:countersign:/state:/sbin/nologin\n' > "$root/etc/passwd"
printf 'root:x:0:\ncountersign:x:65532:\n' > "$root/etc/group"
python3 "$here/sbom.py" "$SOURCE_DATE_EPOCH" > "$root/usr/share/doc/countersign/sbom.cdx.json"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

rm -rf "$layout"
umoci init --layout "$layout"
umoci new --image "$layout:$version"
umoci insert --rootless --image "$layout:$version" --history.created "$created" --history.created_by "deploy/image/build.sh" \
	--history.author "" --history.comment "" "$root" / > /dev/null
umoci config --image "$layout:$version" --created "$created" --no-history --architecture "$(dpkg --print-architecture)" --os linux \
	--config.entrypoint /usr/bin/countersign --config.cmd --help --config.user 65532:65532 --config.workingdir /state \
	--config.env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt --config.env XDG_CACHE_HOME=/cache \
	--config.exposedports 8443/tcp --config.exposedports 9090/tcp --config.volume /state --config.volume /cache \
	--config.label "org.opencontainers.image.title=countersign" \
	--config.label "org.opencontainers.image.version=$version" \
	--config.label "org.opencontainers.image.revision=$revision" \
	--config.label "org.opencontainers.image.created=$created" \
	--config.label "org.opencontainers.image.licenses=$(awk -F'"' '/^license =/ { print $2; exit }' Cargo.toml)"
umoci gc --layout "$layout" > /dev/null
digest=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["manifests"][0]["digest"])' "$layout/index.json")
cp "$root/usr/share/doc/countersign/sbom.cdx.json" "$layout.cdx.json"
python3 deploy/provenance.py "$started" "make image" ${key:+--key "$key"} --name "countersign=$digest" \
	--output "$layout.intoto.json" "$layout.cdx.json"
echo "$layout:$version"
