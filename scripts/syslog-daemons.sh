#!/bin/sh
# Unpacks the syslog daemons of Debian into a directory, for the tests of faults and set-ups:
#
#   sh scripts/syslog-daemons.sh DIRECTORY
#   BDAEMON_SYSLOG_DAEMONS=DIRECTORY cargo test --test faults --test scaling
#
# They are not installed: only one of them can be, and it would be started. What they need besides
# is in the list of packages of .ci/run.
set -eu
mkdir -p "$1"
cd "$1"
mkdir -p packages
cd packages
# A user of its own fetches packages, where it may write.
chmod 755 .. .
if id _apt >/dev/null 2>&1; then
    chown _apt .
fi
rm -f ./*.deb
apt-get download -qq rsyslog rsyslog-relp librelp0 syslog-ng-core inetutils-syslogd busybox-static
for package in ./*.deb; do
    dpkg-deb -x "$package" ..
done
