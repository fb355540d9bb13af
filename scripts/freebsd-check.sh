#!/bin/sh
# Whether programs are such as FreeBSD 14.0 and later run: freebsd-check.sh PROGRAM...
#
# Each must be marked as FreeBSD's, ask for its run-time linker, need no libraries but those of the
# base system that releases keep the same, and no symbol versions that FreeBSD 14.0 has not.
set -eu

[ $# -gt 0 ] || { echo "usage: freebsd-check.sh PROGRAM..." >&2; exit 64; }

outcome=0
complain() {
    echo "freebsd-check: $program: $*" >&2
    outcome=1
}

for program; do
    headers=$(readelf -hlVW "$program")
    needed=$(readelf -dW "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' | sort)
    versions=$(echo "$headers" | sed -n 's/.*Name: \(FBSD[A-Za-z]*_[0-9.]*\).*/\1/p' | sort -u)

    case $headers in
        *"OS/ABI:"*"UNIX - FreeBSD"*) ;;
        *) complain "not marked as a program of FreeBSD" ;;
    esac
    case $headers in
        *"interpreter: /libexec/ld-elf.so.1]"*) ;;
        *) complain "does not ask for FreeBSD's run-time linker" ;;
    esac
    for library in $needed; do
        case $library in
            libc.so.7 | libthr.so.3 | libm.so.5 | librt.so.1) ;;
            *) complain "needs $library" ;;
        esac
    done
    [ -n "$versions" ] || complain "has no symbol versions of FreeBSD's"
    for version in $versions; do
        case $version in
            FBSD_1.[0-7]) ;;
            *) complain "needs symbol version $version, which FreeBSD 14.0 has not" ;;
        esac
    done
    # shellcheck disable=SC2086 # lists of words
    echo "$program: needs" $needed, $versions
done
exit $outcome
