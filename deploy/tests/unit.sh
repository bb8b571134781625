#!/bin/sh
# Checks the unit: that systemd takes it, how exposed it leaves the service, and that the service calls nothing of the kernel
# that the unit forbids.
#
# Usage: unit.sh PROGRAM
set -eu

program=$1
unit=deploy/systemd/countersign.service
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The program is not where the package puts it.
sed "s|/usr/bin/countersign|$(readlink -f "$program")|" "$unit" > "$work/countersign.service"
systemd-analyze verify --man=no "$work/countersign.service"
# Tenths: 2.0.
systemd-analyze security --offline=true --threshold=20 --no-pager "$work/countersign.service" | grep "Overall"

# What the unit allows: the sets of its filter, less those that it takes away.
calls() {
	systemd-analyze syscall-filter --no-pager "$1" | sed -n 's/^ *\([a-z_@0-9-]*\)$/\1/p' | while read -r name; do
		case $name in
		"$1") ;;
		@*) calls "$name" ;;
		*) echo "$name" ;;
		esac
	done
}
sed -n 's/^SystemCallFilter=//p' "$unit" | tr ' ' '\n' > "$work/filter"
: > "$work/allowed"
for set in $(grep -v '^~' "$work/filter"); do calls "$set" >> "$work/allowed"; done
for set in $(sed -n 's/^~//p' "$work/filter"); do calls "$set"; done | sort -u > "$work/taken"
sort -u "$work/allowed" | comm -23 - "$work/taken" > "$work/left"

strace -f -qq -o "$work/trace" python3 "$(dirname "$0")/serve.py" "$program" "$work/state"
# `[pid] name(…`; and those that were interrupted.
awk '$2 ~ /^[a-z_0-9]+\(/ { sub(/\(.*/, "", $2); print $1, $2 }' "$work/trace" > "$work/called"
# Those of Python's own, before and after, are none of the service's.
service=$(awk '/execve\(/ && /countersign/ && /= 0$/ { print $1 }' "$work/trace" | sort -u)
awk '/(clone3?|vfork|fork)\(.*= [0-9]+$/ { print $1, $NF } / resumed>.*= [0-9]+$/ && /clone|fork/ { print $1, $NF }' "$work/trace" > "$work/children"
awk -v roots="$service" '
	FILENAME == ARGV[1] { parent[$2] = $1; next }
	FNR == 1 { count = split(roots, all, /[ \n]+/); for (place = 1; place <= count; place++) mine[all[place]] = 1 }
	{
		pid = $1
		for (depth = 0; pid && !(pid in mine) && depth < 8; depth++) pid = parent[pid]
		if (pid in mine) print $2
	}
' "$work/children" "$work/called" | sort -u > "$work/used"
[ "$(wc -l < "$work/used")" -ge 40 ] || { echo "only these calls were seen: $(tr '\n' ' ' < "$work/used")"; exit 1; }
forbidden=$(comm -23 "$work/used" "$work/left" | tr '\n' ' ')
[ -z "$forbidden" ] || { echo "the unit forbids what the service calls: $forbidden"; exit 1; }
echo "the service called $(wc -l < "$work/used") kinds of the $(wc -l < "$work/left") system calls that the unit allows, and no other"
