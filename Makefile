# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that run tests side by side; PYTEST_ARGS="-n 0" runs them in one, for a debugger.
TEST_PROCESSES ?= 2
PARALLEL := -n $(TEST_PROCESSES) --dist worksteal
# Without coverage, which would double their time and can count nothing of killed processes; one after the other, since
# they start processes enough by themselves.
PROOFS := tests/simulation tests/chaos tests/soak
BENCH ?= chain claims creation round_trips storage history large_state frames compare idle_workers
# Vulnerabilities that do not concern this project: --accept ID, each with its reason here.
AUDIT_ARGS ?=
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo docs lab notebooks test lint check packages bench wheel sbom audit clean help

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "avtomatika needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing avtomatika with what the notebooks need (a minute or two) ..."
	$(PIP_INSTALL) -e '.[notebook]' vega_datasets
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing avtomatika with everything that the tests need (a minute or two) ..."
	$(PIP_INSTALL) -e '.[all,docs,test]'
	@touch $@ $(VENV)/docs.stamp $(VENV)/demo.stamp

$(VENV)/docs.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the manual is made with (a minute or two) ..."
	$(PIP_INSTALL) -e '.[all,docs]'
	@touch $@ $(VENV)/demo.stamp

demo: $(VENV)/demo.stamp  ## run the quickstart notebook and print its summary
	$(BIN)/python notebooks/run.py notebooks/quickstart.ipynb

notebooks: $(VENV)/demo.stamp  ## run all notebooks; what they show is in build/notebooks
	$(BIN)/python notebooks/run.py notebooks/*.ipynb

docs: $(VENV)/docs.stamp  ## the manual as a site in build/docs, with all notebooks run
	$(BIN)/python -m sphinx -W --keep-going -n -q -c docs -D nb_execution_mode=force . build/docs
	@echo "the manual: build/docs/index.html"

lab: $(VENV)/demo.stamp  ## open JupyterLab on the quickstart notebook
	$(BIN)/python -m jupyterlab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks/quickstart.ipynb

test: packages $(VENV)/test.stamp lint  ## everything that CI runs
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term $(PROOFS:%=--ignore=%) $(PYTEST_ARGS)
	$(BIN)/python -m pytest $(PROOFS) $(PYTEST_ARGS)
	@$(MAKE) --no-print-directory sbom audit

check: $(VENV)/test.stamp lint  ## the quick part of the tests
	$(BIN)/python -m pytest $(PARALLEL) -m 'not acceptance' $(PYTEST_ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

packages:  ## Debian packages that the tests use; elsewhere the tests that need them are skipped
	@bash .ci/packages

bench: $(VENV)/test.stamp  ## how fast it is here; BENCH="chain claims" runs some of benchmarks/
	@for name in $(BENCH); do echo "--- $$name"; $(BIN)/python -m benchmarks.$$name || exit 1; done

wheel: $(VENV)/test.stamp  ## the files to publish, in dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist

sbom: wheel  ## their bill of materials (CycloneDX), in dist/
	$(BIN)/python -m release.bill dist/*.whl dist/avtomatika.cdx.json

audit: wheel  ## fails if something that the wheel requires is known to be vulnerable
	$(BIN)/python -m release.audit dist/*.whl $(AUDIT_ARGS)

clean:  ## remove what the other targets made
	rm -rf $(VENV) .venvs build dist .coverage .pytest_cache .mypy_cache .ruff_cache
