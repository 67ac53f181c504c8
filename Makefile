# Two commands for a newcomer: `make demo`, `make test`. Everything lives in .venv and data/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help

.PHONY: help install demo test test-integration dev docs lint format lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## the environment, in .venv, from requirements.lock

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] >= (3, 11) else "Ledgerline needs Python 3.11 or newer (try: make PYTHON=python3.11)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) from requirements.lock …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib dagster_project || true
	@touch $@

demo: install ## a Stripe business from nothing to MRR, reconciliation and an outbox
	@$(BIN)/ledgerline demo

dev: install ## Dagster UI, daemon, receiver and simulator; Ctrl-C stops all
	@$(BIN)/ledgerline dev

test: install lint ## every test that needs only what the environment brings
	@$(BIN)/python -m pytest -m "not integration" -q

test-integration: install ## tests against real counterparts, which it installs
	@PYTHON=$(PYTHON) tests/integration/run

lint: install ## formatting, lint, types, SQL
	@$(BIN)/ruff format --check dagster_project tests dbt
	@$(BIN)/ruff check dagster_project tests dbt
	@$(BIN)/mypy
	@cd dbt && ../$(BIN)/sqlfluff lint --disable-progress-bar models tests

format: install ## rewrite in the project's format
	@$(BIN)/ruff check --fix -q dagster_project tests dbt
	@$(BIN)/ruff format dagster_project tests dbt

docs: install ## dbt's documentation of every table and column, as one page
	@$(BIN)/ledgerline docs

lock: ## requirements.lock anew from pyproject.toml: hashes, no index URL
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock
	@! grep -nE 'https?://|index-url|find-links' requirements.lock

clean: ## remove data and build products (not the environment)
	@rm -rf data/* dbt/target dbt/logs
