#!/bin/sh
# What the port in port/ has from the project, made and checked: port.sh COMMAND
#
#   update              Makefile.crates, distinfo's entries of crates, and the version, from Cargo.lock
#   check               fails where `update` would change anything
#   dist DISTDIR        the archive of the sources, with its entry in distinfo
#   distfiles DISTDIR   all of these, and the crates: what building the port takes without a network
set -eu

cd "$(dirname "$0")/.."

# Lists are sorted the same everywhere.
LC_ALL=C
export LC_ALL

usage() {
    echo "usage: port.sh update | check | dist DISTDIR | distfiles DISTDIR" >&2
    exit 64
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
archive=bdaemon-$version.tar.gz

sha256_of() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1" | cut -d ' ' -f 1
    else
        sha256 -q "$1"
    fi
}

size_of() {
    wc -c <"$1" | tr -d ' '
}

# The crates of Cargo.lock: name, version and checksum a line.
crates() {
    awk -F '"' '
        /^name = /     { name = $2 }
        /^version = /  { version = $2 }
        /^checksum = / { print name, version, $2 }
    ' Cargo.lock | sort
}

# Where cargo keeps the archive of a crate that it has fetched.
fetched() {
    for crate in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$1"; do
        if [ -f "$crate" ]; then
            echo "$crate"
            return
        fi
    done
    echo "port.sh: cargo has not fetched $1; run cargo fetch --locked" >&2
    return 1
}

# The files as `update` makes them, in the scratch directory. What distinfo says of the archive
# stays, and the time stamp stays where nothing else changed.
make_port_files() {
    ${CARGO:-cargo} fetch --locked --quiet

    crates | awk '
        { printf "%s%s-%s", NR == 1 ? "CARGO_CRATES=\t" : " \\\n\t\t", $1, $2 }
        END { print "" }
    ' >"$scratch/Makefile.crates"

    sed "s/^\\(DISTVERSION=[[:space:]]*\\).*/\\1$version/" port/Makefile >"$scratch/Makefile"

    {
        sed -n '/(bdaemon-/p' port/distinfo
        crates | while read -r name number checksum; do
            file=$name-$number.crate
            size=$(size_of "$(fetched "$file")") || exit 1
            echo "SHA256 (rust/crates/$file) = $checksum"
            echo "SIZE (rust/crates/$file) = $size"
        done
    } >"$scratch/entries"
    stamp_distinfo
}

# Puts the entries in the scratch directory under a time stamp.
stamp_distinfo() {
    if sed -n '2,$p' port/distinfo 2>/dev/null | cmp -s - "$scratch/entries"; then
        sed -n 1p port/distinfo
    else
        echo "TIMESTAMP = $(date +%s)"
    fi >"$scratch/distinfo"
    cat "$scratch/entries" >>"$scratch/distinfo"
}

update() {
    make_port_files
    for file in Makefile Makefile.crates distinfo; do
        cmp -s "$scratch/$file" "port/$file" || cp "$scratch/$file" "port/$file"
    done
}

check() {
    make_port_files
    for file in Makefile Makefile.crates distinfo; do
        if ! diff "port/$file" "$scratch/$file"; then
            echo "port.sh: port/$file is stale; run make port-update" >&2
            exit 1
        fi
    done
}

# Lists the files of the project, but for the one with the archive's checksum, in the scratch
# directory. A tree without a repository of its own may lie in somebody else's.
list_sources() {
    if [ -e .git ] && command -v git >/dev/null; then
        git ls-files >"$scratch/files"
    else
        find . -type f ! -path './target/*' ! -path './.git/*' | sed 's|^\./||' >"$scratch/files"
    fi
    grep -v '^port/distinfo$' "$scratch/files" | sort >"$scratch/sources"
}

dist() {
    mkdir -p "$1" "$scratch/bdaemon-$version"
    list_sources
    tar -cf - -T "$scratch/sources" | tar -xf - -C "$scratch/bdaemon-$version"
    tar -cf - -C "$scratch" "bdaemon-$version" | gzip -9n >"$scratch/$archive"
    mv "$scratch/$archive" "$1/$archive"
    {
        echo "SHA256 ($archive) = $(sha256_of "$1/$archive")"
        echo "SIZE ($archive) = $(size_of "$1/$archive")"
        sed -n '/(rust\//p' port/distinfo
    } >"$scratch/entries"
    stamp_distinfo
    cp "$scratch/distinfo" port/distinfo
    echo "$1/$archive"
}

distfiles() {
    update
    dist "$1"
    mkdir -p "$1/rust/crates"
    crates | while read -r name number _; do
        crate=$(fetched "$name-$number.crate") || exit 1
        cp "$crate" "$1/rust/crates/"
    done
    echo "$1/rust/crates: $(crates | wc -l | tr -d ' ') crates"
}

case ${1:-}-$# in
    update-1 | check-1) "$1" ;;
    dist-2 | distfiles-2) "$1" "$2" ;;
    *) usage ;;
esac
