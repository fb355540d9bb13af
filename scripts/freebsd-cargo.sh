#!/bin/sh
# cargo for FreeBSD, on Debian: freebsd-cargo.sh SUBCOMMAND [ARGUMENTS...]
#
# Runs `cargo SUBCOMMAND --target x86_64-unknown-freebsd ARGUMENTS...`. What that takes comes from
# Debian (a compiler with the sources of std), PyPI (zig: a linker that knows FreeBSD's libraries)
# and crates.io, and needs neither a rustup target nor a FreeBSD system:
#
#   1. Debian's rustc-web, cargo-web and clippy, unpacked and not installed
#   2. zig, and empty stubs of the base libraries that it lacks
#   3. std for the target, built once from rust-web-src
#
# All of it is kept in $FREEBSD_TOOLCHAIN (~/.cache/bdaemon-freebsd), in a directory named after the
# versions, so that it is made anew when Debian's compiler moves on.
set -eu

target=x86_64-unknown-freebsd
oldest_release=14.0
zig_version=0.17.1
kept=${FREEBSD_TOOLCHAIN:-${XDG_CACHE_HOME:-$HOME/.cache}/bdaemon-freebsd}

usage() {
    echo "usage: freebsd-cargo.sh SUBCOMMAND [ARGUMENTS...]" >&2
    exit 64
}

say() {
    echo "freebsd-cargo: $*" >&2
}

[ $# -gt 0 ] || usage
subcommand=$1
shift

for tool in apt-get dpkg-deb cc flock python3; do
    if ! command -v "$tool" >/dev/null; then
        say "$tool is missing; this builds on Debian, with gcc, python3-pip and util-linux"
        exit 69
    fi
done

# A package's newest version, and its whole name where `rustc-web` is one in name only.
candidate() {
    apt-cache policy "$1" | sed -n 's/^ *Candidate: *//p'
}

compiler=$(candidate rustc-web)
if [ -z "$compiler" ] || [ "$compiler" = "(none)" ]; then
    say "apt has no rustc-web; is Debian's package list there (apt-get update)?"
    exit 69
fi
toolchain=$kept/$(echo "rustc-$compiler-zig-$zig_version-freebsd-$oldest_release" | tr ':+~' '___')
mkdir -p "$toolchain"

# Two runs on one machine: one sets up, the other waits.
exec 9>"$kept/lock"
flock 9

debian=$toolchain/debian
if [ ! -e "$debian/complete" ]; then
    say "Debian's compiler, $compiler"
    rm -rf "$debian" "$toolchain/archives"
    mkdir -p "$debian" "$toolchain/archives/partial"
    # Without installing: these would stand in the way of another Rust on the machine.
    apt-get install -qqy --no-install-recommends --reinstall --download-only \
        -o Dir::Cache::archives="$toolchain/archives" -o APT::Sandbox::User=root \
        -o Debug::NoLocking=true rustc-web cargo-web rust-web-clippy rust-web-src >/dev/null
    for archive in "$toolchain"/archives/*.deb; do
        dpkg-deb -x "$archive" "$debian"
    done
    rm -rf "$toolchain/archives"
    touch "$debian/complete"
fi

zig=$toolchain/zig/ziglang/zig
if [ ! -x "$zig" ]; then
    say "zig $zig_version"
    rm -rf "$toolchain/zig"
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
        --no-deps --only-binary :all: --target "$toolchain/zig" "ziglang==$zig_version"
fi
zig_target=x86_64-freebsd.$oldest_release-none
ZIG_GLOBAL_CACHE_DIR=$toolchain/zig-cache
ZIG_LOCAL_CACHE_DIR=$ZIG_GLOBAL_CACHE_DIR
export ZIG_GLOBAL_CACHE_DIR ZIG_LOCAL_CACHE_DIR

# The libc crate names these libraries of the base system. A stub exports nothing: nobody comes to
# need it, and a program that calls into one does not link, instead of failing on FreeBSD.
stubs=$toolchain/stubs
if [ ! -e "$stubs/complete" ]; then
    mkdir -p "$stubs"
    : >"$stubs/empty.c"
    for library in kvm.so.7 memstat.so.3 procstat.so.1 devstat.so.7; do
        "$zig" cc -target "$zig_target" -shared -nostdlib "-Wl,-soname,lib$library" \
            -o "$stubs/lib${library%.*}" "$stubs/empty.c"
    done
    touch "$stubs/complete"
fi

# What rustc calls as its linker. zig does not read Rust's name of the target, asks for a main stack
# of 16 MiB where FreeBSD's own linker asks for none, and leaves the mark of FreeBSD (9, at the
# eighth byte of an ELF file) out.
linker=$toolchain/freebsd-cc
cat >"$linker.new" <<END
#!/bin/sh
output=a.out previous= count=\$#
while [ "\$count" -gt 0 ]; do
    argument=\$1
    shift
    count=\$((count - 1))
    [ "\$previous" != -o ] || output=\$argument
    previous=\$argument
    case \$argument in
        --target=* | -m64 | -Wl,-O[0-9]) ;;
        *) set -- "\$@" "\$argument" ;;
    esac
done
"$zig" cc -target $zig_target "\$@" "-L$stubs" -Wl,-z,stack-size=0 || exit
printf '\\011' | dd of="\$output" bs=1 seek=7 conv=notrunc 2>/dev/null
END
chmod +x "$linker.new"
mv "$linker.new" "$linker"

# Only what is set here decides which compiler runs.
unset RUSTC RUSTDOC CARGO RUSTUP_TOOLCHAIN RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTC_BOOTSTRAP
PATH=$debian/usr/bin:$PATH
LD_LIBRARY_PATH=$debian/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER=$linker
export PATH LD_LIBRARY_PATH CARGO_TARGET_X86_64_UNKNOWN_FREEBSD_LINKER

# Where rustc looks for a target's std: with it there, the target is one like any other.
std=$debian/usr/lib/rustlib/$target/lib
if [ ! -e "$std/complete" ]; then
    say "std for $target, with $(rustc --version)"
    rm -rf "$std" "$toolchain/std"
    mkdir -p "$std"
    (
        cd "$debian/usr/lib/rustlib/src/rust/library"
        unset CARGO_TARGET_DIR CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS
        RUSTC_BOOTSTRAP=1 __CARGO_DEFAULT_LIB_METADATA=stablestd \
            RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes" \
            cargo build --quiet --release --locked --manifest-path sysroot/Cargo.toml \
            --features "panic-unwind backtrace" --target "$target" --target-dir "$toolchain/std"
    )
    for library in "$toolchain/std/$target/release/deps"/*.rlib; do
        case $library in
            */libsysroot-*) ;;
            *) cp "$library" "$std/" ;;
        esac
    done
    rm -rf "$toolchain/std"
    touch "$std/complete"
fi
exec 9>&-

exec cargo "$subcommand" --target "$target" "$@"
