# Everything a checkout needs: Debian (or another Unix), Python 3.11 to 3.13 with venv, git and make.
# All set-up happens in .venv inside the checkout; nothing else on the machine is touched.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV    := .venv
BIN     := $(VENV)/bin
STAMP   := $(VENV)/.rostersync-installed
LOCK    := release/locked.txt
PIP     := $(BIN)/python -m pip -qq --disable-pip-version-check
LOWEST  := .venv-lowest
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
ARGS    ?=
SIZE    ?= 100000

# The first interpreter of a supported version that can make virtual environments.
find_python = for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
	command -v "$$python" >/dev/null 2>&1 || continue; \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		>/dev/null 2>&1 && { echo "$$python"; break; }; \
	done

.PHONY: help venv demo test test-long test-lowest lock advisories hooks release-check lint format docs picture site bench bench-model bench-peers clean

help:  ## Show this list
	@echo "rostersync: what can be made here (the first call sets up $(VENV), a few minutes)"
	@echo
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20
	@echo
	@echo "  ARGS='tests/core -k name'  narrows make test;  WORKERS=4 sets its processes;"
	@echo "  PYTHON=python3.12 chooses the interpreter."

venv: $(STAMP)  ## Set up the virtual environment

# pyproject.toml says what is needed and LOCK in which versions, so a change of either installs again.
# A registry that does not have those versions must keep nobody from working: then the newest are taken.
$(STAMP): pyproject.toml $(LOCK)
	@if ! $(BIN)/python -c '' >/dev/null 2>&1; then \
		python=$$($(find_python)); \
		if [ -z "$$python" ]; then \
			echo "No Python 3.11 to 3.13 with venv was found." >&2; \
			echo "On Debian: apt-get install python3 python3-venv. Or: make PYTHON=/path/to/python" >&2; \
			exit 1; \
		fi; \
		echo "Setting up $(VENV) with $$($$python --version); this happens once."; \
		rm -rf $(VENV) && "$$python" -m venv $(VENV); \
	fi
	@echo "Installing rostersync and its tools into $(VENV) ..."
	@$(PIP) install --constraint $(LOCK) --editable '.[dev]' || { \
		echo "The versions of $(LOCK) cannot be had here; taking the newest that fit." >&2; \
		$(PIP) install --editable '.[dev]'; }
	@touch $@

demo: $(STAMP)  ## Run the main job on a made-up district, in a temporary folder
	@$(BIN)/python -m rostersync.tools.demo $(ARGS)

lint: $(STAMP)  ## Check style, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "Run: make format" >&2; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@report=$$($(BIN)/lint-imports --no-cache 2>&1) || { echo "$$report" >&2; exit 1; }
	@echo "lint: style, types and layers are in order"

format: $(STAMP)  ## Lay the code out as `make lint` wants it
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

test: lint  ## Lint, then run every quick test (under 15 minutes)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-long: lint  ## Lint, then run every test at full size
	@HYPOTHESIS_PROFILE=long \
		$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m '' $(ARGS)

test-lowest: $(STAMP)  ## Run the quick tests on the lowest versions that pyproject.toml allows
	@$(BIN)/python -m venv --clear $(LOWEST)
	@$(BIN)/python -m release.lowest pyproject.toml >$(LOWEST)/constraints.txt
	@echo "Installing the lowest versions into $(LOWEST) ..."
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check \
		--constraint $(LOWEST)/constraints.txt --editable '.[dev]'
	@$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lock: $(STAMP)  ## Write release/locked.txt: the newest versions of everything that make venv installs
	@$(BIN)/python -m venv --clear .venv-lock
	@.venv-lock/bin/python -m pip install -qq --disable-pip-version-check uv
	@.venv-lock/bin/uv pip compile --quiet --universal --python-version 3.11 --upgrade --extra dev \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file $(LOCK) pyproject.toml
	@rm -rf .venv-lock
	@echo "lock: $(LOCK) is written; make venv installs it"

advisories: $(STAMP)  ## Ask whether a library in release/locked.txt has a known fault
	@$(BIN)/python -m venv --clear .venv-audit
	@.venv-audit/bin/python -m pip install -qq --disable-pip-version-check pip-audit || \
		echo "pip-audit cannot be installed here." >&2
	@$(BIN)/python -m release.advisories .venv-audit/bin/python $(LOCK); code=$$?; rm -rf .venv-audit; exit $$code

hooks: $(STAMP)  ## Check style, types and layers at each commit (see .pre-commit-config.yaml)
	@$(BIN)/pre-commit install

release-check: $(STAMP)  ## Build, check, and install the wheel on Python 3.11 to 3.13 (PYTHONS names more)
	@PYTHONS='$(PYTHONS)' $(BIN)/python -m release.check

docs: $(STAMP)  ## Write the pages that are made from the program
	@$(BIN)/python -m rostersync.tools.reference

picture: $(STAMP)  ## Draw the picture of the rooms from the imports of the code
	@$(BIN)/python docs/picture.py

site: $(STAMP)  ## Build the pages of docs/ as a site in build/site; every warning is an error
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/site
	@echo "site: open build/site/index.html"

bench: $(STAMP)  ## Measure speed and memory beside their floors (SIZE=1000000; see docs/performance.md)
	@$(BIN)/python -m bench --size $(SIZE) $(ARGS)

bench-model: $(STAMP)  ## Measure what a sync costs on each connector (ARGS='--size 1200000')
	@$(BIN)/python -m bench.model $(ARGS)

bench-peers: $(STAMP)  ## Compare with dlt on the same files (installs it into .bench-peers)
	@$(BIN)/python -m bench.peers $(ARGS)

clean:  ## Remove the virtual environment and every cache
	@rm -rf $(VENV) $(LOWEST) .venv-lock .venv-audit .bench-peers .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
