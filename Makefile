# PYTHON=python3.12 chooses the interpreter that .venv is made with.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Venvs beside .venv: what the image installs, the compiler of the locks, a peer, other Pythons.
VENVS := .venvs
UV := $(VENVS)/lock/bin/uv
RUN_STAMP := $(VENV)/.stamp-run
DEV_STAMP := $(VENV)/.stamp-dev
IMAGE_STAMP := $(VENVS)/image/.stamp
LITELLM_STAMP := $(VENVS)/litellm/.stamp
SBOM ?= dist/sbom.cdx.json

PIP := -m pip install --quiet --disable-pip-version-check --no-input
# A lock names every package, so nothing is resolved and each file is checked by its hash.
LOCKED := $(PIP) --require-hashes --no-deps --only-binary :all:
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --only-binary :all: --no-emit-index-url --annotation-style line \
	--custom-compile-command "make lock"

.DEFAULT_GOAL := help
.PHONY: run test test-all test-faults test-pythons lint bench bench-litellm lock sbom clean help

run: $(RUN_STAMP) ## Install what is missing and start everything; Ctrl-C stops it
	@$(BIN)/python -m ops.cli up

test: $(DEV_STAMP) $(IMAGE_STAMP) ## Run all tests against real servers that the tests start themselves
	@$(BIN)/python -m pytest -rs tests/repo tests/unit tests/integration tests/e2e tests/faults tests/containers

test-all: test test-faults test-pythons ## Run all tests with every long variant and on every Python

test-faults: $(DEV_STAMP) ## Run the tests of faults with their long variants; takes ten minutes
	@$(BIN)/python -m pytest -m "long or not long" tests/faults tests/integration/storage/test_job_machine.py

test-pythons: $(DEV_STAMP) ## Install the lock and answer a job on each other Python that is found
	@$(BIN)/python -m pytest -rs -m long tests/pythons

lint: $(DEV_STAMP) ## Check format, style, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(DEV_STAMP) ## Measure speed against a stub upstream; OPTIONS=--cost compares with the commit before
	@$(BIN)/python -m bench $(OPTIONS)

bench-litellm: $(DEV_STAMP) $(LITELLM_STAMP) ## Measure speed also beside LiteLLM's proxy
	@$(BIN)/python -m bench --litellm $(VENVS)/litellm/bin/litellm

lock: | $(UV) ## Compile the locks anew; pins stay where they can, unless OPTIONS=--upgrade
	@$(COMPILE) $(OPTIONS) pyproject.toml --output-file requirements.txt
	@$(COMPILE) $(OPTIONS) pyproject.toml --group embedded --group dev -c requirements.txt \
		--output-file requirements-dev.txt
	@$(COMPILE) $(OPTIONS) --group litellm --output-file bench/requirements-litellm.txt

sbom: $(DEV_STAMP) $(IMAGE_STAMP) ## Write a bill of what the image installs, with licences, to dist/
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/cyclonedx-py environment $(VENVS)/image --pyproject pyproject.toml $(OPTIONS) \
		--output-reproducible --output-file $(SBOM)

clean: ## Remove the venvs and caches; var/, the stack's data, stays
	@rm -rf $(VENV) $(VENVS) dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Aether needs Python 3.11 to 3.13; choose one with PYTHON=…" >&2; exit 1; }
	@echo "Making $*"
	@$(PYTHON) -m venv $* || { rm -rf $*; exit 1; }

$(RUN_STAMP): requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing what Aether runs on"
	@$(BIN)/python $(LOCKED) -r requirements.txt
	@# The pins that the group `embedded` asked for; they bring nothing along.
	@awk '/^[^ #]/ { pin = "" } { pin = pin $$0 "\n" } /:embedded\)/ { printf "%s", pin }' \
		requirements-dev.txt > $(VENV)/embedded.txt
	@$(BIN)/python $(LOCKED) -r $(VENV)/embedded.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt $(RUN_STAMP)
	@echo "Installing the tools for tests and checks"
	@$(BIN)/python $(LOCKED) -r requirements-dev.txt
	@touch $@

# Made afresh, so that nothing of an earlier lock is left in it.
$(IMAGE_STAMP): requirements.txt
$(LITELLM_STAMP): bench/requirements-litellm.txt
$(IMAGE_STAMP) $(LITELLM_STAMP): | $(BIN)/python
	@echo "Installing $<"
	@rm -rf $(@D)
	@$(BIN)/python -m venv $(@D)
	@$(@D)/bin/python $(LOCKED) -r $<
	@touch $@

$(UV): | $(VENVS)/lock/bin/python
	@$(VENVS)/lock/bin/python $(PIP) uv==0.13.9
