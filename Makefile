# make demo    real pictures over real channels: figures and a report in demo/
# make test    all tests
# Both set up .venv first (Python 3.11 or newer and a network are all they need); the second time that is quick.

PYTHON ?= python3
# PyTorch first, and pinned: what comes later must not pull in another build. On a machine with a GPU, or to choose a
# build: make TORCH="torch==2.13.0 --index-url ..."
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quicktest lint clean

$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/.ready
	$(BIN)/python studies/demo.py --out demo

test: $(VENV)/.ready
	$(BIN)/python -m pytest

quicktest: $(VENV)/.ready
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build *.egg-info src/*.egg-info
