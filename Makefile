# The contributor's guide: every task of the project is one target here, and `make` alone explains them.
# Everything is made inside the checkout (.venv and .cache); a target brings what it needs by itself.

PYTHON ?= python3
FLAVOUR ?= all
PYTEST_ARGS ?=
SEED ?=
MINUTES ?=
TARGET ?=
TESTS ?= tests/fast tests/fuzz tests/unit tests/conformance
MATRIX_ARGS ?=
BENCH_ARGS ?=
PROOF_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
EXTENSIONS := $(wildcard chasquimq/_fast/*.pyx chasquimq/_fast/*.pxd)
CODE := chasquimq tests examples benchmarks tools setup.py
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := help
.PHONY: help env servers test test-matrix proof chaos soak fuzz sanitize demo lint types format docs bench bench-peers \
	bench-check micro wheels clean

help: ## this text
	@echo "ChasquiMQ for Python: what can be made here"
	@echo
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-19s %s\n", $$1, $$2 }'
	@echo
	@echo "The first call of any of them makes the environment .venv (PYTHON=$(PYTHON), 3.11 or newer, with a C"
	@echo "compiler); edited Cython modules are compiled again by themselves. Before a commit: make lint types test"
	@echo
	@echo "Examples:"
	@echo "  make test PYTEST_ARGS='tests/unit -x'          some tests, up to the first failure"
	@echo "  make test PYTEST_ARGS='-p no:randomly'         in the written order (the seed is in the output's head)"
	@echo "  CHASQUIMQ_TEST_SERVER=valkey-9 make test       on another server: redis-7.0, redis-8.2, redis-8.6, valkey-9"
	@echo "  make test-matrix MATRIX_ARGS='--servers redis-7.0,valkey-9 --pythons 3.13 tests/conformance'"
	@echo "  CHASQUIMQ_DEBUG=1 make -B env                  extension modules with bounds checks"

# Two stamps: a changed Cython module needs a compiler run, not a new look at all dependencies. So the package is
# installed without its extension modules, and they are compiled in place by the second rule, in either case.
$(VENV)/.installed: pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11. Name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "Making the environment $(VENV) with $$($(PYTHON) --version) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "On Debian, install the package python3-venv." >&2; exit 1; }
	@CHASQUIMQ_NO_EXTENSIONS=1 $(BIN)/python -m pip install -qq -e '.[dev]'
	@touch $@

# The build leaves an extension out if it cannot be compiled (users then get the pure twins); here that is an error.
$(VENV)/.built: $(VENV)/.installed $(EXTENSIONS)
	@echo "Compiling the extension modules ..."
	@$(BIN)/python setup.py -q build_ext --inplace >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log >&2; exit 1; }
	@suffix=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'); \
	for source in $(filter %.pyx,$(EXTENSIONS)); do \
		test -f "$${source%.pyx}$$suffix" || { \
			cat $(VENV)/build.log >&2; echo "$$source was not compiled: a C compiler and Python's headers are needed (on Debian: gcc python3-dev)." >&2; exit 1; }; \
	done
	@touch $@

env: $(VENV)/.built ## the environment: dependencies, tools, compiled extensions

# Tests that need one which cannot be had are skipped, and say so; CI insists on Redis 8.6 and the reference.
servers: env ## the test servers and the reference implementation, into .cache
	@$(BIN)/python -m tests.servers ensure -q redis-8.6 reference || $(if $(CI),exit 1,true)
	@$(BIN)/python -m tests.servers ensure -q redis-8.2 redis-7.0 valkey-9 || true

test: servers ## the whole test suite against real servers (PYTEST_ARGS="...")
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-matrix: servers ## the suite on all four servers, with this Python and the newest one (MATRIX_ARGS="...")
	@$(BIN)/python -m tests.matrix $(MATRIX_ARGS)

proof: servers ## break one feature after another: do the tests in docs/proof.md notice? (PROOF_ARGS="...")
	@$(BIN)/python tools/write_proof.py
	@$(BIN)/python tools/check_proof.py $(PROOF_ARGS)

chaos: servers ## kill workers, producers and the server at random, and count what became of every job (SEED=, MINUTES=)
	@$(BIN)/python -m tests.faults.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

soak: servers ## millions of jobs, workers that come and go: does anything grow? (MINUTES=)
	@$(BIN)/python -m tests.faults.soak $(if $(MINUTES),--minutes $(MINUTES))

# In the same environment, but only when it is asked for: it has no wheels for some Pythons.
$(VENV)/.fuzz: $(VENV)/.installed
	@CHASQUIMQ_NO_EXTENSIONS=1 $(BIN)/python -m pip install -qq -e '.[fuzz]'
	@touch $@

# With clang, the compiled modules are guided too; without it, they only run beside their twins.
GUIDED = $(if $(shell command -v clang),$(BIN)/python tools/variant.py coverage) $(CURDIR)/$(BIN)/python
fuzz: env $(VENV)/.fuzz ## hostile bytes for every decoder, guided by what they reach (MINUTES=, TARGET=; tests/fuzz/README.md)
	@$(GUIDED) -m tests.fuzz $(TARGET) --minutes $(or $(MINUTES),5)

sanitize: servers ## tests with extension modules that end at the first wrong access (TESTS=, PYTEST_ARGS="...")
	@$(BIN)/python tools/variant.py sanitize $(CURDIR)/$(BIN)/python -m pytest $(TESTS) $(PYTEST_ARGS)

demo: env ## see it work: sync, asyncio and trio in a minute (FLAVOUR=sync, asyncio, trio or all)
	@$(BIN)/python -m examples.demo $(FLAVOUR)

lint: env ## style and likely mistakes (ruff)
	@$(BIN)/ruff check $(wildcard $(CODE))
	@$(BIN)/ruff format --check $(wildcard $(CODE))

types: env ## static types (mypy --strict and pyright)
	@$(BIN)/mypy --strict chasquimq
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: env ## rewrite the code in the house style
	@$(BIN)/ruff check --fix-only -q $(wildcard $(CODE))
	@$(BIN)/ruff format $(wildcard $(CODE))

# In the same environment, but only when it is asked for: nothing else needs these packages.
$(VENV)/.docs: $(VENV)/.installed
	@CHASQUIMQ_NO_EXTENSIONS=1 $(BIN)/python -m pip install -qq -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs ## the documentation site, into site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site/index.html"

bench: servers micro ## the benchmarks: single functions, then whole scenarios beside their floors (BENCH_ARGS="...")
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-peers: servers ## the same beside the field, which is installed into .cache/peers (BENCH_ARGS="...")
	@$(BIN)/python -m benchmarks.peers
	@$(BIN)/python -m benchmarks --peers $(BENCH_ARGS)

bench-check: env ## whether a hot path needs more instructions than it did (with valgrind)
	@$(BIN)/python -m benchmarks.check

micro: env ## the benchmarks of single functions, compiled and pure
	@$(BIN)/python -m pytest -p benchmark benchmarks/micro -q --benchmark-columns=min,median,iqr --benchmark-sort=name

wheels: env ## sdist, wheel for this Python, and the pure-Python wheel, into dist
	@rm -rf dist build
	@$(BIN)/python -m build -q
	@rm -rf build
	@CHASQUIMQ_NO_EXTENSIONS=1 $(BIN)/python -m build -q --wheel
	@rm -rf build
	@ls -l dist

clean: ## remove the environment, caches, servers and build products
	@rm -rf $(VENV) .cache build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks .coverage*
	@rm -f chasquimq/_fast/*.c chasquimq/_fast/*.so chasquimq/_fast/*.html
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
