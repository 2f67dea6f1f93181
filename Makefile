# Every target sets up what it needs: see .ci/setup. A stamp in the environment makes the next run cost seconds.
VENV ?= .venv
PYTHON ?= python3
PYTEST_ARGS ?=
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help report test bench docs clean

help:
	@echo "make report   the main job on real data: a table and a figure in report/"
	@echo "make test     ruff, unit tests, doctests, documented examples, notebooks (PYTEST_ARGS= for more options)"
	@echo "make bench    the benchmarks: speed and error against the rivals"
	@echo "make docs     the manual in docs/_build/html"
	@echo "make clean    removes what the others made, except $(VENV)"
	@echo "Variables:    PYTHON=$(PYTHON)  VENV=$(VENV)"

$(VENV)/.stamp-%: setup.py pyproject.toml .ci/setup
	@VENV="$(VENV)" PYTHON="$(PYTHON)" .ci/setup $*
	@touch $@

report: $(VENV)/.stamp-report
	$(BIN)/vittles-ng report

# One BLAS thread a worker: two workers with a pool each would fight for the same cores.
test: $(VENV)/.stamp-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)
	@echo "make test: ruff check, ruff format, unit tests, doctests, documented examples and notebooks passed"

bench: $(VENV)/.stamp-bench
	$(BIN)/python -m pip install -q --no-deps -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.path | tee benchmarks/results/path.txt
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.trust | tee benchmarks/results/trust.txt
	$(BIN)/python -m benchmarks.sparse | tee benchmarks/results/sparse.txt
	$(BIN)/python -m benchmarks.minimum_gradients | tee benchmarks/results/minimum_gradients.txt
	$(BIN)/python -m benchmarks.finite_differences | tee benchmarks/results/finite_differences.txt
	$(BIN)/python -m benchmarks.unrolling | tee benchmarks/results/unrolling.txt
	$(BIN)/python -m benchmarks.hypergradient | tee benchmarks/results/hypergradient.txt
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.jackknife | tee benchmarks/results/jackknife.txt
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m benchmarks.robustness | tee benchmarks/results/robustness.txt

docs: $(VENV)/.stamp-docs
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo "make docs: docs/_build/html/index.html"

clean:
	rm -rf build dist report docs/_build .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
