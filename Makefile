# make run      set everything up, then raw text -> promoted, exported model (minutes on a laptop)
# make test     set everything up, then the tests
.DEFAULT_GOAL := help
SHELL := /bin/bash
BIN := .venv/bin
STYLE ?= literary
PROFILE ?= quick

.PHONY: help setup install run test test-slow test-server docs coverage check mutants golden calibration proof lock

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | column -t -s "$$(printf '\t')"

install:
	@command -v git >/dev/null || { echo "setup: git is missing; install it and try again" >&2; exit 2; }
	@infra/install.sh

setup: install  ## install, and fetch the model and texts that runs and tests need
	@$(BIN)/timbre setup --style $(STYLE)

run: setup  ## the main job; STYLE=… PROFILE=… choose another
	@$(BIN)/timbre run --style $(STYLE) --profile $(PROFILE)

test: setup  ## the tests, but for the slow ones; the ten that took longest are named at the end
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --durations=10

test-slow: setup  ## faults, load, server topologies, the road from the wheel: tens of minutes
	@$(BIN)/python -m pytest -m slow --durations=10

test-server: setup  ## server mode for real: PostgreSQL, S3, MLflow with sign-in, Prefect, a worker; a release, a hand-over, a crash on them
	@$(BIN)/python -m pytest --durations=10 tests/integration/test_server_mode.py

docs: install  ## the documentation as a site in build/site, links checked
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

coverage: setup  ## the tests, and which lines of timbre/ they run; at least 85 of 100
	@$(BIN)/python -m pytest -n 2 --dist loadfile --cov=timbre --cov-report=term:skip-covered --cov-fail-under=85

check: install  ## formatting, lint, types, import rules, container files, unsafe calls, known vulnerabilities; bill of materials
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports
	@$(BIN)/hadolint infra/Dockerfile && $(BIN)/check-jsonschema --builtin-schema vendor.compose-spec infra/compose.yaml infra/compose.cuda.yaml
	@$(BIN)/kubernetes-validate --quiet --strict infra/kubernetes/base.yaml
	@$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml timbre cli flows tasks infra benchmarks
	@$(BIN)/python infra/materials.py && $(BIN)/python infra/audit.py

mutants: install  ## break things on purpose; each must break a test
	@$(BIN)/python -m tests.mutants

golden: install  ## record anew what each stage stores (tests/golden_records), after its version was raised
	@TIMBRE_GOLDEN=record $(BIN)/python -m pytest -q tests/unit/golden

calibration: setup  ## texts of the untuned base for the Style Diversity Score, and its self-check; STYLE=…
	@$(BIN)/timbre evaluate --self-check --style $(STYLE)

proof: setup  ## cells of the proof that are missing, then its tables; goes on where it was ended
	@$(BIN)/python -m benchmarks.proof

lock: install  ## resolve requirements.lock; what is locked stays, but for UPGRADE="name …" (or all)
	@UPGRADE="$(UPGRADE)" $(BIN)/python infra/lock.py
