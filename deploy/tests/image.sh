#!/bin/sh
# Checks the image: the same bytes twice, nothing in it but what the service needs, and that its root starts a service that
# decides.
#
# Usage: image.sh PROGRAM POLICIES PYTHON
set -eu

program=$1 policies=$2 python=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What is unpacked is read by another user.
chmod 755 "$work"

image=$(sh deploy/image/build.sh "$program" "$policies" "$work/one")
tag=${image##*:}
sh deploy/image/build.sh "$program" "$policies" "$work/two" > /dev/null
for layout in one two; do skopeo inspect --raw "oci:$work/$layout:$tag" > "$work/$layout.json"; done
cmp "$work/one.json" "$work/two.json" || { echo "two builds of the same files differ"; exit 1; }
echo "two builds are the same bytes"
"$python" - "$work/one" <<'PYTHON'
import json, sys
layout = sys.argv[1]
[manifest] = json.load(open(f"{layout}/index.json"))["manifests"]
statement = json.load(open(f"{layout}.intoto.json"))
assert {"name": "countersign", "digest": {"sha256": manifest["digest"].removeprefix("sha256:")}} in statement["subject"], statement
PYTHON

skopeo inspect --config "oci:$work/one:$tag" > "$work/config.json"
"$python" - "$work/config.json" <<'PYTHON'
import json, sys
config = json.load(open(sys.argv[1]))["config"]
assert config["User"] == "65532:65532", config
assert config["Entrypoint"] == ["/usr/bin/countersign"], config
assert set(config["Volumes"]) == {"/state", "/cache"}, config
assert config["Labels"]["org.opencontainers.image.revision"], config
PYTHON

umoci unpack --rootless --image "$work/one:$tag" "$work/bundle" > /dev/null
root=$work/bundle/rootfs
found=$(find "$root" -perm /6000 -o \( -perm /022 ! -type l \) -o -name 'sh' -o -name 'bash' -o -name 'busybox')
[ -z "$found" ] || { echo "the image has what it should not: $found"; exit 1; }
"$python" - "$root/usr/share/doc/countersign/sbom.cdx.json" <<'PYTHON'
import json, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
text = open(sys.argv[1]).read()
wrong = JsonStrictValidator(SchemaVersion.V1_5).validate_str(text)
assert wrong is None, wrong
print(f"the bill of materials has {len(json.loads(text)['components'])} crates")
PYTHON

# The root as a container has it: another user, a `/proc` of its own place, nothing else of this machine. Its state is a
# volume, and the rest cannot be written to.
mkdir "$root/state/check"
chmod 777 "$root/state" "$root/state/check"
cat > "$work/start" <<'START'
#!/bin/sh
# Usage: start ROOT COMMAND…
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount --bind "$root/state" "$root/state"
mount --rbind /proc "$root/proc"
mount -o remount,bind,ro "$root"
! touch "$root/usr/written" 2> /dev/null || { echo "the root can be written to" >&2; exit 1; }
if [ -z "${MAPPED:-}" ]; then
	exec chroot --userspec=65532:65532 "$root" /usr/bin/countersign "$@"
fi
exec chroot "$root" /usr/bin/countersign "$@"
START
chmod 755 "$work/start"
if [ "$(id -u)" = 0 ]; then
	apart="unshare --mount"
else
	# A user of its own namespace, who is root there alone.
	apart="env MAPPED=1 unshare --user --map-root-user --mount"
fi
# shellcheck disable=SC2086 # several words
POLICIES=/usr/share/countersign/policies SEEN=/state/check \
	"$python" "$(dirname "$0")/serve.py" "$program" "$root/state/check" $apart "$work/start" "$root"
echo "its root starts, is ready, decides, and stops"
