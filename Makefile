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

.PHONY: run test setup unit vm nightly lint clean

run: setup
	$(HARNESS) run --suite $(SUITE) $(RUN_OPTIONS)

test: setup lint unit vm

setup:
	@scripts/setup

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

unit: setup
	.venv/bin/python -m pytest -q -n $(JOBS) --dist worksteal -m "not vm and not slow"

# A missing QEMU or libvirt is a failure here, never a silent skip.
vm: setup
	HARNESS_REQUIRE_VM=1 .venv/bin/python -m pytest -q -n $(LANES) --dist loadscope \
		--no-loadscope-reorder --durations=15 -m "vm and not slow" tests/vm

# What CI has no time for: whole suites on every kernel, endurance, the sanitizer kernel.
nightly: setup
	HARNESS_REQUIRE_VM=1 .venv/bin/python -m pytest -q -m slow

clean:
	$(HARNESS) clean
