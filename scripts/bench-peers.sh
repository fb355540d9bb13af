#!/bin/sh
# Installs, on Debian, what `make bench` compares bdaemon with. None of it is to run as a service:
# starting any is forbidden while this installs, as policy-rc.d has it.
set -eu

packages="daemontools s6 runit syslog-ng-core bsdutils"

if [ "$(id -u)" != 0 ]; then
    echo "bench-peers.sh: installing packages needs root" >&2
    exit 1
fi

# syslog-ng takes the place of another syslogd, which is not worth a benchmark.
# shellcheck disable=SC2086 # a list of words
conflicts=$(apt-get install --simulate --no-install-recommends $packages | sed -n 's/^Remv \([^ ]*\).*/\1/p')
if [ -n "$conflicts" ]; then
    echo "bench-peers.sh: this would remove $conflicts; take a machine where that does not matter" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi

# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages

# It would start with the next boot.
update-rc.d syslog-ng disable
