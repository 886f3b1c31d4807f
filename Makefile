# `make demo` and `make test` do all their own set-up: a virtual environment in .venv, and nothing outside this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint docs notebooks clean
.DEFAULT_GOAL := demo

demo: $(VENV)/.package
	$(BIN)/palmist demo --out out

test: $(VENV)/.developer lint
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu"

lint: $(VENV)/.developer
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --strict --quiet

notebooks: $(VENV)/.developer
	$(BIN)/python tools/make_notebooks.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Palmist needs Python 3.11 or newer; found $$($(PYTHON) --version). Run: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.package: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.developer: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@ $(VENV)/.package

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
	touch $@ $(VENV)/.package

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
