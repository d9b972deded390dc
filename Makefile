# Every command a contributor needs; `make help` lists them. Nothing here asks a question, and a
# second run of any target does only what changed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run test bench micro lint format draw hooks sanitize sanitize-e2e servers-asan servers-tsan kserve soak fuzz wheel clean

PYTHON ?= python3
# `make test EXTRAS=test,train` also installs what the slower tests need.
EXTRAS ?= test
export CMAKE_BUILD_PARALLEL_LEVEL ?= $(shell nproc)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(CURDIR)/.venv/bin:$(PATH)

BIN := .venv/bin
PIP := $(BIN)/pip install -q --no-input
comma := ,
CORE_SOURCES := $(shell find csrc kernels -name '*.h' -o -name '*.cc' -o -name '*.cu')

help: ## Say what the targets do.
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 14

# -- Setting up ----------------------------------------------------------------------------------

setup: .venv/.built ## Make .venv with an editable fastserve; minutes once, then nothing.

.venv/.made: apt-packages.txt tools/install-apt-packages
	@echo "[1/4] system packages"
	@tools/install-apt-packages
	@echo "[2/4] virtual environment .venv"
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 is needed")'
	@touch $@

.venv/.required: .venv/.made pyproject.toml
	@echo "[3/4] build requirements"
	@$(BIN)/python tools/requirements.py build | $(PIP) -r /dev/stdin
	@touch $@

.venv/.built: .venv/.required CMakeLists.txt python/fastserve/__init__.py $(CORE_SOURCES)
	@echo "[4/4] the core, and fastserve[$(EXTRAS)]"
	@$(PIP) --no-build-isolation -e '.[$(EXTRAS)]'
	@touch $@

.venv/.lint: .venv/.required
	@echo "linters"
	@$(BIN)/python tools/requirements.py lint | $(PIP) -r /dev/stdin
	@touch $@

# -- Using and testing ---------------------------------------------------------------------------

run: setup ## Serve the digits example and ask it; ONCE=1 stops after the first answers.
	@$(BIN)/python examples/digits/demo.py $(if $(ONCE),--once)

test: setup ## Every test: C++, Python and the tree's own rules. ARGS go to pytest.
	@$(BIN)/pytest $(ARGS)

bench: wheel ## The figures of the installed wheel, then the micro-benchmarks; ARGS go to bench.serve.
	@$(BIN)/python -m bench.serve $(ARGS)
	@$(MAKE) --no-print-directory micro

micro: setup ## Build and run the micro-benchmarks alone.
	@$(BIN)/cmake --preset bench >/dev/null
	@$(BIN)/cmake --build --preset bench
	@for program in build/bench/bench/micro/*_bench; do \
	  [ -x "$$program" ] || continue; echo "== $$(basename $$program)"; "$$program"; done

lint: setup .venv/.lint ## Format, types, spelling and clang-tidy; TIDY=all for every C++ file.
	@$(BIN)/python tools/lint.py $(if $(TIDY),--tidy=$(TIDY))

format: .venv/.lint ## Rewrite the sources as the linters want them.
	@$(BIN)/ruff check -q --fix-only .
	@$(BIN)/ruff format -q .
	@git ls-files -co --exclude-standard '*.h' '*.cc' '*.cu' | xargs -r $(BIN)/clang-format -i

hooks: setup .venv/.lint ## Let git run the quick linters before each commit.
	@$(BIN)/pre-commit install

draw: setup ## Write anew the parts of documents that are made from tables of the tree.
	@$(BIN)/python -m tests.tidy.drawing
	@$(BIN)/python -m tests.examples.tables

sanitize: setup ## The C++ tests under ASan with UBSan, then under TSan.
	@$(BIN)/pytest tests/csrc tests/kernels tests/sim --cpp-preset=asan $(ARGS)
	@$(BIN)/pytest tests/csrc tests/kernels tests/sim --cpp-preset=tsan $(ARGS)

SERVER_SUITES := tests/test_cores.py tests/conformance tests/attacks tests/python/server tests/python/client/shm
sanitize-e2e: setup ## The suites that talk to servers, whose core runs under ASan with UBSan, and TSan.
	@$(MAKE) --no-print-directory -j2 --output-sync=target servers-asan servers-tsan

servers-asan servers-tsan: servers-%: setup # Side by side: half the time they wait.
	@$(BIN)/pytest $(SERVER_SUITES) --core-preset=$* $(ARGS)

kserve: build/kserve-venv/.made ## KServe's Python SDK, in an environment of its own: its clients are tested, too.

build/kserve-venv/.made: tests/conformance/kserve-requirements.txt .venv/.made
	@$(BIN)/python -m venv build/kserve-venv
	@build/kserve-venv/bin/pip install -q --no-input -r tests/conformance/kserve-requirements.txt
	@touch $@

soak: setup ## An hour of mixed and hostile traffic (DURATION=5m, RATE=150, CORE=asan): nothing lost or grown.
	@$(BIN)/python -m tools.soak $(if $(DURATION),--duration=$(DURATION)) $(if $(RATE),--rate=$(RATE)) \
	  $(if $(CORE),--core-preset=$(CORE)) $(ARGS)

fuzz: setup ## Each fuzz target for SECONDS_EACH (20), from its committed corpus.
	@$(BIN)/python tools/fuzz.py --seconds=$(or $(SECONDS_EACH),20)

wheel: setup ## Build the wheel into dist/, self-contained, and import it in a clean room.
	@$(BIN)/python tools/wheel.py
	@FASTSERVE_REQUIRE_WHEEL=1 $(BIN)/pytest -q tests/wheel

clean: ## Remove what was built; keep .venv.
	@rm -rf build dist
