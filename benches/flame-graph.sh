#!/bin/sh
# The flame graphs of `make flame-graph`: `tools` makes sure that there are its tools, `draw ALGORITHM` makes
# target/flame-graph-ALGORITHM.svg and .txt of target/perf-ALGORITHM.data, and `parts` writes a table of all of them.
set -eu

tools() {
    perf --version >/dev/null 2>&1 || {
        echo "perf is missing: \`apt-get install linux-perf\` on Debian" >&2
        exit 1
    }
    # Installed and not a dependency: its licence, the CDDL, is none that this project's own dependencies may have.
    command -v inferno-flamegraph >/dev/null ||
        ${CARGO:-cargo} install --locked inferno --no-default-features --features cli
}

draw() {
    cd target
    graph=flame-graph-$1
    # Without inlined functions, for which perf would start a program each time.
    perf script --no-inline --fields comm,tid,time,event,ip,sym,dso --input "perf-$1.data" 2>perf.log |
        inferno-collapse-perf >"$graph.folded"
    inferno-flamegraph --title "Tokens, $1" --hash <"$graph.folded" >"$graph.svg"
    {
        echo "% of the service's processor time in the function itself"
        awk '{ count = $NF; sub(/ [0-9]+$/, ""); frames = split($0, frame, ";")
               own[frame[frames]] += count; all += count }
             END { for (name in own) printf "%5.1f %s\n", 100 * own[name] / all, name }' "$graph.folded" |
            sort -rn | head -40
        echo
        echo "% in the function and those that it calls"
        awk '{ count = $NF; sub(/ [0-9]+$/, ""); frames = split($0, frame, ";"); split("", seen)
               for (i = 2; i <= frames; i++) if (!(frame[i] in seen)) { seen[frame[i]]; under[frame[i]] += count }
               all += count }
             END { for (name in under) printf "%5.1f %s\n", 100 * under[name] / all, name }' "$graph.folded" |
            sort -rn | head -120
    } >"$graph.txt"
    echo "see target/$graph.svg and target/$graph.txt"
}

# A stack belongs to the first part that one of its functions is of. `target/flame-graph-ALGORITHM.micros` has the
# processor time of a token.
parts() {
    cd target
    echo "| part of a token, in µs of the service's processor time | ES256 | RS256 |"
    echo "|---|---|---|"
    awk '
        BEGIN {
            split("signature|policies|claims, trace and record: JSON and digests|decision log: hash, write, sync|" \
                  "lines of the service'"'"'s own log|network, in the kernel|HTTP and its form|" \
                  "waking and waiting: threads, timers|everything else", name, "|")
            pattern[1] = "SigningKey as countersign_signing::signer::Signer>::sign"
            pattern[2] = "PolicySet::evaluate"
            pattern[3] = "countersign_issuer::decider::|countersign::decision::"
            pattern[4] = "countersign_decision_log::"
            pattern[5] = "tracing_core::event|log_lines"
            pattern[6] = "tcp_|sock_|inet_|writev|__libc_recv|do_epoll_wait"
            pattern[7] = "hyper::|axum::|countersign_http::|countersign_issuer::"
            pattern[8] = "tokio::|futex|schedule|park"
        }
        FILENAME ~ /micros$/ { micros[FILENAME ~ /es256/] = $1; next }
        {
            algorithm = FILENAME ~ /es256/; count = $NF; all[algorithm] += count
            for (part = 1; part < 9 && $0 !~ pattern[part]; part++);
            of[part, algorithm] += count
        }
        END {
            for (part = 1; part <= 9; part++)
                printf "| %s | %.0f | %.0f |\n", name[part], of[part, 1] / all[1] * micros[1], of[part, 0] / all[0] * micros[0]
            printf "| all | %.0f | %.0f |\n", micros[1], micros[0]
        }' flame-graph-es256.micros flame-graph-rs256.micros flame-graph-es256.folded flame-graph-rs256.folded
}

"$@"
