# One command per job, the same for people and CI. `make` lists them.
PYTHON ?= python3
ARGS ?=
TAG = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
DEMO_PYTHON = .demo/$(TAG)/venv/bin/python
BIN = .venv/bin

# What a test needs from a registry was fetched before: whoever asks one during the tests fails at once.
OFFLINE = PIP_NO_INDEX=1 PIP_FIND_LINKS="$(CURDIR)/.cache/wheelhouse" \
          UV_OFFLINE=1 UV_FIND_LINKS="$(CURDIR)/.cache/wheelhouse" UV_PYTHON_DOWNLOADS=never

# Tests start Python thousands of times; what it imports of the checkout is compiled the first time.
unexport PYTHONDONTWRITEBYTECODE

# A quarter of the time of the short tests is waiting: one worker more than there are cores. Long tests start whole
# Airflows and dbts, which take both cores: two workers.
WORKERS = -n $$($(BIN)/python -c "import os; print((os.cpu_count() or 1) + 1)") --dist worksteal

DEPLOYED = tests/stacks

COMPILE = uv pip compile --quiet --universal --python-version 3.10 --no-emit-index-url \
          --annotation-style line --custom-compile-command "make pins"

SPHINX = .cache/envs/docs/bin/python -m sphinx --fail-on-warning --keep-going --nitpicky --fresh-env --quiet

.DEFAULT_GOAL := help
.PHONY: help demo demo-ui test proofs replay test-changed test-deployed test-all test-again test-env check docs docs-links conformance conformance-servers judge pictures mutants mutants-servers mutants-full benchmark figures release pins clean

help: ## this list
	@echo "make TARGET [PYTHON=python3.12]   (Python 3.10 to 3.13)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 16

demo: ## run the example dbt project as an Airflow DAG and show what happened
	@started=$$(date +%s) && $(PYTHON) -m tools.bootstrap demo && \
	$(DEMO_PYTHON) -m tools.demo --started $$started $(ARGS)

demo-ui: ## open the same DAG in Airflow's own UI, on loopback
	@$(PYTHON) -m tools.bootstrap demo && $(DEMO_PYTHON) -m tools.demo --ui

test-env:
	@$(PYTHON) -m tools.bootstrap test && $(PYTHON) -m tools.browser

test: test-env ## the tests before a commit: all but the long ones; ARGS="-k lock -x" goes to pytest
	@$(OFFLINE) $(BIN)/python -m pytest $(WORKERS) -m "not long" $(ARGS)

proofs: test-env ## the long tests that .ci/run always runs: explorations, each release of dbt, a browser
	@$(OFFLINE) $(BIN)/python -m pytest -n 2 --dist worksteal -m proof $(DEPLOYED:%=--ignore=%) $(ARGS)

replay: test-env ## run the DAGs of the recording of 0.2.0, and print what differs; ARGS="--only 'watcher*'"
	@$(OFFLINE) $(BIN)/python -m tests.replay $(ARGS)

test-changed: test-env ## the long tests of the folders that have changed since they were proven, for 20 minutes
	@$(OFFLINE) $(BIN)/python -m tools.long_tests --minutes 20

# Each starts a whole Airflow, which takes both cores: one after the other.
test-deployed: test-env ## DAGs in Airflow as people deploy it, of 3.3 with a Celery worker and 2.11; ARGS="-m long" for each line of Airflow
	@$(OFFLINE) $(BIN)/python -m pytest $(DEPLOYED) -m proof $(ARGS)

test-all: test-env test proofs replay test-deployed ## all tests; the long ones in parts, and what is proven stays proven
	@$(OFFLINE) $(BIN)/python -m tools.long_tests $(ARGS)

test-again: test-env ## the long tests again and again on a busy machine, the runs kept in .ci/repetitions.jsonl; ARGS="--minutes 60"
	@$(OFFLINE) $(BIN)/python -m tools.repeat_tests $(ARGS)

check: test-env ## lint, format, documented parameters, types, import contracts, quarantined tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/flake8 cosmos_venv pytest_cosmos_venv conformance
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.quarantine

docs: ## build the site into build/docs, warnings are errors; it works from the disk too: build/docs/index.html
	@$(PYTHON) -m tools.bootstrap docs && rm -rf build/docs && $(SPHINX) -d build/docs-doctrees -b html docs build/docs

docs-links: ## ask the network whether the links of the site to other sites still lead somewhere
	@$(PYTHON) -m tools.bootstrap docs && $(SPHINX) -b linkcheck docs build/docs-links

conformance: test-env ## judge cosmos-venv by the conformance suite; ARGS="--cosmos-report=DIR" and the like go to pytest
	@cd "$$(mktemp -d)" && "$(CURDIR)/$(BIN)/python" -m pytest --cosmos-conformance --cosmos-implementation=cosmos_venv --cosmos-level=beyond -n 2 $(ARGS)

conformance-servers: test-env ## the same with servers of Airflow: the areas that need a scheduler and a triggerer
	@cd "$$(mktemp -d)" && "$(CURDIR)/$(BIN)/python" -m pytest --cosmos-conformance --cosmos-servers --cosmos-implementation=cosmos_venv --cosmos-level=beyond $(ARGS)

judge: ## judge this and other implementations, keep the reports in conformance/reports; ARGS="NAME ..." judges only these
	@$(PYTHON) -m tools.bootstrap judge && $(BIN)/python -m tools.judge $(ARGS)

pictures: test-env ## take the pictures of pages anew; ARGS="watcher demo" takes only these, and not the demo's output
	@$(BIN)/python -m tools.pictures $(ARGS) && $(if $(ARGS),true,$(MAKE) demo ARGS="--svg docs/images/demo.svg")

mutants: test-env ## judge each faulty implementation by its requirement; prints what was caught
	@$(BIN)/python -m tools.mutants $(ARGS)

mutants-servers: test-env ## the same in the run with servers of Airflow: an Airflow for each fault
	@$(BIN)/python -m tools.mutants --cosmos-servers -n 0 $(ARGS)

mutants-full: test-env ## the same against all requirements, kept in docs/reference/conformance/mutants.json: hours; goes on where it was stopped
	@$(BIN)/python -m tools.cross_table $(ARGS)

benchmark: test-env ## what each part costs, beside the plain work beneath; stored in benchmarks/results
	@for name in toolkit environments local loading dags project_hash warm dbt2 makespan batches watcher seeds explore \
	conformance remote_environments; do $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; done

figures: test-env ## write the measured figures of README.md anew, from benchmarks/results
	@$(BIN)/python -m tools.figures

release: ## build both distributions, try them from their files alone, list them in build/release; publishes nothing
	@$(PYTHON) -m tools.bootstrap release && .cache/envs/release/bin/python -m tools.release $(ARGS)

pins: ## resolve requirements/*.txt anew
	@$(PYTHON) -m tools.bootstrap tools && cd requirements && PATH="$(CURDIR)/.cache/tools/$(TAG)/bin:$$PATH" && set -x && \
	$(COMPILE) --upgrade bootstrap.in -o bootstrap.txt && \
	$(COMPILE) --upgrade airflow2.in -o airflow2.txt && \
	$(COMPILE) --upgrade airflow3.in -o airflow3.txt && \
	$(COMPILE) --upgrade openlineage.in -o openlineage.txt && \
	$(COMPILE) --upgrade celery3.in -o celery3.txt && \
	$(COMPILE) --upgrade celery2.in -o celery2.txt && \
	$(COMPILE) --upgrade airflow30.in -o airflow30.txt && \
	$(COMPILE) --upgrade airflow31.in -o airflow31.txt && \
	$(COMPILE) --upgrade airflow32.in -o airflow32.txt && \
	$(COMPILE) --upgrade airflow34.in -o airflow34.txt && \
	$(COMPILE) --upgrade dbt.in -o dbt.txt && \
	$(COMPILE) --upgrade dbt110.in -o dbt110.txt && \
	$(COMPILE) --upgrade dbt112.in -o dbt112.txt && \
	$(COMPILE) --upgrade dbt2.in -o dbt2.txt && \
	$(COMPILE) --upgrade dbt15.in -o dbt15.txt && \
	$(COMPILE) --upgrade dbt17.in -o dbt17.txt && \
	$(COMPILE) --upgrade npm.in -o npm.txt && \
	$(COMPILE) --upgrade postgres.in -o postgres.txt && \
	$(COMPILE) --upgrade release.in -o release.txt && \
	$(COMPILE) --upgrade --excludes providers-without.in ../pytest_cosmos_venv/pyproject.toml providers.in -o providers.txt && \
	$(COMPILE) --upgrade ../pyproject.toml demo.in -o demo.txt && \
	$(COMPILE) --upgrade ../pyproject.toml ../pytest_cosmos_venv/pyproject.toml test.in -o test.txt && \
	$(COMPILE) --upgrade ../pyproject.toml ../pytest_cosmos_venv/pyproject.toml docs.in -o docs.txt && \
	$(COMPILE) --upgrade ../pytest_cosmos_venv/pyproject.toml cosmos.in -o cosmos.txt && \
	$(COMPILE) --upgrade ../pytest_cosmos_venv/pyproject.toml cosmos116.in -o cosmos116.txt && \
	$(COMPILE) --upgrade ../pytest_cosmos_venv/pyproject.toml cosmos2.in -o cosmos2.txt && \
	$(COMPILE) --upgrade ../pytest_cosmos_venv/pyproject.toml crowd.in -o crowd.txt && \
	$(COMPILE) --upgrade ../pytest_cosmos_venv/pyproject.toml wheelhouse.in -o wheelhouse.txt

clean: ## remove everything that was made here, environments included
	chmod -R u+w .demo .cache 2>/dev/null || true
	rm -rf .venv .cache .demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .coverage*
