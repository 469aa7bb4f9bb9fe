# `make` alone lists the targets. Everything runs in one virtual environment, .venv, made on first use.
PYTHON ?= python3
STUDY ?=
CORPUS ?=
SCALE ?=
SET ?=
CHOICES = $(STUDY:%=study=%) $(CORPUS:%=corpus=%) $(SCALE:%=scale=%) $(SET)
JOBS ?=
CARD ?=
CARDS ?= 1
BEFORE ?= 06de025 # what bench/experiment.py compares with: the last revision before the work on speed
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro test bugs mutants slow bench check format params plan manifests docs lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready ## make the environment (a few minutes, once)

.venv/ready: requirements.txt requirements-nodeps.txt requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v != (3, 11) and \
	f"Python 3.11 is needed (no other was tested); got {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@command -v c++ >/dev/null || \
	{ echo "A C++ compiler is needed to build fairseq; install g++ or clang"; exit 1; }
	@echo "[setup] 1/3 virtual environment .venv"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade -c requirements.lock pip setuptools wheel
	@echo "[setup] 2/3 packages, pinned by requirements.lock (torch is large)"
	@$(BIN)/python -m pip install --quiet --progress-bar off -c requirements.lock -r requirements.txt
	@echo "[setup] 3/3 fairseq, built from source (about three minutes)"
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -r requirements-nodeps.txt
	@touch .venv/ready

repro: setup ## run the pipeline as params.yaml says, what is stale of it (JOBS=1: one stage at a time)
	@PYTHONPATH=src exec python -m runner $(JOBS)

test: setup ## run all tests, as many files at once as there are cores
	@python -m pytest -n auto --dist loadfile --no-loadscope-reorder

bugs: setup ## plant known bugs in a copy and see that the tests catch each (minutes)
	@python -m tests.planted_bugs

mutants: setup ## change the code in some five hundred places and see which changes tests notice (hours)
	@$(BIN)/python -m pip install --quiet -c requirements.lock -r requirements-mutants.txt
	@python -m tests.mutants

slow: bugs ## what takes too long for `make test` (the corpus's archive must have been fetched)
	@python -m pytest -m slow

bench: setup ## measure everything side by side and write reports/bench.md (hours; after make repro)
	@for script in training precision quality levers methods teacher start_up data_stages memory gpu \
	forecast; do python bench/$$script.py || exit 1; done
	@python bench/languages.py && python bench/small_tests.py
	@python bench/peers.py && python bench/experiment.py --before $(BEFORE) && python bench/experiment.py --bfloat16
	@python bench/harness.py

check: setup ## format, lint and types, without changing anything
	@ruff format --check . && ruff check . && mypy

format: setup ## format the code
	@ruff format . && ruff check --fix .

params: setup ## compose conf/ into params.yaml (STUDY=noise CORPUS=multi30k SCALE=cpu SET='training.lr=0.003')
	@python -c "import os; from dvc.utils.hydra import compose_and_dump as c; \
	c('params.yaml', os.path.abspath('conf'), None, 'config', '.hydra_plugins', '$(CHOICES)'.split())"

plan: setup ## what that would cost, and what of it is there; CARD=h100 CARDS=8 for GPUs that are not here
	@PYTHONPATH=src python -m runner.forecast $(CHOICES) $(JOBS:%=--jobs %) --cards $(CARDS) $(CARD:%=--card %)

manifests: setup ## write manifests/ anew: git diff shows what an edit of the code makes stale
	@python -m stages.manifests

docs: setup ## write the tables of README and docs anew from reports/
	@PYTHONPATH=src python -m runner.documents

lock: setup ## pin what is installed now
	@{ head -n 1 requirements.lock; python -m pip freeze --all | grep -vE '^(pip|nvidia|triton|cuda)' \
	| sed -E 's/\+(cpu|cu[0-9]+)$$//'; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## remove scratch space and caches; data, models and results stay
	rm -rf .scratch .pytest_cache .mypy_cache .ruff_cache .hypothesis
