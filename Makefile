# The front door. `make` alone explains itself; Python 3.11 or newer is all it needs.

SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
LOCKED := requirements/base.txt requirements/dev.txt
ARGS ?=
LOG ?= ../shared/data/approval_log.csv.gz

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

# A virtual environment whose Python has gone (moved, upgraded away) is made anew.
STALE := $(shell $(PY) -c 'import pip' >/dev/null 2>&1 || echo stale)

##@ Use it

.PHONY: help
help: ## Show this page
	@c=; b=; r=; if [ -t 1 ] && [ -z "$${NO_COLOR:-}" ]; then c=$$'\e[36m'; b=$$'\e[1m'; r=$$'\e[0m'; fi; \
	printf '\n%sRedress%s: from a customer'"'"'s request to money proven to have moved.\n' "$$b" "$$r"; \
	awk -v c="$$c" -v b="$$b" -v r="$$r" -F ':.*## ' \
	  '/^##@ / { printf "\n%s%s%s\n", b, substr($$0, 5), r } \
	   /^[a-z-]+:.*## / { printf "  make %s%-11s%s %s\n", c, $$1, r, $$2 }' Makefile; \
	printf '\n  Another Python:       make PYTHON=python3.12 …\n  More for a command:   make run ARGS="--help"\n\n'

.PHONY: run
run: $(READY) ## Start everything on this machine, with sample accounts; Ctrl-C ends it
	@exec $(PY) starter.py dev $(ARGS)

.PHONY: log
log: $(READY) ## Drive a log of real approvals (LOG=FILE) through the engine, in skipped time
	@exec $(PY) -m simulation.expense_log $(LOG) --out var/log --run --report docs/approval-log.md $(ARGS)

##@ Work on it

.PHONY: test
test: lint ## Lint, types and every test that is not a long matrix
	@echo '· tests'
	@$(PY) -m pytest -m 'not deep' --timeout 600 $(ARGS)

.PHONY: test-deep
test-deep: lint ## Everything, the long matrices and both databases; then the report in docs/
	@mkdir -p var
	@echo '· tests, all of them'
	@code=0; run="$(PY) -m pytest -n 2 --timeout 7200 -o junit_logging=system-out"; \
	REDRESS_TEST_DATABASE=sqlite $$run --junitxml=var/test-deep.xml $(ARGS) || code=$$?; \
	echo '· tests of whole cases, on PostgreSQL'; \
	REDRESS_TEST_DATABASE=postgresql $$run --junitxml=var/test-deep-postgresql.xml -o junit_suite_name=postgresql \
	  tests/workflows tests/replay tests/reliability --ignore tests/reliability/test_soak.py \
	  $(ARGS) || code=$$?; \
	$(PY) -m tests.deep_report var/test-deep.xml var/test-deep-postgresql.xml; exit $$code

.PHONY: lint
lint: $(READY) ## Style and types only
	@echo '· style';  $(PY) -m ruff check --quiet .
	@echo '· format'; $(PY) -m ruff format --check --quiet . || { echo 'Run "make format".' >&2; exit 1; }
	@echo '· types';  $(PY) -m mypy --strict .

.PHONY: format
format: $(READY) ## Put imports and layout in order
	@$(PY) -m ruff check --quiet --fix . ; $(PY) -m ruff format .

.PHONY: bench
bench: $(READY) ## Measure the engine on this machine
	@exec $(PY) -m bench $(ARGS)

##@ Keep it

.PHONY: setup
setup: $(READY) ## Only make the virtual environment; the others do it by themselves
	@$(PY) -c 'import sys; print("· ready: Python", sys.version.split()[0])'

.PHONY: pins
pins: $(READY) ## Pin requirements/*.in again, with hashes (needs pip-tools in .venv)
	@$(PY) -c 'import piptools' 2>/dev/null || { echo 'pip-tools is missing: $(PY) -m pip install pip-tools' >&2; exit 1; }
	@for name in base dev; do (cd requirements && ../$(PY) -m piptools compile --quiet --generate-hashes \
	  --allow-unsafe --strip-extras --no-config --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --no-emit-options --output-file $$name.txt $$name.in $(ARGS)) || exit 1; \
	  echo "· requirements/$$name.txt"; done

.PHONY: clean
clean: ## Remove caches and the virtual environment; keeps var/ and its books
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted set-up is simply taken up again.
$(READY): $(LOCKED) $(STALE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'Redress needs Python 3.11 or newer; "$(PYTHON)" is '"$$($(PYTHON) -V 2>&1 || true)." >&2; \
	  echo 'Name another one: make PYTHON=python3.12 …' >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'This Python has no venv module. On Debian and Ubuntu: apt-get install python3-venv' >&2; exit 1; }
	@$(PY) -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo '· a virtual environment in $(VENV)'; $(PYTHON) -m venv --clear $(VENV); }
	@echo '· pinned packages (the first time takes a minute or two)'
	@if [ -t 1 ] && [ -z "$${CI:-}" ]; then set -o pipefail; \
	  $(PY) -m pip install --require-hashes -r requirements/dev.txt | awk -v all="$$(grep -c == requirements/dev.txt)" \
	    '/^(Collecting|Requirement already)/ { n++; printf "\r  %d of %d", n, all; fflush() } \
	     /^Installing/ { printf "\r  installing %d … ", n; fflush() } END { if (n) print "" }'; \
	else $(PY) -m pip install -qq --require-hashes -r requirements/dev.txt; fi
	@touch $(READY)

.PHONY: stale
stale:
