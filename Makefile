PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := env -u UV_FIND_LINKS VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/uv

.PHONY: demo test test-demo test-pages test-portable floors lint docs accessibility slow lock

$(VENV)/.stamp: requirements/lock.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet uv
	$(UV) pip install --quiet --require-hashes -r requirements/lock.txt
	$(UV) pip install --quiet --no-deps -e .
	touch $@

demo: $(VENV)/.stamp  ## train teacher, RGB student and D3D on synthetic videos; table and pictures in runs/demo
	$(BIN)/python -m examples.d3d.run pocket --output-dir runs/demo

# One process for each core, at most eight; each computes on one thread, and takes a file of tests at a time.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile

test: $(VENV)/.stamp
	OMP_NUM_THREADS=1 $(PYTEST)

# Files, downloads and builds: they compute nothing that another processor rounds otherwise, and take minutes.
NOT_NUMERIC := --ignore=tests/models/test_hub.py --ignore=tests/models/checkpoints/test_conversion.py \
  --ignore=tests/models/checkpoints/test_weight_files.py --ignore=tests/models/checkpoints/test_tf_checkpoint.py \
  --ignore=tests/flow/test_store.py --ignore=tests/flow/test_sanitized.py \
  --deselect=tests/flow/test_backends.py::test_processes_build_once_and_leave_one_file \
  --deselect=tests/models/checkpoints/test_torchvision_s3d.py::test_torchvision_file

test-portable: $(VENV)/.stamp  ## networks and flow again, as a plainer processor rounds: PyTorch without vectors, oneDNN at AVX2
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2 OMP_NUM_THREADS=1 $(PYTEST) tests/models tests/flow $(NOT_NUMERIC)

lint: $(VENV)/.stamp
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-pages: $(VENV)/.stamp  ## the Python blocks of the pages in fresh environments, with the core and with [video]; commands with [d3d]
	set -e; for extra in core video; do folder=$$(mktemp -d); $(PYTHON) -m venv $$folder; \
	  env -u UV_FIND_LINKS VIRTUAL_ENV=$$folder $(BIN)/uv pip install --quiet -c requirements/constraints.txt \
	    -e $$([ $$extra = core ] && echo . || echo ".[$$extra]"); \
	  $$folder/bin/python tests/docs/run_blocks.py $$extra; rm -r $$folder; done
	set -e; folder=$$(mktemp -d); $(PYTHON) -m venv $$folder; \
	  env -u UV_FIND_LINKS VIRTUAL_ENV=$$folder $(BIN)/uv pip install --quiet -c requirements/constraints.txt \
	    -e ".[d3d]" scikit-learn pytest pytest-timeout; \
	  $$folder/bin/python -m pytest -p no:cacheprovider tests/docs/test_commands.py; \
	  $$folder/bin/python examples/logit_distillation.py; rm -r $$folder

floors: $(VENV)/.stamp  ## the oldest and the newest versions that pyproject.toml allows, in fresh environments; before a release
	set -e; for which in oldest newest; do env -u UV_FIND_LINKS $(BIN)/python tests/release/floors.py $$which; done

test-demo: $(VENV)/.stamp  ## the page of kdvideo demo in a fresh environment: gradio pins an older Pillow than the lock has
	set -e; folder=$$(mktemp -d); $(PYTHON) -m venv $$folder; \
	  env -u UV_FIND_LINKS VIRTUAL_ENV=$$folder $(BIN)/uv pip install --quiet -c requirements/constraints.txt \
	    -e ".[demo]" pytest pytest-timeout selenium; \
	  $$folder/bin/python -m pytest tests/demo; rm -r $$folder

docs: $(VENV)/.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

accessibility: $(VENV)/.stamp  ## the site in Chromium, by axe-core: contrast, keyboard, width; needs chromium and npm
	npm install --prefix tests/docs/browser --no-package-lock --no-audit --no-fund
	$(BIN)/python -m pytest -m slow tests/docs/test_site.py

slow: $(VENV)/.stamp  ## the slow fault tests
	$(BIN)/python -m pytest -m slow

lock: $(VENV)/.stamp  ## make requirements/lock.txt anew from pyproject.toml and the pins; without demo, see test-demo
	$(UV) pip compile --universal --python-version 3.11 --no-annotate --no-header \
	  --extra d3d --extra cluster --extra export --extra dev \
	  --generate-hashes -c requirements/constraints.txt pyproject.toml -o requirements/lock.txt
