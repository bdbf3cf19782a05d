# Every target sets up .venv by itself where it needs it. Works with GNU make 3.81 and newer.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo up check test test-faults soak bench format migrate revision lock clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
# Test processes side by side; each has a PostgreSQL of its own.
JOBS ?= 2
MINUTES ?= 10
# How much `make test-faults` tries.
POINTS ?= 120
SEEDS ?= 300
PAYLOADS ?= 400

# Enough to run it; where the development set-up is, that has it all.
RUNNABLE := $(VENV)/$(if $(wildcard $(VENV)/.installed),.ready,.runnable)

# The newest Python from 3.11 on that can make virtual environments.
PYTHON ?= $(shell for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	"$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$name" && break; done)

help: ## list the targets
	@awk -F ': .*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(RUNNABLE) ## the whole story on this machine in half a minute; nothing is left behind
	@$(BIN)/mailmirror demo $(DEMO)

up: $(RUNNABLE) ## run everything on this machine until Ctrl-C; data stays in .data
	@$(BIN)/mailmirror up

check: $(VENV)/.ready ## format, lint, types, contracts and the tests that need no server (under a minute)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n $(JOBS) -m "not postgres and not server and not slow"

test: $(VENV)/.ready ## all tests but the thorough ones, on a PostgreSQL that they start and stop themselves
	$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not thorough"

# Every step and many lines to be killed at, more seeds and payloads, every mutant; ends with how much was tried.
test-faults: $(VENV)/.ready ## the fault suite with large samples, and the thorough tests (under 20 minutes)
	MAILMIRROR_TEST_POINTS=$(POINTS) MAILMIRROR_TEST_SIM_SEEDS=0-$(SEEDS) MAILMIRROR_TEST_PAYLOADS=$(PAYLOADS) \
	MAILMIRROR_TEST_SEEDS="1 2 3" $(BIN)/pytest -n $(JOBS) --dist worksteal -p tests.faults.figures \
	tests/faults tests/acceptance/workers tests/acceptance/test_killed.py tests/acceptance/test_moving_mailbox.py
	$(BIN)/pytest -m thorough tests/analytics tests/feed

soak: $(VENV)/.ready ## changes, faults and deaths for ten minutes: make soak MINUTES=60; samples in .data/soak
	$(BIN)/python -m tests.faults.soak --minutes $(MINUTES) --keep .data/soak

# The tools we are compared with live in an environment of their own; only some parts need them.
PEERS := .venv-bench
bench: $(VENV)/.ready $(if $(ONLY),$(if $(findstring path,$(ONLY)),$(PEERS)/.installed),$(PEERS)/.installed) ## measure, with one table at the end (15 minutes); a part alone: make bench ONLY=store
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

format: $(VENV)/.ready ## format the code and repair what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

migrate: $(VENV)/.ready ## bring the database in DATABASE_URL to the newest schema
	$(BIN)/mailmirror migrate

revision: $(VENV)/.ready ## begin a new migration: make revision m="what it does"
	@test -n "$(m)" || { echo 'say what it does: make revision m="add a column"'; exit 2; }
	$(BIN)/alembic revision -m "$(m)"

lock: ## pin the dependencies anew, those of the project and of the bench (needs uv)
	@set -eu; \
	uv=$$(command -v uv || command -v $(BIN)/uv || true); \
	test -n "$$uv" || { echo 'make lock needs uv: pip install uv'; exit 2; }; \
	pin() { \
	  env -u UV_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_DEFAULT_INDEX -u UV_FIND_LINKS \
	  "$$uv" pip compile --no-config --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate "$$@"; }; \
	pin pyproject.toml -o requirements.lock; \
	pin pyproject.toml --extra local --extra build -c requirements.lock -o requirements-local.lock; \
	pin pyproject.toml --extra local --extra build --extra dev -c requirements-local.lock -o requirements-dev.lock; \
	pin benchmarks/requirements.in -o benchmarks/requirements.lock; \
	grep -c == requirements.lock requirements-local.lock requirements-dev.lock benchmarks/requirements.lock

clean: ## remove .venv and caches; data in .data stays
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov dist
	find worker models tests alembic -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up ----------------------------------------------------------------------------------------

# uv would be faster, but it does not read pip's settings (proxy, mirror, certificates).
define install
@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer that can make virtual environments was found.'; \
  echo 'Debian, Ubuntu: apt install python3 python3-venv.  macOS: brew install python'; exit 2; }
@echo "Setting up $(VENV) with $$("$(PYTHON)" --version)"
@"$(BIN)/python" -c '' 2>/dev/null || "$(PYTHON)" -m venv --clear $(VENV)
@$(PIP) install --require-hashes --only-binary :all: -r $(1)
endef

# The build back-end is in the locks already: nothing is fetched here.
INSTALL_SELF := $(PIP) install --no-index --no-deps --no-build-isolation --editable .

$(VENV)/.installed: requirements-dev.lock
	$(call install,$<)
	@touch $@

$(PEERS)/.installed: benchmarks/requirements.lock | $(VENV)/.ready
	@"$(BIN)/python" -m venv --clear $(PEERS)
	@$(PEERS)/bin/python -m pip --disable-pip-version-check --no-input --quiet install --require-hashes --only-binary :all: -r $<
	@touch $@

$(VENV)/.ready: $(VENV)/.installed pyproject.toml
	@$(INSTALL_SELF)
	@touch $@

$(VENV)/.runnable: requirements-local.lock pyproject.toml
	$(call install,$<)
	@$(INSTALL_SELF)
	@touch $@
