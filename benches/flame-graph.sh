#!/bin/sh
# The flame graph of `make flame-graph`: `tools` makes sure that there are its tools, `draw` makes target/flame-graph.svg
# and target/flame-graph.txt of target/perf.data.
set -eu

tools() {
    perf --version >/dev/null 2>&1 || {
        echo "perf is missing: \`apt-get install linux-perf\` on Debian" >&2
        exit 1
    }
    # Installed and not a dependency: its licence, the CDDL, is none that this project's own dependencies may have.
    inferno-flamegraph --version >/dev/null 2>&1 ||
        ${CARGO:-cargo} install --locked inferno --no-default-features --features cli
}

draw() {
    cd target
    # Without inlined functions, for which perf would start a program each time.
    perf script --no-inline --fields comm,tid,time,event,ip,sym,dso --input perf.data 2>perf.log |
        inferno-collapse-perf >flame-graph.folded
    inferno-flamegraph --title "Tokens, ES256" --hash <flame-graph.folded >flame-graph.svg
    {
        echo "% of the service's processor time in the function itself"
        awk '{ count = $NF; sub(/ [0-9]+$/, ""); frames = split($0, frame, ";")
               own[frame[frames]] += count; all += count }
             END { for (name in own) printf "%5.1f %s\n", 100 * own[name] / all, name }' flame-graph.folded |
            sort -rn | head -40
        echo
        echo "% in the function and those that it calls"
        awk '{ count = $NF; sub(/ [0-9]+$/, ""); frames = split($0, frame, ";"); split("", seen)
               for (i = 2; i <= frames; i++) if (!(frame[i] in seen)) { seen[frame[i]]; under[frame[i]] += count }
               all += count }
             END { for (name in under) printf "%5.1f %s\n", 100 * under[name] / all, name }' flame-graph.folded |
            sort -rn | head -120
    } >flame-graph.txt
    sed -n 1,25p flame-graph.txt
    echo "see target/flame-graph.svg and target/flame-graph.txt"
}

"$@"
