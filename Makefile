# Fresh machine with Python 3.11+ and make: `make demo` and `make test` set everything up themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: help demo test check format bench bench-validation simulate mutants test-ledger-matrix lock clean
.DEFAULT_GOAL := help

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# One marker file: the environment is rebuilt only when the lock or the project file changes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); Sallyport needs Python 3.11 or newer: make PYTHON=python3.11 ..." >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing locked dependencies (once, a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## the whole chain on one replayed session; DATA=prices.parquet SECTORS=gics.csv for your own
	@$(BIN)/sallyport demo $(if $(DATA),--data "$(DATA)") $(if $(SECTORS),--sectors "$(SECTORS)")

test: $(READY)  ## all checks and tests
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -q -n 3 --dist loadfile

check: $(READY)  ## format, lint, types, import floors
	@$(BIN)/ruff format --check --quiet . || { echo "error: run make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 8

format: $(READY)  ## format and sort imports
	@$(BIN)/ruff check --quiet --fix --select I . ; $(BIN)/ruff format --quiet .

bench: $(READY)  ## benchmarks; each prints ratios against a named baseline of the same run
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

bench-validation: $(READY)  ## fault detection: recall and false alarms by class on labelled data, and its speed
	@$(BIN)/python bench/validation.py

simulate: $(READY)  ## the real core through ten thousand seeded days of faults; SEEDS=n for fewer
	@$(BIN)/executor simulate --seeds $(or $(SEEDS),10000) --jobs 2

mutants: $(READY)  ## break every limit's code in every way known: each must fail a test
	@$(BIN)/python tests/executor/mutants.py

test-ledger-matrix: $(READY)  ## the ledger's tests on the embedded Postgres and on every system one that is installed
	@$(BIN)/python tests/sql/matrix.py

lock:  ## rewrite requirements.lock from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra slow --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links -o requirements.lock

clean:  ## remove the environment and all local state
	rm -rf $(VENV) .sallyport .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
