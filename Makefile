# headroom. `make run` and `make test` need only python3 (3.11 or newer) and make; everything else is built here.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SDK_VENV := .venv-sdk
SDK_PYTHON ?= $(PYTHON)
SEEDS ?= 1000
KILLS ?= 100
BENCH ?= tests/bench
LOCK := requirements/dev.txt
BENCH_LOCK := requirements/bench.txt

.DEFAULT_GOAL := help
.PHONY: help run test nightly test-sdk simulate kill venv check bench snapshots clean lock

help:
	@echo 'make run        the live dashboard on the embedded brokers (a plain report without a terminal)'
	@echo 'make test       the test suite'
	@echo 'make nightly    every law with 10 000 examples instead of 200'
	@echo 'make simulate   seeded faults at every await, on virtual time: make simulate SEEDS=1000'
	@echo 'make kill       a trading process killed -9 again and again over real sockets: make kill KILLS=100'
	@echo 'make test-sdk   the brokers'"'"' own SDKs against the simulator, in an environment of their own'
	@echo 'make check      format, lint, types, import contracts'
	@echo 'make bench      the benchmarks, side by side with their peers'
	@echo 'make snapshots  accept the screen pictures as they are now'
	@echo 'make venv       only build .venv, with everything for development'
	@echo 'make lock       resolve the dependency lists anew'
	@echo 'make clean      remove .venv and every cache'

run: venv
	@$(BIN)/headroom $(ARGS)

test: venv
	$(BIN)/python -m pytest $(ARGS)

# Laws that say how many examples they need keep to that; the others get 10 000 (tests/conftest.py).
nightly: venv
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=nightly --timeout=3600 $(ARGS)

# Every seed is a run of orders through faults, crashes and restarts; a seed that fails repeats to the digit.
simulate: venv
	$(BIN)/python -m tests.simulate --seeds $(SEEDS) $(ARGS)

kill: venv
	HEADROOM_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/engine/test_kill.py $(ARGS)

test-sdk: venv $(SDK_VENV)/ready
	HEADROOM_SDK_PYTHON=$(CURDIR)/$(SDK_VENV)/bin/python $(BIN)/python -m pytest tests/sdk $(ARGS)

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: venv $(VENV)/bench-ready
	$(BIN)/python -m pytest $(BENCH) --benchmark-enable --benchmark-columns=min,median,ops -s $(ARGS)

snapshots: venv
	$(BIN)/python -m pytest tests/screen --snapshot-update $(ARGS)

venv: $(VENV)/ready

# The list is the key: the same list, the same .venv. Chatter goes to stderr, so that `make run | cat` is only the report.
$(VENV)/ready: $(LOCK)
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "headroom: $(PYTHON) is not on PATH; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "headroom: $(PYTHON) is $$($(PYTHON) -V 2>&1), 3.11 or newer is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "headroom: $(PYTHON) lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo 'headroom: building $(VENV) (once for each dependency list)' >&2
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK) >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
	@touch $@

$(VENV)/bench-ready: $(VENV)/ready $(BENCH_LOCK)
	@echo 'headroom: adding the peers that the benchmarks compare with' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(BENCH_LOCK) >&2
	@touch $@

# The brokers' own SDKs, in their current releases: they pin old versions of what we use, so they live by themselves.
$(SDK_VENV)/ready:
	@$(SDK_PYTHON) -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 13))' || { echo "headroom: the SDKs install on Python 3.9 to 3.12, $(SDK_PYTHON) is $$($(SDK_PYTHON) -V 2>&1); name one: make test-sdk SDK_PYTHON=python3.12" >&2; exit 1; }
	@echo 'headroom: building $(SDK_VENV) with upstox-python-sdk and fyers-apiv3' >&2
	@rm -rf $(SDK_VENV)
	@$(SDK_PYTHON) -m venv $(SDK_VENV)
	@$(SDK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check upstox-python-sdk fyers-apiv3 >&2
	@touch $@

lock:
	@command -v uv >/dev/null 2>&1 || { echo 'headroom: make lock needs uv on PATH: pip install uv' >&2; exit 1; }
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --no-annotate --quiet --output-file $(LOCK)
	uv pip compile --group bench --constraint $(LOCK) --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --no-annotate --quiet --output-file $(BENCH_LOCK)

clean:
	rm -rf $(VENV) $(SDK_VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .benchmarks .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
