# One recipe for each thing a developer or a newcomer does.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= .demo
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench bench-cost soak soak-short clean install

demo: $(VENV)/.installed
	examples/demo.sh $(abspath $(BIN))/python $(DEMO)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/run.py

# What recording costs; e.g. make bench-cost BENCH="--part suite --python python3.13".
bench-cost: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/instrument.py $(BENCH)

# Other people's programs with every loop rewritten, on each interpreter that is here; fetches
# their sources into .soak.  The short one is what CI runs.
soak:
	tests/soak/soak.sh all

soak-short:
	tests/soak/soak.sh slice

# torch first and pinned: pip would otherwise take the newest build with its CUDA packages.
$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	touch $@

SOURCES := pyproject.toml setup.py $(wildcard native/*.c native/*.h) $(wildcard flor_trace/*.py flor_trace/*/*.py flor_trace/*/*/*.py)

$(VENV)/.installed: $(VENV)/.torch $(SOURCES)
	$(INSTALL) ".[examples]"
	touch $@

# For development the package runs from the checkout, with the extension built in place.
$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml setup.py $(wildcard native/*.c native/*.h)
	$(INSTALL) -e ".[examples,dev]"
	touch $@

clean:
	rm -rf $(VENV) $(DEMO) .soak build flor_trace/*.so *.egg-info
