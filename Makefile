# PYTHON=python3.12 chooses the interpreter that .venv is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt
RUN_STAMP := $(VENV)/.stamp-run
DEV_STAMP := $(VENV)/.stamp-dev

.DEFAULT_GOAL := help
.PHONY: run test test-faults lint bench clean help

run: $(RUN_STAMP) ## Install what is missing and start everything; Ctrl-C stops it
	@$(BIN)/python -m ops.cli up

test: $(DEV_STAMP) ## Run all tests against real servers that the tests start themselves
	@$(BIN)/python -m pytest tests/repo tests/unit tests/integration tests/e2e tests/faults

test-faults: $(DEV_STAMP) ## Run the tests of faults with their long variants; takes ten minutes
	@$(BIN)/python -m pytest -m "long or not long" tests/faults tests/integration/storage/test_job_machine.py

lint: $(DEV_STAMP) ## Check format, style, types and the direction of imports
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(DEV_STAMP) ## Measure speed against a stub upstream
	@$(BIN)/python -m bench

clean: ## Remove .venv and caches; var/, the stack's data, stays
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
		|| { echo "Aether needs Python 3.11 to 3.13; choose one with PYTHON=…" >&2; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(RUN_STAMP): requirements.txt requirements-embedded.txt requirements-embedded-nodeps.txt \
		constraints.txt | $(BIN)/python
	@echo "Installing what Aether runs on"
	@$(PIP) -r requirements.txt -r requirements-embedded.txt
	@$(PIP) --no-deps -r requirements-embedded-nodeps.txt
	@touch $@

$(DEV_STAMP): requirements-dev.txt constraints.txt $(RUN_STAMP)
	@echo "Installing the tools for tests and checks"
	@$(PIP) -r requirements-dev.txt
	@touch $@
