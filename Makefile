# Each command sets up what it needs; `make` alone lists them. What is installed is remembered by what was asked for, in
# files named for the checksum of the requirements: when those are unchanged nothing is done.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
JS := tests/contract/sdk/js
SAMPLE := samples/chat
PYTEST_ARGS ?= -n 2 --dist worksteal
ARGS ?=

sum = $(shell cat $(1) 2>/dev/null | cksum | tr -d ' ')
RUN_READY := $(VENV)/.run-$(call sum,requirements/run.txt requirements/build.txt pyproject.toml)
DEV_READY := $(VENV)/.dev-$(call sum,requirements/dev.txt requirements/build.txt pyproject.toml)
JS_READY := $(JS)/node_modules/.ready-$(call sum,$(JS)/package-lock.json)
SAMPLE_READY := $(SAMPLE)/node_modules/.ready-$(call sum,$(SAMPLE)/package-lock.json)
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := src tests bench
# Tests start hundreds of processes: each would compile all it imports where the environment says to write no bytecode.
COMPILED := PYTHONDONTWRITEBYTECODE=

SECONDS ?= 120
SEED ?=

.PHONY: help run test check types tidy sim chaos bench sample docs clean apt

help:
	@echo "Landline. Commands:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' Makefile

run: $(RUN_READY) ## start a server for development (options: make run ARGS="--port 9000")
	@exec $(BIN)/landline dev $(ARGS)

test: $(DEV_READY) $(JS_READY) $(SAMPLE_READY) apt ## run all tests (some of them: make test PYTEST_ARGS="tests/unit")
	$(COMPILED) $(BIN)/python -m pytest -q $(PYTEST_ARGS)

check: $(DEV_READY) ## lint, types, import contracts, tidiness
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory -j 2 types tidy

types:
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

tidy:
	$(COMPILED) $(BIN)/python -m pytest -q -p no:xdist tests/tidy

sim: $(DEV_READY) ## run the simulations: the whole system under kills and faults; and properties with new examples
	FAULTS=1 $(BIN)/python -m pytest -q tests/sim tests/e2e/test_gateway_faults.py $(ARGS)
	LANDLINE_EXAMPLES=drawn $(BIN)/python -m pytest -q -m hypothesis $(ARGS) tests

chaos: $(DEV_READY) ## real processes under random faults for a while (make chaos SECONDS=600 SEED=7)
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(DEV_READY) ## answer the questions of bench/ with numbers
	@for question in $$(grep -l '^def main' bench/*.py); do \
		$(BIN)/python -m $$(echo "$${question%.py}" | tr / .) || exit 1; \
	done

sample: $(RUN_READY) $(SAMPLE_READY) ## serve the sample chat application beside `make run` (samples/chat)
	@lines="$$($(BIN)/landline env)" && eval "$$lines" && cd $(SAMPLE) && node build.js && exec node server.js

docs: $(DEV_READY) ## write the pages that are made from code
	$(BIN)/python -m landline.app.config_reference > docs/reference/configuration.md
	$(BIN)/python -m landline.app.coverage > docs/reference/operations.md

clean: ## remove what these commands made
	rm -rf $(VENV) $(JS)/node_modules $(SAMPLE)/node_modules $(SAMPLE)/build dist build .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

apt:
	@tools/apt-packages || echo "coturn or Chromium could not be installed: the tests that need them are left out" >&2

$(BIN)/python:
	tools/make-venv $(VENV)

$(RUN_READY): | $(BIN)/python
	@tools/relative-source $(VENV)
	$(INSTALL) --require-hashes -r requirements/build.txt -r requirements/run.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@tools/relative-source $(VENV)
	@rm -f $(VENV)/.run-*; touch $@

$(DEV_READY): | $(BIN)/python
	@tools/relative-source $(VENV)
	$(INSTALL) --require-hashes -r requirements/build.txt -r requirements/dev.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@tools/relative-source $(VENV)
	@rm -f $(VENV)/.dev-* $(VENV)/.run-*; touch $@ $(RUN_READY)

define packages
$(1)/node_modules/.ready-%: $(1)/package-lock.json
	cd $(1) && npm ci --no-audit --no-fund --loglevel=error
	@touch $$@ $(1)/node_modules/.package-lock.json
endef
$(foreach place,$(JS) $(SAMPLE),$(eval $(call packages,$(place))))
