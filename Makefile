# SPDX-License-Identifier: Apache-2.0
# make run    set up what is missing, then the main job
# make test   set up what is missing, then the whole test suite
# make setup  system packages and .venv only
# make nightly  what is marked slow

HARNESS := .venv/bin/harness
SUITE ?= ace-seq1
RUN_OPTIONS ?=
# Unit tests at once.
JOBS ?= auto
# Tests with guests at once: a pair in lock step keeps little more than one processor busy.
LANES ?= 2
# Where setup installs a browser, tests that need one are never skipped.
BROWSER := $(shell . /etc/os-release && [ "$$ID" = debian ] && echo 1)

.PHONY: run test setup unit whole browser vm nightly lint clean

run: setup
	$(HARNESS) run --suite $(SUITE) $(RUN_OPTIONS)

test: setup lint unit whole browser vm

setup:
	@scripts/setup

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

unit: setup
	.venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal --ignore=tests/browser \
		-m "not vm and not slow and not whole"

whole: setup
	.venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal -m "whole and not slow" tests/unit

browser: setup
	HARNESS_REQUIRE_BROWSER=$(BROWSER) .venv/bin/python -m pytest -q tests/browser

# A missing QEMU or libvirt is a failure here, never a silent skip.
vm: setup
	HARNESS_REQUIRE_VM=1 .venv/bin/python -m pytest -q -n $(LANES) --dist loadscope \
		--no-loadscope-reorder --durations=15 -m "vm and not slow" tests/vm

# What CI has no time for: whole suites on every kernel, endurance, the sanitizer kernel.
nightly: setup
	HARNESS_REQUIRE_VM=1 .venv/bin/python -m pytest -q -m slow

clean:
	$(HARNESS) clean
