# bdaemon: build, try, check and install. For make(1) of the BSDs and for GNU make alike: nothing
# here is particular to either.
#
#   make demo                     see records travel from a pipe into a log
#   make check                    formatting, lints, documentation, tests
#   make fuzz FUZZ_SECONDS=20     the fuzz targets, so long each; needs cargo-fuzz
#   make check-faults             every fault, the whole way; writes the table of docs/reliability.md
#   make bench                    against others, which scripts/bench-peers.sh installs; takes long
#   make bench-scaling            the set-ups of docs/scaling.md, and many pipes
#   make bench-instructions       whether records have become dearer; needs valgrind
#   make                          the programs as they are installed
#   make install PREFIX=/usr/local DESTDIR=
#   make package, make repo       a package for pkg(8), a repository that holds it
#   make dist, port-distfiles     what the port in port/ is built from
#   make freebsd                  on Debian: the programs for FreeBSD; FREEBSD=1 installs and
#                                 packages these

CARGO ?= cargo
INSTALL ?= install
PREFIX ?= /usr/local
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

# Where cargo builds; a target directory of your own goes here as well.
TARGET ?= target

# With FREEBSD=1, the programs that `make freebsd` built are meant, instead of this system's.
FREEBSD ?=
FREEBSD_TARGET = $(TARGET)/freebsd
BUILD = build$(FREEBSD:1=-freebsd)
BUILT ?= $(TARGET)$(FREEBSD:1=/freebsd/x86_64-unknown-freebsd)/release

# What pkg(8) is called, the system that packages are for (by default this one), and where packages
# and the port's distfiles go.
PKG ?= pkg
ABI ?= $(FREEBSD:1=FreeBSD:14:amd64)
PACKAGE = $(TARGET)/package
REPO ?= $(TARGET)/repo
DISTDIR ?= $(TARGET)/distfiles

SBINDIR = $(PREFIX)/sbin
ETCDIR = $(PREFIX)/etc
SHAREDIR = $(PREFIX)/share
RUNDIR = /var/run/bdaemon
MANUALS = bdaemon.8 bdaemonctl.8 bdaemon.toml.5

# How long each fuzz target runs. The sanitizer's flags are not for a stable compiler, unless it is
# told so.
FUZZ_SECONDS ?= 20
FUZZ_TARGETS = framer config control format
CARGO_FUZZ = RUSTC_BOOTSTRAP=1 $(CARGO) fuzz

all: build

# The path of the configuration is compiled in.
build:
	BDAEMON_CONFIG="$(ETCDIR)/bdaemon.toml" CARGO_TARGET_DIR="$(TARGET)" \
	    $(CARGO) build --release --locked

demo:
	CARGO_TARGET_DIR="$(TARGET)" $(CARGO) build --locked
	sh scripts/demo.sh "$(TARGET)/debug"

check: check-format check-lints check-docs check-tests

check-format:
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check

check-lints:
	CARGO_TARGET_DIR="$(TARGET)" $(CARGO) clippy --locked --all-targets -- -D warnings

check-docs:
	CARGO_TARGET_DIR="$(TARGET)" RUSTDOCFLAGS="-D warnings" \
	    $(CARGO) doc --locked --no-deps --document-private-items

# Tests wait more than they compute: two processors carry four at once.
TEST_THREADS ?= 4
check-tests:
	CARGO_TARGET_DIR="$(TARGET)" RUST_TEST_THREADS="$(TEST_THREADS)" $(CARGO) test --locked

# Begins with the kept corpus and adds nothing to it. What breaks a promise is left in
# fuzz/artifacts.
fuzz:
	for target in $(FUZZ_TARGETS); do \
	    mkdir -p "$(TARGET)/fuzz/corpus/$$target" || exit 1; \
	    $(CARGO_FUZZ) run --target-dir "$(TARGET)/fuzz" "$$target" \
	        "$(TARGET)/fuzz/corpus/$$target" "fuzz/corpus/$$target" -- \
	        -max_total_time="$(FUZZ_SECONDS)" -max_len=4096 -timeout=60 -print_final_stats=1 \
	        || exit 1; \
	done

# Takes what `make fuzz` has found into the kept corpus: the fewest files that reach the same code.
fuzz-corpus:
	for target in $(FUZZ_TARGETS); do \
	    mkdir -p "$(TARGET)/fuzz/corpus/$$target" || exit 1; \
	    cp "$(TARGET)/fuzz/corpus/$$target"/* "fuzz/corpus/$$target" 2>/dev/null || :; \
	    $(CARGO_FUZZ) cmin --target-dir "$(TARGET)/fuzz" "$$target" -- \
	        -use_counters=0 -max_len=2048 || exit 1; \
	done

# For FreeBSD, on Debian; scripts/freebsd-cargo.sh says how.
build-freebsd:
	BDAEMON_CONFIG="$(ETCDIR)/bdaemon.toml" CARGO_TARGET_DIR="$(FREEBSD_TARGET)" \
	    sh scripts/freebsd-cargo.sh build --release --locked

freebsd: build-freebsd
	sh scripts/freebsd-check.sh "$(FREEBSD_TARGET)/x86_64-unknown-freebsd/release/bdaemon" \
	    "$(FREEBSD_TARGET)/x86_64-unknown-freebsd/release/bdaemonctl"

# What only FreeBSD's compiler sees: lints, and whether the tests build.
check-freebsd:
	CARGO_TARGET_DIR="$(FREEBSD_TARGET)" sh scripts/freebsd-cargo.sh clippy --locked \
	    --all-targets -- -D warnings
	CARGO_TARGET_DIR="$(FREEBSD_TARGET)" sh scripts/freebsd-cargo.sh test --locked --no-run

# As root, on Debian with the packages that .ci/run names. What is left out fails.
SYSLOG_DAEMONS ?= $(TARGET)/syslog-daemons
check-faults:
	test -d "$(SYSLOG_DAEMONS)" || sh scripts/syslog-daemons.sh "$(SYSLOG_DAEMONS)"
	rm -rf "$(TARGET)/faults"
	BDAEMON_TEST_ROOT=required BDAEMON_TEST_TOOLS=required \
	BDAEMON_SYSLOG_DAEMONS="$(SYSLOG_DAEMONS)" CARGO_TARGET_DIR="$(TARGET)" \
	BDAEMON_FAULTS=whole BDAEMON_FAULTS_ROWS="$(TARGET)/faults" \
	    $(CARGO) test --locked --release --test faults
	BDAEMON_SYSLOG_DAEMONS="$(SYSLOG_DAEMONS)" CARGO_TARGET_DIR="$(TARGET)" \
	BDAEMON_FAULTS_ROWS="$(TARGET)/faults" \
	    $(CARGO) test --locked --release --test faults -- --ignored the_table_is_written

# BENCH_LINES=200000 BENCH_RUNS=1 BENCH_OUTPUT=/tmp makes a short run that is not kept.
bench:
	BDAEMON_CONFIG="$(ETCDIR)/bdaemon.toml" CARGO_TARGET_DIR="$(TARGET)" \
	    $(CARGO) bench --locked --bench compare

# As bench; needs the syslog daemons of Debian, as check-faults does.
bench-scaling:
	test -d "$(SYSLOG_DAEMONS)" || sh scripts/syslog-daemons.sh "$(SYSLOG_DAEMONS)"
	BDAEMON_TEST_TOOLS=required BDAEMON_SYSLOG_DAEMONS="$(SYSLOG_DAEMONS)" \
	CARGO_TARGET_DIR="$(TARGET)" \
	    $(CARGO) test --locked --release --test scaling -- --ignored --nocapture \
	    the_figures_are_written

bench-instructions:
	BDAEMON_CONFIG="$(ETCDIR)/bdaemon.toml" CARGO_TARGET_DIR="$(TARGET)" \
	    $(CARGO) bench --locked --bench instructions

bench-instructions-update:
	BENCH_INSTRUCTIONS=update $(MAKE) bench-instructions

# A make of its own for the files: with -j, they would not wait for the programs.
install: $(BUILD)
	$(MAKE) install-files

# The one list of what is installed: the port and the package install through it, and so does a root
# without a compiler, when someone has run make.
install-files:
	$(INSTALL) -d "$(DESTDIR)$(SBINDIR)" "$(DESTDIR)$(ETCDIR)/rc.d" \
	    "$(DESTDIR)$(ETCDIR)/newsyslog.conf.d" "$(DESTDIR)$(ETCDIR)/syslog.d" \
	    "$(DESTDIR)$(MANDIR)/man5" "$(DESTDIR)$(MANDIR)/man8" \
	    "$(DESTDIR)$(SHAREDIR)/bash-completion/completions" \
	    "$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d" \
	    "$(DESTDIR)$(SHAREDIR)/zsh/site-functions" "$(DESTDIR)$(RUNDIR)"
	$(INSTALL) -m 555 "$(BUILT)/bdaemon" "$(BUILT)/bdaemonctl" "$(DESTDIR)$(SBINDIR)"
	rm -f "$(DESTDIR)$(ETCDIR)/rc.d/bdaemon"
	sed "s|%%PREFIX%%|$(PREFIX)|g" rc.d/bdaemon.in >"$(DESTDIR)$(ETCDIR)/rc.d/bdaemon"
	chmod 555 "$(DESTDIR)$(ETCDIR)/rc.d/bdaemon"
	$(INSTALL) -m 644 conf/bdaemon.toml.sample "$(DESTDIR)$(ETCDIR)"
	$(INSTALL) -m 644 conf/newsyslog.conf.sample \
	    "$(DESTDIR)$(ETCDIR)/newsyslog.conf.d/bdaemon.conf.sample"
	$(INSTALL) -m 644 conf/syslog.conf.sample \
	    "$(DESTDIR)$(ETCDIR)/syslog.d/bdaemon.conf.sample"
	for page in $(MANUALS); do \
	    $(INSTALL) -m 444 "man/$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}" || exit 1; \
	done
	$(INSTALL) -m 444 completions/bdaemonctl.bash \
	    "$(DESTDIR)$(SHAREDIR)/bash-completion/completions/bdaemonctl"
	$(INSTALL) -m 444 completions/bdaemonctl.fish \
	    "$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d"
	$(INSTALL) -m 444 completions/_bdaemonctl "$(DESTDIR)$(SHAREDIR)/zsh/site-functions"

# What an administrator has made of the samples stays.
uninstall:
	rm -f "$(DESTDIR)$(SBINDIR)/bdaemon" "$(DESTDIR)$(SBINDIR)/bdaemonctl" \
	    "$(DESTDIR)$(ETCDIR)/rc.d/bdaemon" "$(DESTDIR)$(ETCDIR)/bdaemon.toml.sample" \
	    "$(DESTDIR)$(ETCDIR)/newsyslog.conf.d/bdaemon.conf.sample" \
	    "$(DESTDIR)$(ETCDIR)/syslog.d/bdaemon.conf.sample" \
	    "$(DESTDIR)$(SHAREDIR)/bash-completion/completions/bdaemonctl" \
	    "$(DESTDIR)$(SHAREDIR)/fish/vendor_completions.d/bdaemonctl.fish" \
	    "$(DESTDIR)$(SHAREDIR)/zsh/site-functions/_bdaemonctl"
	for page in $(MANUALS); do \
	    rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$page"; \
	done

# The completions are kept, since a program for another system cannot be asked for them here.
completions: build
	"$(BUILT)/bdaemonctl" completions bash >completions/bdaemonctl.bash
	"$(BUILT)/bdaemonctl" completions fish >completions/bdaemonctl.fish
	"$(BUILT)/bdaemonctl" completions zsh >completions/_bdaemonctl

# A package, and a repository that holds it; both need pkg(8).
package: have-pkg $(BUILD)
	rm -rf "$(PACKAGE)"
	$(MAKE) install-files "DESTDIR=$(PACKAGE)/stage" "BUILT=$(BUILT)" "PREFIX=$(PREFIX)"
	PKG="$(PKG)" ABI="$(ABI)" sh scripts/package.sh create "$(PACKAGE)/stage" "$(PREFIX)" \
	    "$(PACKAGE)" "$(REPO)"

repo: package
	PKG="$(PKG)" ABI="$(ABI)" sh scripts/package.sh repo "$(REPO)"

have-pkg:
	@PKG="$(PKG)" sh scripts/package.sh probe

# The archive of the sources that the port is built from, with its checksum in port/distinfo.
dist:
	sh scripts/port.sh dist "$(DISTDIR)"

# The archive and the crates, laid where the port looks for them: it builds without a network then.
port-distfiles:
	CARGO="$(CARGO)" sh scripts/port.sh distfiles "$(DISTDIR)"

# The port's list of crates, from Cargo.lock.
port-update:
	CARGO="$(CARGO)" sh scripts/port.sh update

check-port:
	CARGO="$(CARGO)" sh scripts/port.sh check

clean:
	CARGO_TARGET_DIR="$(TARGET)" $(CARGO) clean

.PHONY: all build demo check check-format check-lints check-docs check-tests fuzz fuzz-corpus \
    build-freebsd freebsd check-freebsd check-faults bench bench-scaling bench-instructions \
    bench-instructions-update install install-files uninstall completions package repo have-pkg \
    dist port-distfiles port-update check-port clean
