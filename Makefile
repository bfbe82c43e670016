# Everything happens in .venv; a bare machine needs python3 3.10..3.13 (with venv), make and network.
#   make demo               the run browser on sample runs, in JupyterLab (ARGS=--check: no screen)
#   make app                the demo's runs as a read-only page (ARGS=--write: not read-only)
#   make test               everything, on real servers (ARGS="-k name": some of it; WORKERS=0: in
#                           one process, as -s and a debugger need it)
#   make test-lowest        the tests without a browser, at the lowest versions that are allowed
#   make soak               what draws its cases, for hours: faults, kills, worlds, browsing (prints a
#                           table; ARGS="--kills 20 --worlds 0 ...")
#   make test-integrations  the callbacks with the real torch, transformers and lightning, in an
#                           environment of their own (on Linux several GB)
#   make bench              expmgr beside what one would otherwise run, into docs/performance.md: an
#                           hour (ARGS="--only P1,P3": some of it; ARGS=--quick: does it work?)
#   make check              format, lint, types
#   make format             let ruff rewrite
#   make docs               the documentation as a site, into site/ (strict, and without a network)
#   make screenshots        take the documentation's pictures anew
#   make clean              remove the environment and the demo's data

ARGS ?=
WORKERS ?= 2
VENV ?= .venv
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$p" -c '$(SUITABLE)' 2>/dev/null && { command -v "$$p"; break; }; done)
PY := $(VENV)/bin/python
LOWEST ?= .venv-lowest
# The lowest versions have no wheels for later ones.
PYTHON_LOWEST ?= $(shell for p in python3.10 python3.11; do \
	"$$p" -c '$(SUITABLE)' 2>/dev/null && { command -v "$$p"; break; }; done)
INPUTS := pyproject.toml constraints.txt
INTEGRATIONS := .venv-integrations
# A cleared PYTHONPATH: the environment's own packages, nobody else's.
unexport PYTHONPATH PYTHONHOME

.DEFAULT_GOAL := help
.PHONY: help demo app test test-lowest test-integrations soak bench check format docs screenshots clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.demo
	@$(PY) -m expmgr demo $(ARGS)

app: $(VENV)/.app
	@$(PY) -m expmgr app $(ARGS)

test: $(VENV)/.test
	@$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-lowest: $(LOWEST)/.test
	@$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		-m 'not chromium and not demo' $(ARGS)

test-integrations:
	@$(MAKE) --no-print-directory VENV=$(INTEGRATIONS) $(INTEGRATIONS)/.integrations
	@$(INTEGRATIONS)/bin/python -m pytest $(ARGS) tests/test_integrations_real.py tests/test_integrations.py

soak: $(VENV)/.test
	@$(PY) tests/soak.py $(ARGS)

bench: $(VENV)/.test
	@$(PY) -m benchmarks $(ARGS)

check: $(VENV)/.check
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy

format: $(VENV)/.check
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict $(ARGS)
	@echo "The site is in site/; with its search: $(PY) -m http.server --bind 127.0.0.1 -d site"

screenshots: $(VENV)/.test
	$(PY) docs/screenshots.py
	$(PY) docs/browser_screenshots.py

$(PY):
	@test -n "$(PYTHON)" || { echo "expmgr needs Python 3.10 to 3.13 with its venv module (on Debian: apt install python3-venv); name one with: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo $(VENV)/.app $(VENV)/.test $(VENV)/.check $(VENV)/.integrations $(VENV)/.docs: $(VENV)/.%: $(PY) $(INPUTS)
	@echo "Installing what 'make $*' needs into $(VENV) ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

$(LOWEST)/.test: $(INPUTS)
	@test -n "$(PYTHON_LOWEST)" || { echo "the lowest versions need Python 3.10 or 3.11; name one with: make test-lowest PYTHON_LOWEST=/path/to/python3.10" >&2; exit 1; }
	$(PYTHON_LOWEST) -m venv --clear $(LOWEST)
	@echo "Installing the lowest versions that are allowed into $(LOWEST) ..."
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	@$(LOWEST)/bin/python -m uv pip install --quiet --system-certs --python $(LOWEST) --resolution lowest-direct -e '.[test]'
	@touch $@

clean:
	rm -rf $(VENV) $(LOWEST) $(INTEGRATIONS) .expmgr-demo site
