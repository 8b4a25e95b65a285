# Everything a person or a CI machine runs. Needs Python 3.11, make and git; the rest goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROWSER := $(VENV)/.browser
FOR ?=
FLAGS ?=
# Several versions of PostgreSQL: what may differ between them, and everything of storage in `make test-postgres`.
# `make test OTHER_MAJOR=` leaves the other version out.
OTHER_MAJOR ?= 16
MAJORS ?= 15 16 18
VERSIONED := tests/storage/contract tests/storage/test_schema.py tests/storage/test_gateway.py \
	tests/storage/test_server_versions.py
# One worker more than the smallest machine has cores, because many tests wait for a clock or a process. A file stays
# on one worker, because its tests share what is costly to make. Files keep their order: otherwise those with few tests,
# which are the longest, come last, and all but one worker wait. `make test WORKERS=2` crowds the machine less.
WORKERS ?= 3
SPREAD = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
BASE ?= HEAD
PAIRS ?= 8
# Empty: Python keeps what it compiled. Otherwise each process that a test starts compiles all our code again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-cluster test-postgres test-fast chaos fence check format bench bench-quick \
	bench-mutants bench-compare bench-ledger bench-pages bench-live live-truth verdicts lock clean fuzz-api image test-image coverage figures docs \
	acceptance acceptance-mutants cutover-mutants test-metrics test-browser pictures

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

$(READY): requirements/dev.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install -qq --no-deps --no-build-isolation -e .
	@touch $@

# Playwright is large, so it comes only with the tests that need it.
$(BROWSER): requirements/browser.txt $(READY)
	@echo "installing Playwright into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/browser.txt
	@touch $@

demo: $(READY) ## the whole service on this machine: make demo, or make demo FOR=60
	@$(BIN)/lastheard demo $(if $(FOR),--for $(FOR)) $(FLAGS)

test: $(READY) ## every test of one shard, with a real PostgreSQL and real processes
	@$(BIN)/python -m pytest -q $(SPREAD) -m "not cluster and not image and not measured and not browser" $(FLAGS)
	@if [ -n "$(OTHER_MAJOR)" ]; then \
		export LASTHEARD_TEST_PG_MAJOR=$(OTHER_MAJOR); \
		$(BIN)/python -m tests.postgres && \
		$(BIN)/python -m pytest -q $(SPREAD) -m postgres $(VERSIONED); \
	fi

# An exit code of 3 says that the machine does not have this version.
test-postgres: $(READY) ## the storage tests on PostgreSQL 16 and 18, and on 15 where the machine has it
	@for major in $(MAJORS); do \
		export LASTHEARD_TEST_PG_MAJOR=$$major; \
		$(BIN)/python -m tests.postgres; found=$$?; \
		if [ $$found -eq 3 ]; then continue; fi; \
		if [ $$found -ne 0 ]; then exit $$found; fi; \
		$(BIN)/python -m pytest -q $(SPREAD) -m "postgres and not cluster" \
			--ignore=tests/storage/embedded tests/storage $(FLAGS) || exit 1; \
	done

test-cluster: $(READY) ## several shards, failover: real processes killed, paused, cut off
	@$(BIN)/python -m pytest -q -n 2 -m cluster $(FLAGS)

test-browser: $(BROWSER) ## the pages in Debian's Chromium: what people do, every page in both themes and three sizes
	@$(BIN)/python -m tests.debian chromium chromium
	@$(BIN)/python -m pytest -q tests/browser $(FLAGS)

pictures: $(BROWSER) ## the same, and write docs/pages/*.png anew
	@LASTHEARD_PICTURES=docs/pages $(BIN)/python -m pytest -q tests/browser/test_every_page.py $(FLAGS)

acceptance: $(READY) ## what was asked for, id by id, over HTTP: make acceptance, or make acceptance FLAGS=FR-015
	@$(BIN)/python -m tests.acceptance_table -n $(WORKERS) $(FLAGS)

acceptance-mutants: $(READY) ## eleven removals, each of which must turn a test of make acceptance red
	@$(BIN)/python -m tests.acceptance_mutants $(FLAGS)

cutover-mutants: $(READY) ## fifteen faults in what a cutover rests on, each of which must turn a test red
	@$(BIN)/python -m tests.cutover_mutants $(FLAGS)

image: ## the container image as lastheard:local, without an engine: needs root, buildah and debootstrap
	@deploy/build-image

test-image: $(READY) ## build the image and run it: config check, migrate, serve, stop
	@$(BIN)/python -m pytest -q -s -m image tests/deployment $(FLAGS)

chaos: $(READY) ## the same with the default TTL, then a seeded bad day of three minutes
	@LASTHEARD_CHAOS_TTL=15 $(BIN)/python -m pytest -q -s -m cluster $(FLAGS)
	@$(BIN)/python -m pytest -q -s tests/processes/chaos.py $(FLAGS)

fence: $(READY) ## a million updates over 20 takeovers of shards with several writers: nothing lost, doubled or late
	@$(BIN)/python -m benchmarks.fence $(FLAGS)

fuzz-api: $(READY) ## schemathesis over the served API description, two minutes: FUZZ_SECONDS, FUZZ_SEED
	@$(BIN)/python -m pytest -q -s tests/processes/fuzz_api.py $(FLAGS)

test-fast: $(READY) ## the tests that need neither PostgreSQL nor processes: about a minute
	@$(BIN)/python -m pytest -q -m "not postgres and not processes and not cluster and not image and not browser" $(FLAGS)

check: $(READY) ## ruff, formatting, mypy strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

coverage: $(READY) ## branch coverage of domain, actors, storage and api, by the tests of one shard
	@$(BIN)/python -m pytest -q $(SPREAD) -m "not cluster and not image and not measured and not browser" --cov --cov-report=term $(FLAGS)

figures: $(READY) ## how long, dense and wide the code is, how far a frame goes, how often a request waits
	@$(BIN)/python -m tests.architecture.figures

# LASTHEARD_NO_SKIP=1: fail where apt could install Prometheus, and it is not there.
test-metrics: $(READY) ## two minutes of demo, watched by Debian's Prometheus: every panel has data, every rule works
	@$(BIN)/python -m pytest -q tests/metrics tests/processes/metrics_demo.py $(FLAGS)

docs: $(READY) ## write docs/requirements.md anew, from the tests
	@$(BIN)/python -m tests.requirements

format: $(READY) ## let ruff put the code in order
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## every figure as a ratio to a reference, into build/bench.json; non-zero below its bound: FLAGS="--only B5", FLAGS=--help
	@$(BIN)/python -m benchmarks.run $(FLAGS)

bench-quick: $(READY) ## the quick ones of make bench, in small sizes
	@$(BIN)/python -m benchmarks.run --quick $(FLAGS)

bench-pages: $(READY) ## each page against the JSON that it asks for, 10,000 devices: a minute
	@$(BIN)/python -m benchmarks.pages $(FLAGS)

bench-mutants: $(READY) ## seven faults, each of which must turn bench-quick red: two minutes
	@$(BIN)/python -m benchmarks.mutants $(FLAGS)

bench-compare: $(READY) ## core time and health p95 against another commit: make bench-compare BASE=HEAD PAIRS=8
	@$(BIN)/python -m benchmarks.compare --base $(BASE) --pairs $(PAIRS) $(FLAGS)

bench-ledger: $(READY) ## what 10,000 buses with one signal that is always refused write: up to 15 minutes
	@$(BIN)/python -m benchmarks.ledger $(FLAGS)

bench-live: $(READY) ## what 200 open live pages cost, with 10,000 devices, and whether they are true: five minutes
	@$(BIN)/python -m benchmarks.live_pages $(FLAGS)

live-truth: $(READY) ## a page open for an hour of churn, 720 looks, each compared with the API: LIVE_SEED=2 for another hour
	@LIVE_TICKS=720 $(BIN)/python -m pytest -q tests/pages/test_live_truth.py $(FLAGS)

verdicts: $(READY) ## who is blamed for what, in ten minutes with every fault: FLAGS=--short for two
	@$(BIN)/python -m benchmarks.verdicts $(FLAGS)

COMPILE := $(BIN)/pip-compile -q --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-options \
	--strip-extras --allow-unsafe

lock: $(READY) ## renew requirements/*.txt from pyproject.toml
	@$(COMPILE) -o requirements/runtime.txt pyproject.toml
	@$(COMPILE) --extra embedded --extra tracing -c requirements/runtime.txt -o requirements/dev.txt pyproject.toml requirements/dev.in
	@$(COMPILE) --extra tracing -c requirements/dev.txt -o requirements/tracing.txt pyproject.toml
	@$(COMPILE) -c requirements/dev.txt -o requirements/build.txt requirements/build.in
	@$(COMPILE) -c requirements/dev.txt -o requirements/browser.txt requirements/browser.in

clean: ## remove the virtual environment and caches; data folders stay
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache *.egg-info
