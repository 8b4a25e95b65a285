# Everything a person or a CI machine runs. Needs Python 3.11, make and git; the rest goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FOR ?=
FLAGS ?=
# Many tests wait for real clocks and processes, so there are more workers than cores.
WORKERS ?= 4

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check format bench-quick lock clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(READY): requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY) ## the whole service on this machine: make demo, or make demo FOR=60
	@$(BIN)/lastheard demo $(if $(FOR),--for $(FOR)) $(FLAGS)

test: $(READY) ## every test, with a real PostgreSQL and real processes
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(FLAGS)

test-fast: $(READY) ## the tests that need neither PostgreSQL nor processes: seconds
	@$(BIN)/python -m pytest -q -m "not postgres and not processes" $(FLAGS)

check: $(READY) ## ruff, formatting, mypy strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench-quick: $(READY) ## two ratios against references in the same run, verified first
	@$(BIN)/python -m benchmarks.quick $(FLAGS)

COMPILE := $(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-options \
	--strip-extras --allow-unsafe

lock: $(READY) ## renew requirements/*.txt from pyproject.toml
	@$(COMPILE) -o requirements/runtime.txt pyproject.toml
	@$(COMPILE) --extra embedded -c requirements/runtime.txt -o requirements/dev.txt pyproject.toml requirements/dev.in
	@$(COMPILE) -c requirements/dev.txt -o requirements/build.txt requirements/build.in

clean: ## remove the virtual environment and caches; data folders stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
