# storebox: the few commands that a developer needs. `make` alone lists them.
#
# `make run` needs only git, make and a Python of 3.11 to 3.13 with venv; the others bring their own tools.

PYTHON ?= python3
VENV := .venv
RUN_VENV := .venv-run
SECOND_VENV := .venv-3.13
# A program that the tests call; its dependencies are not ours (requirements/scan.in).
SCAN_VENV := .venv-scan
LOCKS := requirements/box.txt requirements/run.txt requirements/dev.txt
# Each folder with an __init__.py is code.
CODE := $(patsubst %/,%,$(dir $(wildcard */__init__.py)))

# The suite runs on this one too. A name on PATH may be a shim that does not run: only one that answers counts.
PYTHON_3_13 := $(firstword $(foreach python,python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python3.13),\
    $(shell $(python) --version >/dev/null 2>&1 && echo $(python))))

# The 95 % gate counts what pyproject.toml names; some tests alone (make test ARGS=tests/unit) cannot reach it.
COVERAGE := --cov --cov-report=term-missing:skip-covered --cov-fail-under=95
PYTEST_ARGS ?= -n 2
# What another Python can change: neither a campaign's figures nor what the files of the checkout say.
SECOND_RUN := -m "not campaign" --ignore-glob="tests/test_*.py"
# Last, so that its Python hides nobody's.
test: export PATH := $(PATH):$(CURDIR)/$(SCAN_VENV)/bin

.DELETE_ON_ERROR:
.PHONY: help run test check format bench powercut simulate hostile units wheel image image-lock image-test openapi lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

run: $(RUN_VENV)/.installed  ## a whole shop on this desk: make run ARGS="--help"
	$(RUN_VENV)/bin/storebox-demo $(ARGS)

test: $(VENV)/.installed $(SCAN_VENV)/.locked $(if $(PYTHON_3_13),$(SECOND_VENV)/.installed)  ## the suite, its coverage gate, and again on Python 3.13 when found, without campaigns
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS) $(if $(ARGS),,$(COVERAGE)) $(ARGS)
	$(if $(PYTHON_3_13),$(SECOND_VENV)/bin/python -m pytest $(PYTEST_ARGS) $(or $(ARGS),$(SECOND_RUN)),@echo "Python 3.13 not found: its run is left out")

check: $(VENV)/.installed  ## formatting, lint and types; changes nothing
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy $(CODE)

format: $(VENV)/.installed  ## put the code into shape
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

bench: $(VENV)/.installed  ## measure; figures depend on the machine
	$(VENV)/bin/python -m bench $(ARGS)

powercut: $(VENV)/.installed  ## cut the power of the journal's disk at every moment; needs root and fuse3
	$(VENV)/bin/python -m campaigns.powercut $(ARGS)

simulate: $(VENV)/.installed  ## a whole shop in virtual time, from many seeds: make simulate ARGS="--seeds 2000"
	$(VENV)/bin/python -m campaigns.simulation $(ARGS)

hostile: $(VENV)/.installed  ## attack a box with 10,000 bad requests while its tills sell
	$(VENV)/bin/python -m campaigns.hostile $(ARGS)

units: $(VENV)/.installed  ## the units under a systemd of Debian 13 in namespaces: hangs, kills, reboots; needs root, mmdebstrap
	$(VENV)/bin/python -m campaigns.units $(ARGS)

wheel: $(VENV)/.installed  ## dist/storebox-VERSION-py3-none-any.whl, for install.sh
	$(VENV)/bin/python -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	rm -rf build

image: $(VENV)/.installed  ## the image of a box: make image ARGS="--arch rpi"; needs root and what docs/IMAGE.md names
	$(VENV)/bin/python -m image build $(ARGS)

image-lock: $(VENV)/.installed  ## take the newest Debian packages into the image
	$(VENV)/bin/python -m image lock

image-test: $(VENV)/.installed  ## boot the amd64 image, sell, cut its power; figures go to docs/EVIDENCE.md: make image-test ARGS="--cuts 30"
	$(VENV)/bin/python -m campaigns.image --record docs/EVIDENCE.md $(ARGS)

openapi: $(VENV)/.installed  ## write docs/openapi/box.json anew after a change of the box's API
	$(VENV)/bin/python docs/openapi/print_box.py > docs/openapi/box.json.new
	mv docs/openapi/box.json.new docs/openapi/box.json

# dev.txt comes first and binds those of a box, so that what is tested is what a box gets.
# Compiled by the oldest Python that runs the code; an environment for each version shows that it fits all.
PIP_COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/pip-compile --quiet --generate-hashes --allow-unsafe \
    --strip-extras --no-annotate --no-emit-options --no-emit-index-url --no-emit-trusted-host --no-emit-find-links

lock: $(VENV)/.installed  ## take the newest releases of all dependencies
	$(PIP_COMPILE) --upgrade --all-extras -o requirements/dev.txt pyproject.toml
	$(PIP_COMPILE) -c requirements/dev.txt --extra build --extra cloud --extra demo -o requirements/run.txt pyproject.toml
	$(PIP_COMPILE) -c requirements/dev.txt -o requirements/box.txt pyproject.toml
	$(PIP_COMPILE) -c requirements/dev.txt --build-deps-for editable --only-build-deps -o requirements/build.txt pyproject.toml
	$(PIP_COMPILE) --upgrade -o requirements/scan.txt requirements/scan.in
	# An extra that names another extra makes storebox its own dependency, at a path of this machine.
	sed -i '/^storebox *@/d' $(LOCKS)

clean:  ## remove everything that can be made again
	rm -rf $(VENVS) *.egg-info build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is made anew only when its lock changes, and storebox put into it when its metadata change.
VENVS := $(VENV) $(RUN_VENV) $(SECOND_VENV) $(SCAN_VENV)
PIP_INSTALL = $*/bin/python -m pip install -qq --disable-pip-version-check

$(VENV)/.locked $(SECOND_VENV)/.locked: requirements/dev.txt
$(RUN_VENV)/.locked: requirements/run.txt
$(SCAN_VENV)/.locked: requirements/scan.txt
$(SECOND_VENV)/.locked: override PYTHON = $(PYTHON_3_13)

# What comes as source alone is built by a backend that is locked too: pip by itself would fetch the newest one. And the
# lock names all there is to install: were pip to resolve it again, it would ask for an extra's newest release beside the
# locked one (before pip 23.3), and fail on the day that one comes out.
$(VENVS:=/.locked): %/.locked:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	    echo "storebox needs Python 3.11 to 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $*
	$(PIP_INSTALL) --require-hashes --no-deps -r requirements/build.txt
	$(PIP_INSTALL) --require-hashes --no-deps --no-build-isolation -r $<
	$*/bin/python -m pip check
	touch $@

$(VENVS:=/.installed): %/.installed: %/.locked pyproject.toml
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	touch $@
