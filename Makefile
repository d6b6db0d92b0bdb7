# hermesd: every target has a line of help behind `##`; `make help` prints them.
#
# All that is assumed is git, make and Python 3.11+. Everything else goes into .venv, from locked and hashed lists.

SHELL := /bin/sh
.SHELLFLAGS := -ec
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run init test check lint types contracts bench soak lock schema clean

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check --quiet
STATE := .hermesd
# tests that share nothing run side by side; those that kill processes or drive a browser run alone
WORKERS ?= auto
CODE := hermesd adapters tests

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## install what is missing, seed .hermesd/ and start the daemon; prints the web chat's address
	@exec $(PY) -m hermesd run --state $(STATE) --seed profiles

init: $(VENV)/.installed ## connect a Telegram bot: asks for its token, tries it, writes .hermesd/hermesd.yaml
	@$(PY) -m hermesd init --state $(STATE) --seed profiles
	@echo "→ here: make run"

test: $(VENV)/.dev lint types contracts ## everything: lint, types, contracts and the whole suite
	$(PY) -m pytest -n $(WORKERS) -m "not kill and not browser"
	$(PY) -m pytest -m "kill or browser"

check: $(VENV)/.dev lint types contracts ## the fast part: lint, types, contracts, unit, architecture and conformance tests
	$(PY) -m pytest -n $(WORKERS) -m "not slow and not kill and not browser" tests/unit tests/architecture tests/conformance

lint: $(VENV)/.dev ## ruff: rules and format
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)

types: $(VENV)/.dev ## mypy --strict
	$(PY) -m mypy

contracts: $(VENV)/.dev ## import-linter: who may import whom
	$(VENV)/bin/lint-imports --no-logo

bench: $(VENV)/.dev ## measure the daemon against a bare loop; prints a table and JSON
	$(PY) tests/bench

soak: $(VENV)/.dev ## the long form of the kill and fault tests: 1,000 light kills, 100 of the real daemon
	HERMESD_SOAK=1 HERMESD_KILLS=1000 $(PY) -m pytest -m "kill or slow" --timeout 7200

schema: $(VENV)/.dev ## write config/hermesd.schema.json anew
	$(PY) -m hermesd.settings.schema config/hermesd.schema.json

lock: ## resolve the dependencies anew into the two lock files (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv; install it with: python3 -m pip install uv"; exit 1; }
	uv pip compile pyproject.toml --group build $(LOCKING) -o requirements.lock
	uv pip compile pyproject.toml --extra testing --group dev $(LOCKING) -o requirements-dev.lock

LOCKING := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet

clean: ## remove the environment and caches; .hermesd/ with your conversations stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find hermesd adapters tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(PY):
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    echo "making $(VENV) with $$($$python --version)"; \
	    "$$python" -m venv $(VENV) || { rm -rf $(VENV); \
	        echo "python has no venv module; on Debian and Ubuntu: apt install python3-venv"; exit 1; }; \
	    exit 0; \
	done; echo "hermesd needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3 $(MAKECMDGOALS)"; exit 1

$(VENV)/.locked: requirements.lock | $(PY)
	@echo "installing the locked dependencies"
	@$(PIP) install --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.locked pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.lock
	@echo "installing the locked development tools"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@
