# make demo     install, fetch the embedded default model, rank a dozen prompts, draw demo/ranking.png
# make test     the test suite (under ten minutes on two cores)
# make check    what a change must pass: format, lint, types, spelling, documents current, tests
# make verify   everything, the slow proofs included
# make bench FILES=... WORK=...   every table of docs/results.md (recipes/bench.sh): hours
# make bench BENCH=FILE ARGS='...'   one benchmark
# make bench-score   the scorer beside its peers, in one run; ARGS='--data WORK -o OUT.json'
# make bench-forum   dumps to comparisons beside their parts and the obvious pipeline; ARGS='SITE.7z... --clock cpu'
# make bench-train   a training step beside TRL's; ARGS='--data WORK -o OUT.json'
# make bench-serve   the server under load beside the offline scorer; ARGS='--data PAIRS -o OUT.json'
# make docs     write docs/reference from the code, then the site, build/site/index.html
# make notebooks   run notebooks/*.py and write docs/notebooks with what they show; NOTEBOOKS=NAME picks one
# make links    ask every address that the site's pages name; needs a network
# make wheel    build the distributions into dist and prove them in environments of their own
# make audit    bills of materials of both installs, known vulnerabilities, licences; needs a network
# make offline  the test suite where there is no network at all; needs Linux's unshare
# make coverage the suite with the lines it runs counted, 90 % at least; build/coverage/index.html
# make mutants  how many changes to the core's code its tests notice; ARGS='pairs/split.py -v' for one
# make format   put the sources into our format
# make clean    remove what the targets made, .venv too
#
# Variables: PYTHON (default: python3 if it is 3.11 to 3.14, else the newest of these), VENV, and TORCH, which is
# installed first, so that a build for another processor or an index of your own can be chosen:
#   make demo TORCH='torch==2.13.0 --index-url URL'

VENV ?= .venv
TORCH ?= torch==2.13.0
TEST_PROCESSES ?= 2
PROSE := docs examples notebooks recipes src README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md
SOURCES := src tests examples benchmarks notebooks $(wildcard docs/*.py)

find_python = for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' \
	2>/dev/null; then command -v $$p; break; fi; done
PYTHON ?= $(shell $(find_python))

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test check verify bench bench-score bench-forum bench-train bench-serve docs links wheel audit \
	notebooks offline coverage mutants format clean
.DEFAULT_GOAL := demo

# The stamps make a second run install nothing.
$(VENV)/.stamp-model: pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 to 3.14 with venv was found; install" \
	"one, or say where it is with make PYTHON=..." >&2; exit 1; }
	@echo "installing into $(VENV) (a few minutes, once)" >&2
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet --editable '.[model,plots,serve]'
	@touch $@

# The native kernels are optional: without a C++ compiler, or where they do not build, torch computes.
$(VENV)/.stamp-kernels: $(VENV)/.stamp-model $(wildcard kernels/pyproject.toml kernels/CMakeLists.txt kernels/cpp/*)
	@if command -v c++ >/dev/null; then \
	echo "building worldpm-kernels (about a minute, once)" >&2; \
	$(PIP) install --quiet ./kernels || echo "they did not build; torch will compute" >&2; \
	else echo "no C++ compiler: torch will compute, more slowly" >&2; fi
	@touch $@

# Each group of dependencies of pyproject.toml, on top of what it needs.
$(VENV)/.stamp-docs: $(VENV)/.stamp-model
$(VENV)/.stamp-dev $(VENV)/.stamp-notebooks: $(VENV)/.stamp-kernels
$(VENV)/.stamp-release $(VENV)/.stamp-measure: $(VENV)/.stamp-dev
$(VENV)/.stamp-dev $(VENV)/.stamp-docs $(VENV)/.stamp-notebooks $(VENV)/.stamp-release $(VENV)/.stamp-measure:
	$(PIP) install --quiet --group $(@:$(VENV)/.stamp-%=%)
	@touch $@

demo: $(VENV)/.stamp-kernels
	@folder=$$($(BIN)/worldpm model fetch) && echo "the default model: $$folder"
	@$(BIN)/python examples/demo.py
	@echo
	@echo 'The picture is demo/ranking.png. What a score means: docs/concepts/scores.md; what this model'
	@echo 'can and cannot do: docs/model-card-worldpm-135m.md. To try next:'
	@echo
	@echo '  $(BIN)/worldpm compare --prompt "How do I boil an egg?" "Nine minutes for hard." "Dunno."'
	@echo '  $(BIN)/worldpm score examples/demo.jsonl -o demo/scores.jsonl'
	@echo
	@echo 'The whole way, from a forum dump to a model of its votes: docs/guides/my-forum.md'

test: $(VENV)/.stamp-dev
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not slow"

check: $(VENV)/.stamp-dev
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/codespell $(PROSE)
	$(MAKE) test

verify: $(VENV)/.stamp-release
	TORCH='$(TORCH)' $(BIN)/python -m pytest -n $(TEST_PROCESSES)

bench: $(VENV)/.stamp-dev
ifdef BENCH
	$(BIN)/python $(BENCH) $(ARGS)
else
	@test -n "$(FILES)" && test -n "$(WORK)" || { echo "error: say where the data is and where to" \
	"work: make bench FILES=... WORK=... (recipes/bench.sh), or BENCH=FILE ARGS='...'" >&2; exit 1; }
	PATH="$(abspath $(BIN)):$$PATH" recipes/bench.sh "$(FILES)" "$(WORK)"
endif

bench-score: $(VENV)/.stamp-kernels
	$(BIN)/python benchmarks/score.py $(ARGS)

bench-forum: $(VENV)/.stamp-dev
	$(BIN)/python benchmarks/forum.py $(ARGS)

bench-train: $(VENV)/.stamp-dev
	$(BIN)/python benchmarks/train.py $(ARGS)

bench-serve: $(VENV)/.stamp-dev
	$(BIN)/python benchmarks/serve.py $(ARGS)

docs: $(VENV)/.stamp-docs
	$(BIN)/python docs/build_reference.py
	$(BIN)/python -m sphinx --quiet -W --keep-going docs build/site
	@echo "build/site/index.html"

notebooks: $(VENV)/.stamp-notebooks
	$(BIN)/python docs/build_notebooks.py $(NOTEBOOKS)

links: $(VENV)/.stamp-docs
	$(BIN)/python -m sphinx -b linkcheck docs build/links

wheel: $(VENV)/.stamp-release
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	WORLDPM_DIST=dist TORCH='$(TORCH)' $(BIN)/python -m pytest tests/release -v

audit: $(VENV)/.stamp-release
	TORCH='$(TORCH)' $(BIN)/python tests/release/audit.py

# Programs that tests start are without a network, too; loopback alone is brought up.
offline: $(VENV)/.stamp-dev
	unshare --map-root-user --net sh -c 'ip link set lo up && \
	exec $(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not slow"'

coverage: $(VENV)/.stamp-measure
	rm -rf build/coverage
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) -m "not slow" --timeout 900 \
	--cov --cov-report= --cov-fail-under=0 $(ARGS)
	$(BIN)/coverage html --quiet --directory build/coverage
	$(BIN)/coverage report

mutants: $(VENV)/.stamp-measure
	$(BIN)/python tests/mutation/measure.py $(ARGS)

format: $(VENV)/.stamp-dev
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:
	rm -rf $(VENV) build dist demo kernels/build .mypy_cache .pytest_cache .ruff_cache .hypothesis
