# One recipe for each thing a developer or a newcomer does.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= .demo
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench bench-cost bench-state bench-overhead bench-store sanitize soak soak-short zoo clean install

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

# What looking at the state costs, e.g. make bench-state BENCH="--part hash".
bench-state: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/state.py $(BENCH)

# How small states get, and what that costs, e.g. make bench-store BENCH="--part codec".
bench-store: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/store.py $(BENCH)

# What recording a training costs, beside saving by hand; an hour. BENCH="--workload mlp" is less.
bench-overhead: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/overhead.py $(BENCH)

# The tests of the C extension with every access to memory checked, and undefined behaviour.
SANITIZED ?= tests/test_native_hash.py tests/test_native_tensors.py tests/test_native_pack.py \
	tests/test_native_before.py tests/test_native_unseen.py tests/test_native_wrappers.py \
	tests/test_native_planes.py tests/test_columns.py tests/test_frames.py \
	tests/test_loop_events.py tests/test_speedups.py
sanitize: $(VENV)/.installed-dev
	rm -rf .sanitize
	CFLAGS="-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g" \
	FLOR_TRACE_BUILD_NATIVE=require $(BIN)/python setup.py -q build --build-base .sanitize \
		--build-lib .sanitize/lib --build-temp .sanitize/temp
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc \
	PYTHONSAFEPATH=1 PYTHONPATH=.sanitize/lib \
		$(BIN)/python -m pytest -q -p no:randomly -p no:cacheprovider $(SANITIZED)

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

# With a server and a client that speak S3, which some tests of push and pull need.
$(VENV)/.installed-s3: $(VENV)/.installed-dev
	$(INSTALL) -e ".[dev-s3]"
	touch $@

# Every program of the zoo from every checkpoint, with one and with two threads: half an hour.
zoo: $(VENV)/.installed-dev
	FLOR_TRACE_ZOO=all $(BIN)/python -m pytest -n auto tests/zoo

clean:
	rm -rf $(VENV) $(DEMO) .soak .sanitize build flor_trace/*.so *.egg-info
