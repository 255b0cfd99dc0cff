# What a person types here. Each target sets up what it needs in .venv, and does nothing when nothing changed.
#   make PYTHON=/path/to/python3.12 …   uses that interpreter for a new .venv
#   make test ARGS="-k breaker"         passes arguments on (test, faults, soak, fleet, demo, bench)
#   make faults SCENARIO=F-03 SEED=7    plays one scenario with one seed
#   make soak MINUTES=30                plays all that can go wrong, at random, for half an hour
#   make fleet PROCESSES=8 SEED=7       has eight workers share requests, and kills them and Redis meanwhile
#   make walks SEEDS=200                walks two hundred times; SEED=7: from that one on; WHAT=requests or invalidations: only these

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

# The newest interpreter that starts and is recent enough; shims that only say "not installed" are passed over. Looked
# for once, and only while there is no .venv.
ifeq ($(origin PYTHON)$(wildcard $(BIN)/python),undefined)
PYTHON := $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
endif

# A server is wanted unless USE_REDIS, here or else in .env, is unset or says no; the embedded one comes with the test
# requirements.
WANTED := $(or $(USE_REDIS),$(shell sed -nE "s/^ *(export +)?USE_REDIS *= *[\"']?([[:alnum:]]*).*/\2/p" .env 2>/dev/null))
ifneq ($(filter-out 0 false False FALSE no No NO off Off OFF,$(lastword $(WANTED))),)
DEMO_NEEDS := $(VENV)/.test
else
DEMO_NEEDS := $(VENV)/.core
endif

# The tests wait for servers and processes more than they compute.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check faults soak fleet walks bench hit-ratio outage-report scale shots docs clean

help: ## Show this list
	@echo "toolcache: make <target>"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO_NEEDS) ## Run the deep dive without a server; USE_REDIS=true make demo: with one
	@$(BIN)/python examples/02_deep_dive.py $(ARGS)

test: $(VENV)/.test ## Run all tests but the faults
	@$(BIN)/python -m pytest -q --ignore=tests/faults -n $(WORKERS) --dist loadfile $(ARGS)

check: $(VENV)/.lint $(VENV)/.test ## Lint, formatting, types and the fast tests: before every commit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -m "not slow" --ignore=tests/faults -n $(WORKERS) --dist loadfile

faults: $(VENV)/.test ## Kill, freeze and fill real servers beneath a cache; SCENARIO=F-03 SEED=7 make faults: one of them
	@PYTHONPATH=tests $(BIN)/python -W error -m faults $(if $(SCENARIO),--scenario $(SCENARIO)) $(if $(SEED),--seed $(SEED)) $(ARGS)

soak: $(VENV)/.test ## All of these faults at random, a minute; MINUTES=30 SEED=7 make soak: for longer, or again
	@PYTHONPATH=tests $(BIN)/python -W error -m faults.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(ARGS)

fleet: $(VENV)/.test ## Run requests once in a fleet of workers that are killed; PROCESSES=8 REQUESTS=500 SEED=7 make fleet
	@PYTHONPATH=tests $(BIN)/python -W error -m faults.fleet $(if $(PROCESSES),--processes $(PROCESSES)) $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

walks: $(VENV)/.test ## Walk the cache beside its model, 2,000 steps a seed; SEEDS=200 SEED=7 WHAT=requests make walks
	@PYTHONPATH=tests $(BIN)/python -m walks $(if $(WHAT),--what $(WHAT)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) $(ARGS)

bench: $(VENV)/.test $(VENV)/.bench$(if $(QUICK),,-all) ## Measure against other caches and write the page of it; QUICK=1: a smoke run
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) --page $(if $(QUICK),$(VENV)/smoke,docs/explanation)/performance.md $(ARGS)

hit-ratio: $(VENV)/.test $(VENV)/.bench ## Count what each policy of memory finds on recorded or made traces; QUICK=1: a smoke run
	@$(BIN)/python -m benchmarks.hit_ratio $(if $(QUICK),--quick,--page docs/explanation/hit-ratio.md) $(ARGS)

outage-report: $(VENV)/.test $(VENV)/.bench ## Play 60 s outages to several caches and write what their callers noticed; QUICK=1: a smoke run
	@PYTHONPATH=tests $(BIN)/python -m benchmarks.outages $(if $(QUICK),--quick,--page docs/explanation/reliability.md) $(ARGS)

scale: $(VENV)/.test $(VENV)/.bench ## Measure what one more key, process or tag costs, and what a cluster would come to; QUICK=1: a smoke run
	@$(BIN)/python -m benchmarks.scale $(if $(QUICK),--quick,--page docs/explanation/scale.md) $(ARGS)

shots: $(VENV)/.test ## Take the pictures of docs/how-to/page.md anew: an hour of agents' work, an outage, in a real browser
	@PYTHONPATH=tests:tests/browser $(BIN)/python -m shots

docs: $(VENV)/.docs ## Build the documentation into site/
	@$(BIN)/zensical build --clean --strict

clean: ## Remove all that the other targets made, .venv included
	rm -rf $(VENV) site dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache .coverage
	find toolcache tests examples benchmarks -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Each stamp is newer than the list of requirements it was installed from.
# Where Debian's venv cannot bring its own pip, the interpreter's pip fills the environment.
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "toolcache needs Python 3.11 or newer: none found (name one: make PYTHON=...)" >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
		$(PYTHON) -m venv --clear --without-pip $(VENV) && \
		$(PYTHON) -m pip --disable-pip-version-check -qq --python $(BIN)/python install pip; }

$(VENV)/.core: pyproject.toml | $(BIN)/python
	@echo "installing toolcache into $(VENV)"
	@$(PIP) install --upgrade 'pip>=25.1'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.core
	@echo "installing what the tests need"
	@$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/.lint $(VENV)/.docs $(VENV)/.bench $(VENV)/.bench-all: $(VENV)/.%: $(VENV)/.core
	@echo "installing what $* needs"
	@$(PIP) install --group $*
	@touch $@
