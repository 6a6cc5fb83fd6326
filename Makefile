# Two commands do all the set-up, each from a fresh clone: `make demo` and `make test`.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# One test process per core and one thread each: two processes at default threads would slow each other down.
FAST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow" -n auto
SLOW := $(BIN)/python -m pytest -q -m slow

.PHONY: demo test test-all check docs web accelerator-bundle accelerator-check kill-test clean

demo: $(VENV)/.installed  ## eight methods tuned, three seeds each, a recommendation and a report: about 10 minutes
	$(BIN)/peftscope compare studies/demo.yaml --workers 2
	$(BIN)/peftscope recommend studies/demo.yaml
	$(BIN)/peftscope report studies/demo.yaml

test: $(VENV)/.installed-dev  ## fast tests, under 10 minutes
	$(FAST)

test-all: $(VENV)/.installed-dev  ## and those on the real embedded models, under 75 minutes
	$(FAST)
	$(SLOW)

check: $(VENV)/.installed-dev  ## lint, types, fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks/*.py scripts/*.py
	$(FAST)

docs: $(VENV)/.installed-dev  ## the documentation site, in docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going docs docs/_build/html

web: web/node_modules  ## the page of report and explorer, from web/ into the package; needs node
	cd web && npm run --silent check && npm run --silent build

web/node_modules: web/package.json web/package-lock.json
	cd web && npm ci --silent
	@touch $@

accelerator-bundle: $(VENV)/.installed-dev  ## wheels for a machine with an accelerator and no network, in .accelerator
	$(BIN)/python scripts/accelerator_bundle.py

accelerator-check: $(VENV)/.installed  ## what runs do on this machine's accelerator, in 8 minutes; DEVICE=cpu on a CPU
	$(BIN)/python benchmarks/accelerator.py $(if $(DEVICE),--device $(DEVICE))

kill-test: $(VENV)/.installed  ## a hundred kills of a tuned study, nightly: about a quarter of an hour, into benchmarks/kills.md
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kills.py

clean:
	rm -rf $(VENV) results docs/_build docs/_generated

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV): a few minutes, once"
	$(INSTALL) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "setting up $(VENV): a few minutes, once"
	$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.installed
