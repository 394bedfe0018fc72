PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
# Processes of the test suite; the tests of a file, and of files that share a server, stay in one, slow files first.
# Threads that spin while they wait would take the CPUs of the other processes. What one process compiles the others
# read, also where the environment says no.
TESTERS ?= 4
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(TESTERS) --dist loadfile --no-loadscope-reorder
# pip compiles what it installs in one process; this does in as many as there are CPUs, all but the libraries' own tests,
# so that the first start is no slower than the next. What cannot be compiled is left. For tests that run once, `make test
# COMPILE=true` is faster: the first of their processes compiles the third of it that they load.
COMPILE = $(BIN)/python -m compileall -qq -j 0 -x 'packages/.*/tests/' $(VENV)/lib || true
# uv, where there is one, takes a quarter of the time: make INSTALL="uv pip install --python .venv"
INSTALL = $(BIN)/python -m pip install --progress-bar on --no-compile

.PHONY: run demo test all-tests fast-test lint quick-lint types docs bench soak fuzz audit clean

run: $(VENV)/.run-installed
	$(BIN)/streamlit run app.py --server.port $(PORT)

# mypy's first run keeps one CPU busy for minutes: the tests begin beside it.
test: $(VENV)/.dev-installed quick-lint
	$(MAKE) --no-print-directory --jobs 2 types all-tests

all-tests: $(VENV)/.dev-installed
	$(PYTEST)

fast-test: $(VENV)/.dev-installed
	$(PYTEST) -m "not slow"

lint: quick-lint types

quick-lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/lint-imports --no-cache --no-logo

types: $(VENV)/.dev-installed
	$(BIN)/mypy

docs: $(VENV)/.run-installed
	$(BIN)/python -m docs.parameters
	$(BIN)/python -m docs.shapes
	$(BIN)/python -m docs.claims

# A public demonstration with something on every page; the store is SINKSCOPE_HOME's.
demo: $(VENV)/.run-installed
	$(BIN)/python -m analysis demo
	SINKSCOPE_DEMO=1 $(BIN)/streamlit run app.py --server.port $(PORT)

# What compares two ways of doing the same, into benchmarks/ratios.md: on an otherwise idle machine.
bench: $(VENV)/.dev-installed
	$(BIN)/python -m benchmarks

# Hundreds of mixed jobs with cancels and dying workers; `make soak SOAK="--pause 80 --planned 0.04 --patience 5400"` takes an hour.
soak: $(VENV)/.dev-installed
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.soak $(SOAK)

# Hostile inputs at every door, then a minute for each reader of binary files.
fuzz: $(VENV)/.dev-installed
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m tests.fuzz.doors
	$(BIN)/python -m pip install --quiet -r requirements-fuzz.txt
	FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest -q tests/test_fuzz.py
	$(BIN)/python -m tests.fuzz.readers recordings -max_total_time=60
	$(BIN)/python -m tests.fuzz.readers weights -max_total_time=60

# Known weaknesses of what the requirements install today, which pip works out in a place of its own; asks the advisory
# database.
audit: | $(BIN)/python
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/python -m pip_audit -r requirements.txt

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "SinkScope needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	@echo "Making a virtual environment in $(VENV)."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# The stamps make a second run start at once; they are older than the requirements only after an edit.
$(VENV)/.run-installed: requirements.txt | $(BIN)/python
	@echo "Installing what SinkScope needs. It takes a minute, and many with a CUDA build of PyTorch (some GB)."
	$(INSTALL) -r requirements.txt
	$(COMPILE)
	@echo "Installed. The address follows."
	touch $@

$(VENV)/.dev-installed: requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing what SinkScope and its tests need."
	$(INSTALL) -r requirements-dev.txt
	$(COMPILE)
	touch $@ $(VENV)/.run-installed
