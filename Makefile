# The developers' verbs; CI calls the same ones.
# With the newest TensorFlow: make install test VENV=.venv-latest REQUIREMENTS=requirements-latest.txt
VENV ?= .venv
PYTHON ?= python3.11
REQUIREMENTS ?= requirements.txt
TESTS ?= tests
BIN = $(VENV)/bin

help:  ## list the verbs
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

install:  ## make an environment with everything that development needs
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -r $(REQUIREMENTS) -e '.[dev]'

format:  ## lay out the code
	$(BIN)/ruff check --select I --fix --quiet
	$(BIN)/ruff format

lint:  ## check layout and style
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types:  ## check type hints
	$(BIN)/mypy

test:  ## run the quick tests, or some: TESTS=tests/models
	$(BIN)/pytest --durations=10 $(TESTS)

slow:  ## run the slow tests
	$(BIN)/pytest -m slow --dist=loadgroup --durations=10

bench:  ## time a training step against the plain network
	$(BIN)/python -m benchmarks.step

findings:  ## run what shows other software's surprises; installs packages, not part of CI
	set -e; for script in findings/*.sh; do echo "== $$script"; PYTHON=$(PYTHON) $$script; done

docs:  ## build the documentation into site/
	$(BIN)/python docs/generate_options.py
	$(BIN)/mkdocs build --strict

writes:  ## go on from what a kill would leave at each write; an hour or more, needs a C compiler
	$(BIN)/python -m benchmarks.write_points

.PHONY: help install format lint types test slow bench findings docs writes
