#!/bin/sh
# Checks the unit: that systemd takes it, how exposed it leaves the service, and that the service calls nothing of the kernel
# that the unit forbids.
#
# Usage: unit.sh PROGRAM POLICIES
set -eu

program=$1 policies=$2
unit=deploy/systemd/countersign.service
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program is not where the package puts it.
sed "s|/usr/bin/countersign|$(readlink -f "$program")|" "$unit" > "$work/countersign.service"
systemd-analyze verify --man=no --recursive-errors=no "$work/countersign.service"
# Tenths: 2.0.
systemd-analyze security --offline=true --threshold=20 --no-pager "$work/countersign.service" > "$work/exposure" || {
	cat "$work/exposure"
	exit 1
}
grep "Overall" "$work/exposure"

# What the unit allows: the sets of its filter, less those that it takes away.
calls() {
	systemd-analyze syscall-filter --no-pager "$1" > /dev/null || echo "$1" >> "$work/unknown"
	systemd-analyze syscall-filter --no-pager "$1" | sed -n 's/^ *\([a-z_@0-9-]*\)$/\1/p' | while read -r name; do
		case $name in
		"$1") ;;
		@*) calls "$name" ;;
		*) echo "$name" ;;
		esac
	done
}
# A line that begins with `~` takes all its sets away.
sets_of() { for set in $(sed -n "s/^SystemCallFilter=$1\\([^~].*\\)/\\1/p" "$unit"); do calls "$set"; done; }
sets_of "" > "$work/allowed"
sets_of "~" | sort -u > "$work/taken"
if [ -e "$work/unknown" ] || [ ! -s "$work/allowed" ] || [ ! -s "$work/taken" ]; then
	echo "the unit's filter has a set that systemd does not have, or none: $(cat "$work/unknown" 2> /dev/null || true)"
	exit 1
fi
sort -u "$work/allowed" | comm -23 - "$work/taken" > "$work/left"

# Where another user than root finds them.
chmod 755 "$work"
cp "$program" "$work/countersign"
cp -r "$policies" "$work/policies"
POLICIES=$work/policies strace -f -qq -o "$work/trace" python3 "$(dirname "$0")/serve.py" "$work/countersign" "$work/state"
# Lines are `PID NAME(…) = RESULT`, or the two halves of that. Counted are those of a process from where it has become the
# program, and those of its threads and children.
awk '
	/^[0-9]+ +(clone3?|v?fork)\(.*= [0-9]+$/ || /^[0-9]+ +<\.\.\. (clone3?|v?fork) resumed>.*= [0-9]+$/ { parent[$NF] = $1 }
	/^[0-9]+ +execve\("[^"]*\/countersign"/ && !/= -1/ { if (!($1 in since)) since[$1] = NR }
	/^[0-9]+ +[a-z_0-9]+\(/ { pid[NR] = $1; name = $2; sub(/\(.*/, "", name); called[NR] = name }
	END {
		for (line in called) {
			at = pid[line]
			if (at in since) { if (line + 0 >= since[at]) print called[line]; continue }
			for (depth = 0; at && !(at in since) && depth < 8; depth++) at = parent[at]
			if (at in since) print called[line]
		}
	}
' "$work/trace" | sort -u > "$work/used"
[ "$(wc -l < "$work/used")" -ge 40 ] || { echo "only these calls were seen: $(tr '\n' ' ' < "$work/used")"; exit 1; }
forbidden=$(comm -23 "$work/used" "$work/left" | tr '\n' ' ')
[ -z "$forbidden" ] || { echo "the unit forbids what the service calls: $forbidden"; exit 1; }
echo "the service called $(wc -l < "$work/used") kinds of the $(wc -l < "$work/left") system calls that the unit allows, and no other"
