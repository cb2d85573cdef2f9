# Every task, each short. `make` alone lists them. All of it happens in .venv, which the first task makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARSER_INPUTS := vhdx.ksy ksc/package-lock.json ksc/compile.js ksc/generate.py ksc/build_backend.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types layers languages docs rules fuzz bench limits clean

help:  ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## *' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(READY)  ## virtual environment, generated parser, package and tools

$(READY): pyproject.toml $(PARSER_INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module of Python is needed (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup  ## read an image: make demo IMAGE=disk.vhdx, or without it one that is made for it
	@$(BIN)/python examples/demo.py $(if $(IMAGE),'$(IMAGE)')

test: setup  ## the tests
	$(BIN)/python -m pytest

lint: setup  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## types
	$(BIN)/mypy

layers: setup  ## what may import what
	$(BIN)/lint-imports

languages: setup  ## the grammar compiled to every language, in generated/
	$(BIN)/python ksc/generate.py all

docs: languages  ## the documentation site, in site/
	@command -v dot >/dev/null || { echo "graphviz is needed (Debian: apt-get install graphviz)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	dot -Tsvg generated/graphviz/vhdx.dot -o docs/images/grammar.svg 2>/dev/null  # it complains of the compiler's arrows
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

rules: setup  ## docs/rules.md, from the table of rules
	$(BIN)/python docs/make_rules.py

SECONDS := 60
fuzz: setup  ## both fuzzers, a minute each: make fuzz SECONDS=3600 for an hour each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python fuzz/mutate.py --seconds $(SECONDS)
	$(BIN)/python fuzz/guided.py fuzz/corpus -max_total_time=$(SECONDS) -print_final_stats=1

bench: setup  ## speed beside a raw file and the readers that are installed: see docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

limits: setup  ## time and memory for files made to be expensive, beside the bounds of SECURITY.md
	$(BIN)/python benchmarks/limits.py
	$(BIN)/python benchmarks/log_replay.py

clean:  ## remove everything that was made
	rm -rf $(VENV) generated/* ksc/node_modules tests/grammar/webide/node_modules docs/images/grammar.svg site build dist
	rm -rf *.egg-info .*_cache .hypothesis fuzz/corpus broken-*.vhdx crash-*
	cd examples/languages && rm -rf */target go/vhdx go/vhdx-to-raw javascript/Vhdx.js javascript/node_modules
