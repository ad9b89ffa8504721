# One environment, one command for everything: `make check` is what CI runs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Half of the tests' time is spent waiting, for deadlines and for processes: more of them run at once than there are processors.
# Those of one file share what they set up, and stay together.
WORKERS ?= 3
PEERS := .build/peers/praisonai/.ready .build/peers/autogen/.ready .build/peers/nats/.ready .build/peers/agentopera/.ready .build/peers/cpp/plain

.PHONY: help venv demo demo-desk demo-job run test check fix format lint types floors proto verify-proto lint-proto lock faults chaos bench-quick bench bench-stall bench-idle bench-peers scenario wheel clean

help: ## What there is to do
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

venv: $(READY) ## Make the environment from the lock file (hashes checked)

$(READY): requirements/dev.txt pyproject.toml
	@echo "making the environment in $(VENV) (a minute or two, once)"
	@test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

demo: venv ## One message over gRPC and one through a simulated chat, answered and traced
	@$(PY) docs/examples/demo.py

demo-desk: venv ## A support desk at work: webhook, agents, a person who decides, an answer in a chat
	@$(PY) docs/examples/demo_desk.py

demo-job: venv ## A long job that is killed twice with -9, and ends once
	@$(PY) docs/examples/demo_job.py

run: venv ## The daemon in the foreground with the quickstart configuration
	@printf 'Talk to it from another terminal:\n\n  $(VENV)/bin/gatewayctl chat assistant\n  $(VENV)/bin/gatewayctl status\n  $(VENV)/bin/gatewayctl events --follow\n\nCtrl-C stops it.\n\n'
	@exec $(VENV)/bin/gatewayd --config packaging/gateway.quickstart.yaml

test: venv ## Every test, against the real daemon over real sockets
	$(PY) -m pytest -n $(WORKERS) --dist loadfile

check: format lint types floors verify-proto lint-proto deps test ## All that CI runs

format: venv
	$(VENV)/bin/ruff format --check .

lint: venv
	$(VENV)/bin/ruff check .

types: venv
	$(VENV)/bin/mypy

floors: venv
	$(VENV)/bin/lint-imports

deps: venv
	$(VENV)/bin/deptry .

fix: venv ## Mend what can be mended mechanically
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

proto: venv ## Regenerate the stubs and the symbol lock from proto/
	proto/generate.sh
	$(PY) proto/lock.py --write

verify-proto: venv
	proto/generate.sh --check
	$(PY) proto/lock.py

lint-proto: venv
	proto/lint.sh

lock: ## Resolve the dependencies anew and write the lock files
	@test -x $(PY) || python3 -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check uv
	cat requirements/dev.in > $(VENV)/dev.in
	$(VENV)/bin/uv pip compile -q pyproject.toml --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/runtime.txt
	$(VENV)/bin/uv pip compile -q pyproject.toml requirements/dev.in --generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements/dev.txt

faults: venv ## The 84 faults: which have passing tests, failing ones, or none yet
	$(PY) tests/faults_table.py

.PHONY: polyglot
polyglot: venv ## The Node, Go, C++ and Ruby clients, cut off and resumed (installs their toolchains)
	$(PY) docs/clients/run.py

chaos: venv ## 50 cycles of kill -9 under load, judged by another process
	$(PY) tests/chaos/run.py

bench-quick: venv bench-peers ## The benchmarks, few rounds
	$(PY) bench/run.py --quick

bench: venv bench-peers ## The benchmarks, in full
	$(PY) bench/run.py

bench-stall: venv ## What a subscriber that stops reading costs the others
	$(PY) bench/stall.py

bench-idle: venv ## Ten thousand idle clients: memory, and whether a new one is served
	$(PY) bench/idle.py

bench-peers: $(PEERS) ## The environments of what is measured against

.build/peers/%/.ready: bench/peers/%.txt
	@test -x $(@D)/bin/python || python3 -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.build/peers/cpp/plain: bench/peers/cpp/plain.cc bench/peers/cpp/plain.proto bench/peers/cpp/build.sh
	bench/peers/cpp/build.sh $(@D)

wheel: venv ## The wheel, in dist/
	$(PY) -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

clean: ## Forget the environment and everything built
	rm -rf $(VENV) .build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
