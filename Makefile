# The commands of a person. Everything else is `cargo xtask --help`.
# Cargo comes from PATH, else from the home of whoever called sudo; the target folder lies outside the clone.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: up test down tools vm help prepare-build prepare-test prepare-go

USER_HOME := $(shell getent passwd "$${SUDO_USER:-$$(id -un)}" | cut -d: -f6)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kedge
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/tools/go/bin:$(PATH):$(HOME)/.cargo/bin:$(USER_HOME)/.cargo/bin:/usr/local/go/bin
# A person's own rustup serves root too.
export RUSTUP_HOME ?= $(if $(wildcard $(HOME)/.rustup),$(HOME)/.rustup,$(USER_HOME)/.rustup)

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
MUSL := $(shell uname -m)-unknown-linux-musl
KEDGE := $(CARGO_TARGET_DIR)/$(MUSL)/dist/kedge
# Installs only what is missing: $(call install,commands that tell,packages)
install = for pair in $(1); do command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair\#\#*:}"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; $(SUDO) apt-get update -q && \
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; fi

help: ## Print this
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

up: prepare-build ## Build kedge, start a node and wait until it is ready
	cargo xtask dist
	@# 4: it runs already, a part of it is not ready yet.
	$(SUDO) $(KEDGE) status >/dev/null 2>&1 || [ $$? -eq 4 ] || $(SUDO) $(KEDGE) start
	@echo
	@echo "The node is ready. Next:"
	@echo "  kubectl get nodes                              (or: $(strip $(SUDO) $(KEDGE)) kubectl get nodes)"
	@echo "  kubectl apply -f examples/hello.yaml"
	@echo "  kubectl rollout status deployment/hello && curl http://NODE-ADDRESS:30080/"
	@echo "  make down"

down: ## Delete the node; nothing of it is left
	$(SUDO) $(KEDGE) delete

test: tools ## Run every suite; the last line counts passed, failed, skipped
	cargo xtask test

tools: prepare-test ## Build the Go programs and images that the tests use (kubectl, upstream's conformance suite)
	cargo xtask tools --conformance

vm: prepare-build prepare-test tools ## Run the privileged suite and the spine on Debian's kernels 6.1 and 6.12 under qemu
	@missing=""; $(call install,qemu-system-x86_64:qemu-system-x86 cpio:cpio depmod:kmod xz:xz-utils mke2fs:e2fsprogs)
	cargo xtask dist
	cargo xtask round vm-6.1
	cargo xtask round vm-6.12

prepare-build:
	@missing=""; $(call install,musl-gcc:musl-tools gcc:gcc git:git)
	@command -v cargo >/dev/null || { echo "cargo is missing: install rustup (https://rustup.rs), then run this again"; exit 1; }
	@rustc --version >/dev/null 2>&1 || rustup toolchain install
	@test -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)" || rustup target add $(MUSL)

# Daemons that only tests use are unpacked, not installed: on a real system apt would start them.
DAEMONS := docker-registry nginx

prepare-test: prepare-build prepare-go
	@missing=""; $(call install,python3:python3 openssl:openssl curl:curl iptables:iptables nft:nftables \
	ip:iproute2 busybox:busybox-static skopeo:skopeo nsenter:util-linux make:make bzip2:bzip2)
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@for package in $(DAEMONS); do test -d $(CACHE)/tools/$$package || $(MAKE) --no-print-directory $(CACHE)/tools/$$package || exit 1; done

# Go from 1.21 on fetches by itself the one that the modules ask for.
prepare-go:
	@minor() { sed -nE 's/.*[ :]1\.([0-9]+).*/\1/p; s/.* go1\.([0-9]+).*/\1/p' | head -n 1; }; \
	have=$$(go version 2>/dev/null | minor); [ "$${have:-0}" -ge 21 ] && exit 0; \
	apt-cache show golang-go >/dev/null 2>&1 || $(SUDO) apt-get update -q; \
	offered=$$(apt-cache policy golang-go | grep Candidate: | minor); \
	if [ "$${offered:-0}" -ge 21 ]; then missing=""; $(call install,no-go-yet:golang-go); \
	else $(MAKE) --no-print-directory $(CACHE)/tools/go; fi

# Debian 12 has such a Go in its backports only. It is unpacked, so that the machine's package sources stay as they are.
$(CACHE)/tools/go:
	@. /etc/os-release; folder=$$(mktemp -d) && cd $$folder && chmod 755 . && mkdir -p lists/partial cache/archives/partial go && \
	key=/usr/share/keyrings/debian-archive-keyring.gpg && \
	echo "deb [signed-by=$$key] http://deb.debian.org/debian $$VERSION_CODENAME-backports main" >list && \
	apt="-q -o Dir::Etc::sourcelist=$$folder/list -o Dir::Etc::sourceparts=- -o Dir::State::lists=$$folder/lists -o Dir::Cache=$$folder/cache" && \
	apt-get $$apt update && \
	version=$$(apt-cache $$apt search --names-only '^golang-1\.[0-9]+-go$$' | sed -E 's/-go .*//' | sort -V | tail -n 1) && \
	echo "unpacking $$version" && apt-get $$apt download $$version-go $$version-src && \
	for package in *.deb; do dpkg -x $$package go || exit 1; done && \
	ln -s usr/lib/go-$${version#golang-}/bin go/bin && mkdir -p $(@D) && mv go $@; code=$$?; rm -rf $$folder; exit $$code

$(CACHE)/tools/%:
	@echo "unpacking $* for the tests"; folder=$$(mktemp -d) && cd $$folder && \
	{ apt-get download -q $* 2>/dev/null || { $(SUDO) apt-get update -q && apt-get download -q $*; }; } && \
	mkdir -p $(@D) && dpkg -x $*_*.deb $$folder/$* && mv $$folder/$* $@; code=$$?; rm -rf $$folder; exit $$code
