#!/bin/sh
# Shows records travelling from a pipe into a log: demo.sh DIRECTORY-OF-THE-PROGRAMS
#
# Everything happens in a directory of its own, which is gone afterwards, and needs no rights.
set -eu

bin=${1:?usage: demo.sh DIRECTORY}
scratch=$(mktemp -d)
pid_file=$scratch/bdaemon.pid

clean_up() {
    if [ -s "$pid_file" ]; then
        kill "$(cat "$pid_file")" 2>/dev/null || :
    fi
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# Waits until a condition, to be expanded here, holds; for half a minute at most.
wait_until() {
    tries=0
    until eval "$1"; do
        tries=$((tries + 1))
        if [ "$tries" -ge 300 ]; then
            echo "demo: waited in vain for: $1" >&2
            exit 1
        fi
        sleep 0.1
    done
}

say() {
    printf '\n== %s\n' "$*"
}

run() {
    printf '$ %s\n' "$*"
    "$@"
}

cat >"$scratch/bdaemon.toml" <<EOF
pid_file = "$pid_file"

[log]
target = "file"
path   = "$scratch/bdaemon.log"

[[pipe]]
path = "$scratch/in.pipe"

[control]
socket = "$scratch/bdaemon.sock"
EOF

say "A daemon that reads one pipe and writes one file"
cat "$scratch/bdaemon.toml"
run "$bin/bdaemon" -c "$scratch/bdaemon.toml"
ls -l "$scratch/in.pipe"

say "Anything that can write to a file can log"
printf '$ echo "backup done" >%s\n' "$scratch/in.pipe"
echo "backup done" >"$scratch/in.pipe"
printf '$ echo "<3>disk ada1 is failing" >%s\n' "$scratch/in.pipe"
echo "<3>disk ada1 is failing" >"$scratch/in.pipe"

say "bdaemonctl sends as well, and does not hang when no daemon runs"
run "$bin/bdaemonctl" -c "$scratch/bdaemon.toml" send -p warning "load is 17"
run "$bin/bdaemonctl" -c "$scratch/bdaemon.toml" count --to 3 --interval 100ms

say "What has become of it"
# shellcheck disable=SC2016 # expanded in wait_until
wait_until 'grep -q ": 3$" "$scratch/bdaemon.log"'
cat "$scratch/bdaemon.log"

say "How the daemon is"
run "$bin/bdaemonctl" -c "$scratch/bdaemon.toml" status

say "The end"
run "$bin/bdaemonctl" -c "$scratch/bdaemon.toml" stop
tail -n 2 "$scratch/bdaemon.log"
for word in "backup done" "err: disk ada1 is failing" "warning: load is 17" "info: 3"; do
    grep -q "$word\$" "$scratch/bdaemon.log" || { echo "demo: \"$word\" is missing" >&2; exit 1; }
done
for path in "$scratch/in.pipe" "$scratch/bdaemon.sock" "$pid_file"; do
    if [ -e "$path" ]; then
        echo "demo: $path is still there" >&2
        exit 1
    fi
done
