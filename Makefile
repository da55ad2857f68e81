# make demo, make test and make check each do all their set-up themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
MESHES ?= red,green

.DEFAULT_GOAL := help
.PHONY: help setup demo test stories churn test-lab-faults fuzz-lab check bench bench-link bench-lab format docs lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

setup: $(VENV)/.ready ## make .venv with everything that the demo, the tests and the checks need

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-index --no-build-isolation -e .
	@touch $@

demo: setup ## meshes on this machine, federated (MESHES=red,green,blue for three); runs until Ctrl-C
	$(BIN)/isthmus demo --meshes $(MESHES)

test: setup ## every test; real Envoys, real kubectl
	$(BIN)/python -m pytest

stories: setup ## the whole plan against a model, in 200 stories (STORIES=1000 for more); some ten seconds each
	STORIES=$(or $(STORIES),200) $(BIN)/python -m pytest tests/pilot/test_whole_plan.py

churn: setup ## a controller of kopf's on a lab whose objects come, change and go, for a minute (CHURN_S=600 for longer)
	CHURN_S=$(or $(CHURN_S),60) $(BIN)/python -m pytest tests/lab/libraries/test_kopf.py

test-lab-faults: setup ## kill a lab's API server 20 times, each within 10 000 writes (FAULTS=4x300 for fewer); one or two minutes
	LAB_FAULTS=$(or $(FAULTS),20x10000) $(BIN)/python -m pytest -s tests/lab/apiserver/test_faults.py

fuzz-lab: setup ## made-up requests to a lab's API server, every operation (FUZZ=50 of each, FUZZ_SEED=1); some five minutes
	FUZZ=$(or $(FUZZ),50) $(BIN)/python -m pytest tests/lab/apiserver/fuzz

bench: setup ## what federation costs with 10 to 10 000 shared services; build/bench/federation.json
	$(BIN)/python -m bench.federation $(if $(SIZES),--sizes $(SIZES))

bench-link: setup ## how long the link between two meshes takes to stand; build/bench/link.json
	$(BIN)/python bench/link.py

bench-lab: setup ## what a lab's API server can do (SERVER=KUBECONFIG measures another one); build/bench/lab.json
	$(BIN)/python -m bench.lab $(if $(SERVER),--kubeconfig $(SERVER))

check: setup ## format, lint, types, direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## write docs/cli.md anew from the command line
	$(BIN)/typer isthmus.cli.app utils docs --name isthmus --title "The command line" --output docs/cli.md

lock: setup ## write requirements.lock anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --group dev --no-emit-index-url --no-emit-find-links --no-annotate --no-header -o requirements.lock pyproject.toml

clean: ## remove what the targets above made
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
