# The commands of a person. Everything else is `cargo xtask --help`.
# Cargo comes from PATH, else from the home of whoever called sudo; the target folder lies outside the clone.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: up test down tools help prepare-build prepare-test

USER_HOME := $(shell getent passwd "$${SUDO_USER:-$$(id -un)}" | cut -d: -f6)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kedge
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(PATH):$(HOME)/.cargo/bin:$(USER_HOME)/.cargo/bin:/usr/local/go/bin
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
	$(SUDO) $(KEDGE) start
	@echo
	@echo "The node is ready. Next:"
	@echo "  kubectl get nodes                              (or: $(strip $(SUDO) $(KEDGE)) kubectl get nodes)"
	@echo "  kubectl apply -f examples/hello.yaml"
	@echo "  kubectl rollout status deployment/hello && curl http://NODE-ADDRESS:30080/"
	@echo "  make down"

down: ## Delete the node; nothing of it is left
	$(SUDO) $(KEDGE) delete

test: prepare-build prepare-test tools ## Run every suite; the last line counts passed, failed, skipped
	cargo xtask test

tools: prepare-build ## Build the Go programs that the tests use (kubectl)
	cargo xtask tools

prepare-build:
	@missing=""; $(call install,musl-gcc:musl-tools gcc:gcc git:git)
	@command -v cargo >/dev/null || { echo "cargo is missing: install rustup (https://rustup.rs), then run this again"; exit 1; }
	@rustc --version >/dev/null 2>&1 || rustup toolchain install
	@test -d "$$(rustc --print sysroot)/lib/rustlib/$(MUSL)" || rustup target add $(MUSL)

prepare-test:
	@missing=""; $(call install,go:golang-go python3:python3 openssl:openssl curl:curl iptables:iptables nft:nftables \
	ip:iproute2 busybox:busybox-static skopeo:skopeo nsenter:util-linux)
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
