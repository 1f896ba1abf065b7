# Needs only Python 3.11+ (with its venv module) and make. Everything goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENV := $(VENV)/.installed
ARGS ?=
# How the tests are divided: two processes of one thread each.
WORKERS ?= -n 2
# The oldest versions that pyproject.toml allows, in an environment of their own.
FLOORS := .venv-floors
FLOOR_TESTS := tests/solvers tests/pruning tests/lab/test_store.py tests/lab/test_lab.py \
	tests/models/test_pipelines.py tests/models/test_generate.py tests/models/test_judges.py \
	tests/report/test_charts.py tests/attack/test_completion.py tests/attack/test_revive.py \
	tests/attack/test_magnitudes.py tests/test_layers.py tests/test_stats.py tests/test_end_to_end.py

.DEFAULT_GOAL := help
.PHONY: help env test floors browser book site run check verify gate lint types lock clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 8

env: $(ENV)  ## Create .venv and install the locked packages

$(ENV): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "rbtc needs Python 3.11 or newer; point to one: make PYTHON=python3.11" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet 'uv>=0.5,<1'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

test: $(ENV)  ## Run the tests in two processes (ARGS="tests/attack -x")
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

floors: $(ENV)  ## Run the core's tests on the oldest versions that pyproject.toml allows
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(FLOORS)
	$(BIN)/uv pip install --quiet --python $(FLOORS)/bin/python --resolution lowest-direct \
		-e '.[models,book,test,train,fid,sd15]'
	$(FLOORS)/bin/python -m pytest -q $(WORKERS) -W ignore::DeprecationWarning $(FLOOR_TESTS)

browser: $(ENV)  ## Look at the built site in the machine's chromium
	$(BIN)/python -m pytest tests/browser $(ARGS)

book: run site  ## Execute every notebook from results/, build _build/html

run: $(ENV)  ## Execute notebooks/*.py into book/notebooks (ARGS="05_defense")
	$(BIN)/rbtc book run $(ARGS)

check: $(ENV)  ## Execute the pages elsewhere and compare with the committed ones
	$(BIN)/rbtc book check $(ARGS)

verify: $(ENV)  ## Draw and judge random rows of the measurements again (ARGS="--rows 8")
	$(BIN)/rbtc verify $(ARGS)

gate: $(ENV)  ## Check that every page is executed and free of errors
	$(BIN)/rbtc book gate

site: $(ENV)  ## Check the pages and build _build/html from them, executing nothing
	$(BIN)/rbtc book build

lint: $(ENV)  ## ruff
	$(BIN)/ruff check .

types: $(ENV)  ## pyright
	$(BIN)/pyright

lock: $(ENV)  ## Renew requirements.lock (hashes only, no registry address)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --all-extras --upgrade \
		--custom-compile-command 'make lock' pyproject.toml -o requirements.lock

clean:  ## Remove the built site (the environment and the executed pages stay)
	rm -rf _build
