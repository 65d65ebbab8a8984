# make demo    real pictures over real channels: figures and a report in demo/
# make test    all tests
# make docs    the documentation as a web site, docs/_build/html/index.html
# All set up .venv first (Python 3.11 or newer and a network are all they need); the second time that is quick.

PYTHON ?= python3
# PyTorch first, and pinned: what comes later must not pull in another build. On a machine with a GPU, or to choose a
# build: make TORCH="torch==2.13.0 --index-url ..."
TORCH ?= torch==2.13.0
PROCESSES ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test quicktest lint docs clean

$(VENV)/.ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

$(VENV)/.docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

# the other environment of examples/tensorflow_codec: TensorFlow, which cannot live in the first
.venv-tensorflow/.ready: examples/tensorflow_codec/requirements.txt
	$(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/python -m pip install --quiet --upgrade pip
	.venv-tensorflow/bin/python -m pip install --quiet --requirement examples/tensorflow_codec/requirements.txt
	touch $@

# DEMO_FLAGS="--set draws=1" makes it shorter
demo: $(VENV)/.ready
	@mkdir -p demo
	$(BIN)/jscclink run studies/demo.yaml --out demo/results --processes $(PROCESSES) $(DEMO_FLAGS) > demo/curves.txt
	$(BIN)/jscclink plot demo/results --band draws -o demo/psnr.pdf > /dev/null
	$(BIN)/jscclink plot demo/results --band draws -o demo/psnr.png > /dev/null
	$(BIN)/jscclink plot demo/results --metric outage -o demo/outage.png > /dev/null
	$(BIN)/jscclink export demo/results -o demo/results.csv > /dev/null
	for snr in 4 8 16; do $(BIN)/jscclink show kodim23 --scheme 'digital:mcs=16qam 1/2' --esno $$snr --cbr 1/12 -o demo/received_$${snr}dB.png; done
	for snr in 4 8 16; do $(BIN)/jscclink show kodim23 --scheme hjscc --esno $$snr --cbr 1/12 -o demo/hjscc_$${snr}dB.png; done
	$(BIN)/jscclink report demo/results -o demo/report.html
	@echo; echo 'The demo is in demo/:'
	@echo '  report.html            everything on one page: open it in a browser'
	@echo '  psnr.pdf, psnr.png     PSNR over SNR on AWGN (the cliff) and slow Rayleigh fading, with the capacity bound'
	@echo '  outage.png             outage rate over SNR'
	@echo '  received_*dB.png       a picture below, just above and far above the threshold of 16-QAM 1/2'
	@echo '  hjscc_*dB.png          the same by HJSCC: no cliff'
	@echo '  curves.txt             the table; results.csv: every number with its interval; results/: the store'

test: $(VENV)/.ready
	$(BIN)/python -m pytest

quicktest: $(VENV)/.ready
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# nothing is run and nothing fetched: notebooks are shown as they are
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo 'docs/_build/html/index.html'

clean:
	rm -rf $(VENV) .venv-tensorflow demo build docs/_build *.egg-info src/*.egg-info
