# bdaemon: build, try, check and install. For make(1) of the BSDs and for GNU make alike: nothing
# here is particular to either.
#
#   make demo                     see records travel from a pipe into a log
#   make check                    formatting, lints, documentation, tests
#   make                          the programs as they are installed
#   make install PREFIX=/usr/local DESTDIR=

CARGO ?= cargo
INSTALL ?= install
PREFIX ?= /usr/local
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=

# Where cargo builds; a target directory of your own goes here as well.
TARGET ?= target

SBINDIR = $(PREFIX)/sbin
ETCDIR = $(PREFIX)/etc
MANUALS = bdaemon.8 bdaemonctl.8 bdaemon.toml.5

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

check-lints:
	CARGO_TARGET_DIR="$(TARGET)" $(CARGO) clippy --locked --all-targets -- -D warnings

check-docs:
	CARGO_TARGET_DIR="$(TARGET)" RUSTDOCFLAGS="-D warnings" \
	    $(CARGO) doc --locked --no-deps --document-private-items

check-tests:
	CARGO_TARGET_DIR="$(TARGET)" $(CARGO) test --locked

# Builds nothing that `make build` has built, so that root need not have a compiler.
install: build
	$(INSTALL) -d "$(DESTDIR)$(SBINDIR)" "$(DESTDIR)$(ETCDIR)" \
	    "$(DESTDIR)$(MANDIR)/man5" "$(DESTDIR)$(MANDIR)/man8"
	$(INSTALL) -m 555 "$(TARGET)/release/bdaemon" "$(TARGET)/release/bdaemonctl" \
	    "$(DESTDIR)$(SBINDIR)"
	$(INSTALL) -m 644 conf/bdaemon.toml.sample "$(DESTDIR)$(ETCDIR)"
	for page in $(MANUALS); do \
	    $(INSTALL) -m 444 "man/$$page" "$(DESTDIR)$(MANDIR)/man$${page##*.}" || exit 1; \
	done

# What an administrator has made of the sample stays.
uninstall:
	rm -f "$(DESTDIR)$(SBINDIR)/bdaemon" "$(DESTDIR)$(SBINDIR)/bdaemonctl" \
	    "$(DESTDIR)$(ETCDIR)/bdaemon.toml.sample"
	for page in $(MANUALS); do \
	    rm -f "$(DESTDIR)$(MANDIR)/man$${page##*.}/$$page"; \
	done

clean:
	CARGO_TARGET_DIR="$(TARGET)" $(CARGO) clean

.PHONY: all build demo check check-format check-lints check-docs check-tests install uninstall clean
