# Living Models. `make` builds the book, `make test` checks everything, `make help` lists the rest.
# The environment is kept in .venv, the built site in _build/html.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := book
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
PORT ?= 8000
export PYTHONUNBUFFERED := 1
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help book serve test lint unit browser colab bench notebooks screens new site-archive environment colab-env bench-env clean distclean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: environment ## install if needed, run the chapters, build the site into _build/html
	@$(PY) -m lib.site.make book

serve: environment ## show the built site on localhost (PORT=8000)
	@$(PY) -m lib.site.serve --port $(PORT)

test: environment colab-env ## everything: lint, unit tests, chapters and book, browser, notebooks
	@$(PY) -m lib.site.make test

lint: environment ## ruff
	@$(PY) -m ruff check .

unit: environment ## unit and property tests and doctests, without the built site
	@$(PY) -m pytest --ignore=tests/browser --ignore=tests/colab

browser: environment ## drive Chromium over every page of the built site
	@$(PY) -m pytest tests/browser

colab: environment colab-env ## run the generated notebooks with Colab's versions of the libraries
	@$(PY) -m pytest tests/colab

bench: bench-env ## time each core against its peers, in one process
	@for script in benchmarks/*.py; do echo "== $$script"; PYTHONPATH=. .venv-bench/bin/python $$script; done

notebooks: environment ## write the Colab notebooks from the chapters
	@$(PY) -m lib.site.notebooks

screens: environment ## take the README's pictures of the built book
	@$(PY) -m lib.site.screens

new: environment ## scaffold a chapter: make new PART=dynamics SLUG=small-gain-nash
	@$(PY) -m lib.site.scaffold "$(PART)" "$(SLUG)"

site-archive: book ## the whole site as one file, _build/living-models-site.zip
	@cp _build/html/living-models-site.zip _build/ && ls -lh _build/living-models-site.zip

clean: ## remove the built site and all caches of the build
	rm -rf _build .pytest_cache .ruff_cache .hypothesis build *.egg-info

distclean: clean ## as clean, and remove the environments
	rm -rf .venv .venv-colab .venv-bench

# The environment is complete when .venv/requirements.txt equals ours: dates of files do not matter, an unchanged list installs nothing.
environment:
	@if ! cmp -s requirements.txt .venv/requirements.txt; then \
	  found=""; \
	  for name in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
	    if "$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then found="$$name"; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "No Python 3.11, 3.12 or 3.13 is on PATH. Install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
	  fi; \
	  if ! $(PY) -c '' 2>/dev/null; then \
	    echo "Creating .venv with $$($$found --version)"; \
	    "$$found" -m venv --clear .venv || { echo "python -m venv failed; on Debian and Ubuntu install python3-venv" >&2; exit 1; }; \
	  fi; \
	  echo "Installing requirements.txt into .venv (a few minutes the first time)"; \
	  $(PY) -m pip install --progress-bar on -r requirements.txt; \
	  cp requirements.txt .venv/requirements.txt; \
	fi

# A second environment with Colab's versions of plotly, ipywidgets, IPython and numpy, in which the notebooks are executed.
colab-env: environment
	@if ! cmp -s requirements-colab.txt .venv-colab/requirements.txt; then \
	  echo "Installing requirements-colab.txt into .venv-colab (a few minutes the first time)"; \
	  $(PY) -m venv --clear .venv-colab; \
	  .venv-colab/bin/python -m pip install --progress-bar on -r requirements-colab.txt; \
	  cp requirements-colab.txt .venv-colab/requirements.txt; \
	fi

# A third environment: the book's own and the peers of the benchmarks.
bench-env: environment
	@if ! cat requirements.txt requirements-bench.txt | cmp -s - .venv-bench/requirements.txt; then \
	  echo "Installing requirements-bench.txt into .venv-bench (a few minutes the first time)"; \
	  $(PY) -m venv --clear .venv-bench; \
	  .venv-bench/bin/python -m pip install --progress-bar on -r requirements-bench.txt; \
	  cat requirements.txt requirements-bench.txt > .venv-bench/requirements.txt; \
	fi
