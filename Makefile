# Each target sets the machine up by itself, from nothing but python3 and pip.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup setup-aot demo test test-aot test-slow check format lock clean

help:  ## say what the targets do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/installed  ## install the locked packages into .venv

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 12) <= sys.version_info < (3, 14) else "atelier needs Python 3.12 or 3.13, this is " + sys.version.split()[0] + ": make PYTHON=python3.13 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --editable '.[rl,test,check]'
	touch $@

demo: setup  ## train a diffusion model on digits, sample and score it: runs/demo
	$(BIN)/python -m launch.train --config=configs/ddpm.py:digits --workdir=runs/demo
	$(BIN)/python -m launch.evaluate --workdir=runs/demo

test: setup  ## the fast suite
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -q -m 'not slow and not aot' --numprocesses=auto --dist=worksteal

test-slow: setup  ## the long tests: kills at random, whole protocols
	JAX_PLATFORMS=cpu $(BIN)/python -m pytest -q -m slow

setup-aot: .venv-aot/installed  ## install the compilers of kernels into .venv-aot, 3 GB

test-aot: setup-aot  ## compile every kernel for TPUs and GPUs that are not here
	JAX_PLATFORMS=cpu .venv-aot/bin/python -m pytest -q -m aot

# The compilers have an environment of their own: JAX would look for their devices in every command.
.venv-aot/installed: .venv/installed
	test -x .venv-aot/bin/python || $(PYTHON) -m venv .venv-aot
	$(BIN)/uv pip install --quiet --python .venv-aot/bin/python --constraint requirements.lock --editable '.[aot,peers,test]'
	touch $@

check: setup  ## format, lint, types, import layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## let ruff rewrite the tree
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup  ## resolve the dependencies anew, names, versions and hashes only
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --generate-hashes --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

clean:  ## remove the environments and caches of this folder, keep runs/
	rm -rf .venv .venv-aot .pytest_cache .ruff_cache .mypy_cache *.egg-info
