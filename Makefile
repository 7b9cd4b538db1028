PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := env -u UV_FIND_LINKS VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv

.PHONY: demo test lint docs slow clean

$(VENV)/.stamp: requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(UV) pip install --quiet -r requirements/lock.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@

demo: $(VENV)/.stamp  ## train teacher, RGB student and D3D on synthetic videos; table and pictures in runs/demo
	$(BIN)/python -m examples.d3d.run pocket --output-dir runs/demo

test: $(VENV)/.stamp
	$(BIN)/python -m pytest

lint: $(VENV)/.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

slow: $(VENV)/.stamp  ## the slow fault tests
	$(BIN)/python -m pytest -m slow

lock: $(VENV)/.stamp  ## make requirements/lock.txt anew from pyproject.toml and the pins
	$(UV) pip compile --universal --python-version 3.11 --no-annotate --no-header --extra all \
	  -c requirements/constraints.txt pyproject.toml -o requirements/lock.txt
