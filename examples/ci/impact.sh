#!/bin/sh
# Works out what the policies of this checkout would have decided, for a comment on a merge request.
#
# LOG        a folder with a copy of the decision log, such as the newest archive of `countersign log archive`. Without it:
# RUNS       a folder of run objects [default: runs], on which the policies of the target branch decide as well
# BASE       the commit of the target branch [default: origin/main]
# AUDIENCE   the audience that those runs ask for
# TTL        the lifetime that they ask for, in seconds [default: 3600]
# MANIFEST   the manifest, from the top of the checkout [default: countersign.toml]
# BUILD      a command that builds the policies, run at the top of both checkouts; none where they are pinned or committed
# FAIL_ON    the differences that fail it [default: gained,wider,fault]
#
# Writes impact.md (the comment), impact.html (a page that stands alone) and impact.xml (JUnit). Exit status: that of
# `countersign impact`, 2 where a difference fails it.
set -eu
manifest=${MANIFEST:-countersign.toml}
rm -f impact.md impact.html impact.xml

if [ -n "${BUILD:-}" ]; then sh -c "$BUILD"; fi
base=
trap 'if [ -n "$base" ]; then git worktree remove --force "$base"; fi' EXIT
if [ -n "${LOG:-}" ]; then
	set -- "$LOG"
else
	base=$(mktemp -d)
	git worktree add --quiet --detach "$base" "${BASE:-origin/main}"
	if [ -n "${BUILD:-}" ]; then (cd "$base" && sh -c "$BUILD"); fi
	set -- --runs "${RUNS:-runs}" --current "$base/$manifest" --audience "${AUDIENCE:?}" --ttl "${TTL:-3600}"
fi

status=0
countersign impact "$@" --candidate "$manifest" --fail-on "${FAIL_ON:-gained,wider,fault}" \
	--report impact.md --report impact.html --report impact.xml || status=$?

# Policies that cannot be loaded, or a log that cannot be read, have no report.
if [ ! -s impact.md ]; then
	printf '%s\n%s\n' '<!-- countersign impact -->' \
		'**Impact of the changed policies:** not worked out; the job says why.' >impact.md
fi
exit "$status"
