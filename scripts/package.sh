#!/bin/sh
# A package for pkg(8), out of the files that `make install-files` has staged: package.sh COMMAND
#
#   probe                                 fails where there is no pkg(8)
#   describe STAGE PREFIX DIRECTORY       writes manifest, list of files and scripts; needs no pkg(8)
#   create STAGE PREFIX DIRECTORY REPO    describes, and makes the package in REPO
#   repo REPO                             makes REPO a repository, and prints how to install from it
#
# $PKG is what pkg(8) is called. With $ABI, such as FreeBSD:14:amd64, the package is for that
# system, whatever this one is.
set -eu

cd "$(dirname "$0")/.."
: "${PKG:=pkg}"

usage() {
    echo "usage: package.sh probe | describe STAGE PREFIX DIRECTORY |" \
        "create STAGE PREFIX DIRECTORY REPO | repo REPO" >&2
    exit 64
}

# pkg(8) with the system that the package is for, which it takes from the environment as well.
run_pkg() {
    if [ -n "${ABI:-}" ]; then
        release=${ABI#*:}
        ABI=$ABI OSVERSION=${release%%:*}00000 "$PKG" "$@"
    else
        (unset ABI && "$PKG" "$@")
    fi
}

# Without an answer to its question, FreeBSD's /usr/sbin/pkg does not fetch the real one.
probe() {
    if ! "$PKG" -v </dev/null >/dev/null 2>&1; then
        echo "package.sh: no pkg(8) as $PKG: on FreeBSD run pkg bootstrap;" \
            "elsewhere build it from github.com/freebsd/pkg, and set PKG" >&2
        exit 69
    fi
}

# A field of a line of passwd(5), as the port has it.
user_field() {
    cut -d : -f "$1" port/UIDs
}

describe() {
    stage=$1 prefix=$2 directory=$3
    version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    port_value() {
        sed -n "s/^$1=[[:space:]]*//p" port/Makefile
    }

    mkdir -p "$directory"
    # As the ports framework leaves them.
    find "$stage$prefix/share/man" -type f ! -name '*.gz' -exec gzip -9nf {} +

    # The port's list, but for @sample, which is one of the ports' own keywords.
    sed 's/^@sample //' port/pkg-plist >"$directory/plist"
    samples=$(sed -n 's/^@sample //p' port/pkg-plist | tr '\n' ' ')
    for script in pkg/*.in; do
        sed -e "s|%%PREFIX%%|$prefix|g" -e "s|%%SAMPLES%%|${samples% }|" \
            -e "s|%%USER%%|$(user_field 1)|g" -e "s|%%UID%%|$(user_field 3)|g" \
            -e "s|%%GECOS%%|$(user_field 8)|g" -e "s|%%HOME%%|$(user_field 9)|g" \
            -e "s|%%SHELL%%|$(user_field 10)|g" -e "s|%%GROUP%%|$(cut -d : -f 1 port/GIDs)|g" \
            -e "s|%%GID%%|$(cut -d : -f 3 port/GIDs)|g" "$script" |
            cat >"$directory/+$(basename "$script" .in | tr 'a-z-' 'A-Z_')"
    done
    cp port/pkg-message "$directory/+DISPLAY"
    cat >"$directory/+MANIFEST" <<END
name: $(port_value PORTNAME)
version: "$version"
origin: $(port_value CATEGORIES)/$(port_value PORTNAME)
comment: "$(port_value COMMENT)"
maintainer: $(port_value MAINTAINER)
www: UNKNOWN
prefix: $prefix
categories: [$(port_value CATEGORIES)]
licenselogic: single
licenses: [$(port_value LICENSE)]
users: [$(port_value USERS)]
groups: [$(port_value GROUPS)]
desc: <<EOD
$(cat port/pkg-descr)
EOD
END
    # What is built for one release runs on those after it; pkg(8) keeps it from those before.
    if [ -n "${ABI:-}" ]; then
        echo "abi: \"${ABI%%:*}:*:${ABI##*:}\"" >>"$directory/+MANIFEST"
    fi
}

create() {
    probe
    describe "$1" "$2" "$3"
    mkdir -p "$4"
    # The same sources make the same package.
    : "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || date +%s)}"
    run_pkg create -t "$SOURCE_DATE_EPOCH" -m "$3" -p "$3/plist" -r "$1" -o "$4"
    echo "$4/bdaemon-$version.pkg"
}

repo() {
    probe
    run_pkg repo "$1"
    url=file://$(cd "$1" && pwd)
    cat <<END

To install from it, as root: put this into /usr/local/etc/pkg/repos/bdaemon.conf,
in a directory that has to be made first on a new system,

    bdaemon: {
        url: "$url",
        enabled: yes
    }

and run

    pkg update -r bdaemon
    pkg install -r bdaemon bdaemon
END
}

case ${1:-}-$# in
    probe-1 | describe-4 | create-5 | repo-2) "$@" ;;
    *) usage ;;
esac
