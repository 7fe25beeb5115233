# Every target makes what it needs: an environment in .venv from $(PYTHON), filled once per change
# of pyproject.toml. Nothing outside this folder is touched (Numba's cache apart).

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
SPHINX := $(RUN) -m sphinx --quiet --nitpicky --fail-on-warning --keep-going -d build/docs/trees
ENVIRONMENT := PYTHON="$(PYTHON)" sh tools/environment.sh "$(VENV)"

.PHONY: help environment demo docs test test-gpu lint bench bench-gpu report clean

help:
	@echo "make demo    train four small networks on handwritten digits, draw build/demo.png"
	@echo "make test    run the tests            (PYTEST_ARGS='-k hinge' runs some of them)"
	@echo "make test-gpu   run the tests that need a CUDA device (skipped where there is none)"
	@echo "make lint    check format, lint and types"
	@echo "make docs    build build/docs/html/index.html; run every example in it"
	@echo "make bench   time fastloss beside its peers and the memory's limits"
	@echo "make bench-gpu  time the GPU beside its peers and a copy of its memory"
	@echo "make report  put the results of make bench into the README, as a table and two plots"
	@echo "make clean   remove the environment and everything built"
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter (3.10 or newer)."

# All that `.ci/run` needs, before parts of it run at the same time.
environment:
	@$(ENVIRONMENT) test
	@$(ENVIRONMENT) docs

demo:
	@$(ENVIRONMENT) demo
	@mkdir -p build
	@$(RUN) -m fastloss demo --out build/demo.png

# In the order of the files: the longest ones have few tests, and would come last.
test:
	@$(ENVIRONMENT) test
	@$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-gpu:
	@$(ENVIRONMENT) test
	@$(RUN) -m pytest tests/cuda/suite -m gpu $(PYTEST_ARGS)

lint:
	@$(ENVIRONMENT) test
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .
	@$(RUN) -m mypy

# A warning, a broken reference among them, is an error.
docs:
	@$(ENVIRONMENT) docs
	@$(SPHINX) --builder html --fresh-env docs build/docs/html
	@$(SPHINX) --builder doctest docs build/docs/doctest

bench:
	@$(ENVIRONMENT) bench
	@$(RUN) -m pytest bench -v --show-capture=no $(PYTEST_ARGS)

report:
	@$(ENVIRONMENT) bench
	@$(RUN) -m bench.report

bench-gpu:
	@$(ENVIRONMENT) test
	@$(RUN) -m bench.gpu

clean:
	rm -rf "$(VENV)" build dist docs/losses .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
	find fastloss tests bench docs examples -name __pycache__ -type d -prune -exec rm -rf {} +
