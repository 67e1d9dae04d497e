# Two commands do everything on a fresh Debian machine, as root: `make demo` and `make test`.

VENV   := .venv
PYTHON := $(VENV)/bin/python
BPF    := src/dsmip/dataplane/dsmip.bpf.o

APT_RUN   := iproute2 nftables radvd dnsmasq-base iputils-ping procps libbpf1 libelf1
APT_BUILD := python3-venv clang llvm libbpf-dev linux-libc-dev make
APT_TEST  := tshark tcpdump iperf3 ethtool chromium zsh fish groff-base redis-server wireguard-go wireguard-tools systemd dbus \
             linux-perf
# For a kernel that has what the machine's own may lack: tests/guest boots the distribution's.
APT_GUEST := qemu-system-x86 busybox-static kmod openssl charon-systemd strongswan-swanctl libstrongswan-standard-plugins
APT_DEB   := mmdebstrap

# The tests start the program hundreds of times: what is compiled is kept.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo demo-protected test test-fast soak conformance lint bench bench-kernel docs lock install deb \
        deb-check clean

setup: $(VENV)/.done $(BPF)

demo: setup
	$(VENV)/bin/dsmip demo --out demo-out

# The same under IPsec, on the distribution's kernel in an emulator, which is slow. `make demo-protected PROTECT=signalling`
# leaves the payload in clear.
demo-protected: PROTECT ?= all
demo-protected: setup
	$(PYTHON) -m tests.guest $(VENV)/bin/dsmip demo --protect $(PROTECT) --pace 20 --patience 60

# The guest beside everything else (tests/conftest.py). Without workers pytest runs all in turn.
test: setup
	$(PYTHON) -m pytest --numprocesses 2 --dist loadscope

test-fast: setup
	$(PYTHON) -m pytest -m "not root and not simulation and not guest and not programs"

# `make soak SECONDS=3600` searches longer.
soak: SECONDS ?= 600
soak: setup
	-$(VENV)/bin/pip install --quiet --require-hashes -r fuzz/requirements.lock
	PYTHON=$(PYTHON) tools/soak $(SECONDS)

lint: setup
	$(VENV)/bin/ruff check src tests fuzz
	$(VENV)/bin/ruff format --check src tests fuzz
	$(VENV)/bin/mypy

# Runs the conformance suite and writes docs/conformance.md.
conformance: setup
	$(PYTHON) -m tests.conformance.table

# The configuration reference, from the schema.
docs: setup
	$(VENV)/bin/dsmip man --markdown > docs/configuration.md

bench: setup
	$(VENV)/bin/dsmip bench all --out docs

# Beside the kernel's own tunnels, on a kernel that has them, under emulation: only the ratios say something.
bench-kernel: setup
	$(PYTHON) -m tests.guest $(VENV)/bin/dsmip bench throughput --baseline kernel --repeat 3

$(BPF): $(VENV)/.apt $(wildcard src/dsmip/dataplane/*.c src/dsmip/dataplane/*.h)
	$(MAKE) -C src/dsmip/dataplane

# What Debian has is taken from Debian; nothing is installed that is there already.
$(VENV)/.apt: Makefile
	@./tools/install-packages $(APT_RUN) $(APT_BUILD) $(APT_TEST) $(APT_GUEST)
	@mkdir -p $(VENV) && touch $@

$(VENV)/.done: $(VENV)/.apt requirements.lock pyproject.toml
	test -x $(PYTHON) || /usr/bin/python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --require-hashes -r requirements.lock
	$(VENV)/bin/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Pins every package, with hashes, for the Python of the machine it runs on.
lock:
	$(VENV)/bin/pip install --quiet pip-tools
	$(VENV)/bin/pip-compile --quiet --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-find-links \
	    --no-emit-trusted-host --extra dev --strip-extras -o requirements.lock pyproject.toml
	$(VENV)/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --no-emit-trusted-host --extra metrics --extra watch --strip-extras -c requirements.lock \
	    -o packaging/requirements.lock pyproject.toml

# Into $(PREFIX), with a service that runs as a user of its own: see packaging/systemd/dsmip@.service.
PREFIX  ?= /opt/dsmip
DESTDIR ?=
install: setup
	rm -rf build
	$(VENV)/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	test -x $(DESTDIR)$(PREFIX)/bin/python || /usr/bin/python3 -m venv $(DESTDIR)$(PREFIX)
	$(DESTDIR)$(PREFIX)/bin/pip install --quiet --require-hashes -r packaging/requirements.lock
	$(DESTDIR)$(PREFIX)/bin/pip install --quiet --no-deps --force-reinstall build/wheel/dsmip-*.whl
	install -d $(DESTDIR)/usr/local/bin $(DESTDIR)/etc/dsmip
	ln -sf $(PREFIX)/bin/dsmip $(DESTDIR)/usr/local/bin/dsmip
	packaging/install-data --root "$(DESTDIR)" /usr/local/share /etc site-functions /usr/local/bin/dsmip \
	    $(VENV)/bin/dsmip
	test -n "$(DESTDIR)" || { systemd-sysusers dsmip.conf; chgrp dsmip /etc/dsmip; chmod 750 /etc/dsmip; \
	    systemctl daemon-reload; }

# A package for Debian 12 and 13, and a wheel, into dist/.
deb: setup
	packaging/debian/build $(PYTHON) dist

# Installs it in a bare Debian of each release, and runs a home agent there. Takes a minute, as root.
deb-check: RELEASES ?= bookworm trixie
deb-check: deb
	@./tools/install-packages $(APT_DEB)
	packaging/debian/check dist/dsmip_*.deb $(RELEASES)

clean:
	rm -rf $(VENV) build dist demo-out $(BPF)
