#!/bin/sh
# Checks the Debian package: on a clean Debian root it installs, starts a service that decides by the unit's own command, keeps
# what an operator changed when it is installed again, and purges, but for the decision log. And the archive, the digests and
# the statement beside it.
#
# Usage: package.sh PROGRAM FOLDER PYTHON, where FOLDER is what `deploy/package/build.sh` wrote, signed by FOLDER.key
#
# Needs root, dpkg and debootstrap; the root of Debian is kept in target/deploy.
set -eu

program=$1 folder=$2 python=$3
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
[ "$(id -u)" = 0 ] || { echo "expected root: a package is installed in a root of its own" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

echo "== what is released"
(cd "$folder" && sha256sum --quiet --check SHA256SUMS)
package=$(ls "$folder"/*.deb) archive=$(ls "$folder"/*.tar.gz)
"$python" "$here/released.py" "$folder" "$folder.key"
dpkg-deb --fsys-tarfile "$package" | tar --list | sed 's|^\./||' | grep -v '/$' | sort > "$work/of-package"
tar --list --file "$archive" | grep -v '/$' | sed 's|^[^/]*/||' | sort > "$work/of-archive"
cmp "$work/of-package" "$work/of-archive"
[ -z "$(find "$folder" -name '*.key')" ] || { echo "a private key is among what is released"; exit 1; }

# The Debian that the program was linked on.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
base=target/deploy/debian-$suite.tar
if [ ! -e "$base" ]; then
	echo "== installing Debian $suite"
	debootstrap --variant=minbase --include=systemd-standalone-sysusers,ca-certificates "$suite" "$work/base" > "$work/log" ||
		{ tail "$work/log"; exit 1; }
	tar --create --numeric-owner --file "$base.new" --directory "$work/base" .
	mv "$base.new" "$base"
	rm -rf "$work/base"
fi
root=$work/root
mkdir "$root"
tar --extract --numeric-owner --same-permissions --file "$base" --directory "$root"
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }
listed() { (cd "$root" && find etc usr var/lib/countersign var/cache/countersign ! -type d 2> /dev/null | sort); }
listed > "$work/before"

echo "== installed"
cp "$package" "$root/countersign.deb"
inside dpkg --install /countersign.deb > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
inside getent passwd countersign > /dev/null
inside dpkg --verify countersign
for file in issuer.toml countersign.toml; do
	inside dpkg-query --show --showformat '${Conffiles}' countersign | grep -q "/etc/countersign/$file" || { echo "$file is no conffile"; exit 1; }
done
[ ! -e "$root/etc/systemd/system/multi-user.target.wants/countersign.service" ] || { echo "it is enabled before it is configured"; exit 1; }

# The folders that systemd makes for the unit.
unit=$root/usr/lib/systemd/system/countersign.service
[ -e "$unit" ] || unit=$root/lib/systemd/system/countersign.service
command=$(sed -n 's/^ExecStart=//p' "$unit")
user=$(inside getent passwd countersign | cut -d : -f 3) group=$(inside getent passwd countersign | cut -d : -f 4)
for place in var/lib/countersign var/cache/countersign; do
	install --directory --mode 700 --owner "$user" --group "$group" "$root/$place"
done
# On a port that is free here; what an operator changes stays.
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
sed -i "s/127.0.0.1:8080/127.0.0.1:$port/" "$root/etc/countersign/issuer.toml"
# As a user that is not root, with the processes of this machine: policies are compiled in a process of the program's own.
cat > "$work/start" <<'START'
#!/bin/sh
# Usage: start ROOT USER COMMAND…
set -eu
root=$1 user=$2
shift 2
mount --rbind /proc "$root/proc"
exec chroot --userspec="$user" "$root" "$@"
START
chmod 755 "$work/start"
as_service="unshare --mount $work/start $root $user:$group"
# shellcheck disable=SC2086 # several words
$as_service /usr/bin/countersign check --config /etc/countersign/issuer.toml --cache /var/cache/countersign \
	--cache-secret /var/lib/countersign/cache-secret > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
# shellcheck disable=SC2086 # several words
$as_service $command 2> "$work/service" &
service=$!
"$python" - "$port" "$service" <<'PYTHON' || { cat "$work/service"; kill "$service"; exit 1; }
import os, sys, time, urllib.request
port, service = sys.argv[1:]
deadline = time.monotonic() + 300
while True:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10)
        break
    except OSError as error:
        os.kill(int(service), 0)
        assert time.monotonic() < deadline, error
    time.sleep(0.1)
PYTHON
kill "$service"
wait "$service" || { cat "$work/service"; exit 1; }
install --directory --mode 700 --owner "$user" --group "$group" "$root/var/lib/countersign/check"
# shellcheck disable=SC2086 # several words
POLICIES=/usr/share/countersign/policies SEEN=/var/lib/countersign/check \
	"$python" "$here/serve.py" "$program" "$root/var/lib/countersign/check" $as_service /usr/bin/countersign
echo "it installs, is ready by the unit's command, decides, and stops"

inside dpkg --install /countersign.deb > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
grep -q "127.0.0.1:$port" "$root/etc/countersign/issuer.toml" || { echo "an upgrade replaces the configuration"; exit 1; }

inside dpkg --purge countersign > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
grep -q "archive and delete it yourself" "$work/log" || { cat "$work/log"; echo "it does not say that the log is kept"; exit 1; }
[ -e "$root/var/lib/countersign/state/log" ] || { echo "the decision log was deleted"; exit 1; }
rm -rf "$root/var/lib/countersign"
listed > "$work/after"
# The user stays, and lists of users have copies beside them.
diff "$work/before" "$work/after" | grep '^[<>]' | grep -Ev ' etc/(passwd|group|shadow|gshadow)-$' > "$work/left" || true
[ ! -s "$work/left" ] || { echo "left behind or missing:"; cat "$work/left"; exit 1; }
# Without a state, nothing stays.
inside dpkg --install /countersign.deb > /dev/null 2>&1
inside dpkg --purge countersign > "$work/log" 2>&1
[ ! -e "$root/var/lib/countersign" ] && [ ! -e "$root/etc/countersign" ] || { echo "a purge leaves folders"; exit 1; }
echo "it keeps what was changed, and purges all but the decision log"
