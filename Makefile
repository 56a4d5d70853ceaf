# make demo    set up and run the ACTG175 trial end to end
# make test    set up and run the tests (11 minutes)
# make lint    ruff, mypy, import contracts
# make verify  slow statistical verification, in full (an hour); verify-sample: its error rates of trials and families
# make bench   benchmarks (nothing is asserted)

PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 1
export TRIALSIM_CACHE ?= $(CURDIR)/.trialsim-cache

.PHONY: setup demo test lint verify verify-sample bench

setup: .venv/installed

.venv/installed: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c requirements.lock -e ".[dev]"
	touch $@

demo: setup
	$(BIN)/trialsim run trials/actg175.yaml

test: setup
	$(BIN)/python -m pytest -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

verify: setup
	$(BIN)/python -m pytest tests/verification -m slow

verify-sample: setup
	$(BIN)/python -m pytest tests/verification/test_type_one_error.py tests/verification/test_multiplicity.py -m slow

bench: setup
	$(BIN)/python -m pytest tests/benchmarks -o addopts="-q --import-mode=importlib" --benchmark-only --benchmark-columns=min,median,iqr,rounds
